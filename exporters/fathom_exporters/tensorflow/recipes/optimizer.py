"""A Keras optimizer over a model's parameters: a copy of it with state, names of the state, the op of its update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.src.utils.tracking import Tracker

from fathom_onnx.errors import ExportError, UsageError
from fathom_onnx.recipes.recorded import unique

from .names import is_automatic, native

__all__ = ["built_copy", "is_linear", "operation", "state_names"]

_OPERATIONS = {
    "SGD": "ApplyGradientDescent",
    "Adam": "ApplyAdam",
    "AdamW": "ApplyAdam",
    "Adamax": "ApplyAdam",
    "Nadam": "ApplyAdam",
    "Lamb": "ApplyAdam",
    "Adagrad": "ApplyAdagrad",
    "RMSprop": "ApplyRMSProp",
    "Adadelta": "ApplyRMSProp",
    "Adafactor": "ApplyRMSProp",
    "Ftrl": "ApplyAdagrad",
    "Lion": "ApplyMomentum",
    "Muon": "ApplyMomentum",
}


def operation(optimizer: Any) -> str:
    """The canonical op of an optimizer's update; that of its nearest known base class for one of the user's own."""
    if isinstance(optimizer, keras.optimizers.SGD) and optimizer.momentum:
        return "ApplyMomentum"
    return next(
        (_OPERATIONS[c.__name__] for c in type(optimizer).__mro__ if c.__name__ in _OPERATIONS), "ApplyMomentum"
    )


def is_linear(optimizer: Any) -> bool:
    """Whether the update is linear in the gradient, so that rows of a table may be added up before it as well as after.

    Others take the rows of a gradient one by one: a row that comes twice adds two squares to Adam's second moment, and
    not the square of their sum.
    """
    clips = (optimizer.clipnorm, optimizer.global_clipnorm, optimizer.clipvalue)
    return type(optimizer) is keras.optimizers.SGD and not any(clips)


def _check(optimizer: Any) -> None:
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UsageError(
            f"{type(optimizer).__module__}.{type(optimizer).__name__} is no Keras 3 optimizer",
            "give one of keras.optimizers",
        )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ExportError(
            "the LossScaleOptimizer skips updates by the values of gradients, and is for float16",
            "give its inner optimizer, with loss_scale_factor= for a fixed scale",
        )
    if hasattr(optimizer, "_inner_optimizers") and not optimizer.built:
        raise ExportError(
            f"the {type(optimizer).__name__} is not built, and its optimizers would be changed by it",
            "build it first: optimizer.build(model.trainable_variables)",
        )


def _copy(value: Any) -> Any:
    """A container of its own with the same things in it; containers may be of classes that track what is in them."""
    plain = next((kind for kind in (list, dict, set) if isinstance(value, kind)), None)
    return value if plain is None else plain(value)


def built_copy(optimizer: Any, parameters: Sequence[Any]) -> tuple[Any, list[Any]]:
    """A copy of an optimizer, built; and the variables that it updates. The optimizer itself does not change.

    Args:
        optimizer: A Keras optimizer, built or not.
        parameters: The variables to build it on where it is not.

    Raises:
        UsageError: It is no Keras 3 optimizer, or there is nothing to train.
        ExportError: It cannot be recorded.
    """
    _check(optimizer)
    # without __init__: an optimizer's configuration leaves out which variables it does not decay
    copied = object.__new__(type(optimizer))
    vars(copied).update({name: _copy(value) for name, value in vars(optimizer).items()})
    if optimizer.built:
        return copied, list(optimizer._trainable_variables)
    if not parameters:
        raise UsageError("the model has no trainable variables", "set layer.trainable = True where it is to be trained")
    own: list[Any] = vars(copied)["_variables"]
    vars(copied)["_tracker"] = Tracker({"variables": (lambda value: isinstance(value, keras.Variable), own)})
    copied.build(list(parameters))
    return copied, list(parameters)


def _aligned(optimizer: Any, parameters: Sequence[tf.Variable]) -> dict[int, tuple[int, str]]:
    """Identity of a state variable to its parameter's index and its attribute, from lists as long as the parameters."""
    found: dict[int, tuple[int, str]] = {}
    for name, value in vars(optimizer).items():
        if name.lstrip("_") in ("variables", "trainable_variables") or not isinstance(value, list):
            continue
        if len(value) == len(parameters):
            for index, slot in enumerate(value):
                if isinstance(slot, keras.Variable):
                    found[id(native(slot))] = (index, name.strip("_"))
    return found


def _spelled(variable: Any) -> str:
    """How an optimizer spells a parameter within the names of its state."""
    return str(getattr(variable, "path", variable.name)).replace("/", "_").replace(":", "_")


def state_names(optimizer: Any, parameters: Sequence[Any], names: Mapping[int, str]) -> dict[str, tf.Variable]:
    """The optimizer's variables by name: ``<parameter>.<key>``, or ``optimizer.<key>`` for what parameters share.

    Args:
        optimizer: A built optimizer.
        parameters: The variables it updates.
        names: Their names by identity of the ``tf.Variable``.
    """
    called = [names[id(native(p))] for p in parameters]
    spelled = [_spelled(p) for p in parameters]
    aligned = _aligned(optimizer, [native(p) for p in parameters])
    attributes = {id(value): name.strip("_") for name, value in vars(optimizer).items()}
    found: dict[str, tf.Variable] = {}
    for variable in optimizer.variables:
        own = variable.name
        index, attribute = aligned.get(id(native(variable)), (None, ""))
        if index is None:
            starts = [i for i, start in enumerate(spelled) if own.startswith(f"{start}_")]
            index = max(starts, key=lambda i: len(spelled[i]), default=None)
        if index is None:
            name = f"optimizer.{attributes.get(id(variable), own) if is_automatic(own, 'Variable') else own}"
        else:
            key = own.removeprefix(f"{spelled[index]}_")
            name = f"{called[index]}.{key if key != own or not attribute else attribute}"
        found[unique(name, {*found, *names.values()})] = native(variable)
    return found
