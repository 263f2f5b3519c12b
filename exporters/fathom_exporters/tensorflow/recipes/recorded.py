"""The traced steps of a recipe, lifted, with names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from fathom_exporters.tensorflow.refusals import refusal
from fathom_onnx.errors import ExportError, FathomError, UsageError, one_line
from fathom_onnx.recipes.blame import user_line
from fathom_onnx.recipes.recorded import unique
from fathom_onnx.workloads.contract import Mode

from .described import Described
from .graph import Draws, Held, Lifted, Refused, find_draws, lift, shared_sums
from .names import native
from .optimizer import is_linear
from .step import forward, output_tensors
from .tracing import traced

__all__ = ["Traced", "trace"]


@dataclass(frozen=True)
class Traced:
    """A step of a mode, lifted.

    Attributes:
        function: The traced function, whose operations know where they were made.
        lifted: The step as a pure graph.
        draws: Its random tensors.
        outputs: Names of its outputs to tensors.
        gradients: Parameter to the tensor that is its gradient. One that comes as rows and that the optimizer takes
            as such is not among them where no tensor of the step is their sum.
        held: Its variables by name.
    """

    function: Any
    lifted: Lifted
    draws: Draws
    outputs: Mapping[str, str]
    gradients: Mapping[str, str]
    held: Mapping[str, Held]

    @property
    def refused(self) -> tuple[Refused, ...]:
        """What keeps it from being exported."""
        return (*self.lifted.refused, *self.draws.refused)


def _concrete(described: Described, mode: Mode) -> tuple[Any, list[str], list[str]]:
    """The traced function of a mode, names of its outputs, and the parameters whose gradients are among them."""
    batch, training = described.batch, described.training
    outputs: list[str] = []
    parameters: list[str] = []
    names = described.names()

    def inference(*tensors: tf.Tensor) -> list[tf.Tensor]:
        inputs, _, _ = batch.parts(dict(zip(batch.features, tensors, strict=True)))
        outputs.clear()  # a function that makes variables is traced twice
        found = output_tensors(forward(described.recipe.model, inputs, training=False))
        for name in found:  # a model may return what it was given, by its name
            outputs.append(unique(name, {*batch.tensors, *names.values(), *outputs}))
        return list(found.values())

    def step(*tensors: tf.Tensor) -> list[tf.Tensor]:
        assert training is not None
        outputs.clear()
        parameters.clear()
        value, gradients = training.value_and_gradients(dict(zip(batch.tensors, tensors, strict=True)))
        dense = [_dense(g, names[id(native(p))]) for g, p in zip(gradients, training.parameters, strict=True)]
        training.update(dense if is_linear(training.optimizer) else gradients)
        outputs.append("loss")
        parameters.extend(
            names[id(native(p))] for p, g in zip(training.parameters, dense, strict=True) if g is not None
        )
        return [value, *(g for g in dense if g is not None)]

    specs = [tf.TensorSpec(s.shape, s.dtype) for s in batch.specs if mode == "training" or s.name in batch.features]
    optimizer = training.optimizer if training is not None and mode == "training" else None
    body = step if mode == "training" else inference

    def concrete_of(inline: bool) -> Any:
        with traced(described.structure.layers, optimizer, names, inline):
            return tf.function(body, autograph=False).get_concrete_function(*specs)

    try:
        concrete = concrete_of(inline=True)
    except tf.errors.OperatorNotAllowedInGraphError:
        # a tf.function of the user's, whose Python conditionals on tensors only AutoGraph turns into operations
        concrete = concrete_of(inline=False)
    if isinstance(described.recipe.model, keras.layers.Layer):
        described.recipe.model._clear_losses()  # those of the trace are tensors of its graph
    return concrete, outputs, parameters


def _dense(gradient: Any, name: str) -> Any:
    """A gradient as a tensor: rows of an embedding, given by index, are summed into one of the whole table."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    with tf.name_scope(f"gradient_tape/forward/{name.rpartition('.')[0]}/"):
        return tf.convert_to_tensor(gradient)


_GRADIENT = re.compile(r"gradient registry has no entry for: (\w+)")
_INNER = re.compile(r"\x1b\[1m(.*?)\x1b\[0m", re.DOTALL)
"""What Keras says within what it says around it, in bold."""


def _failed(described: Described, mode: Mode, error: Exception) -> ExportError:
    """A step that TensorFlow cannot trace, in a line: why, where in the user's code, what to write instead."""
    text = str(error)
    inner = _INNER.search(text)
    place = user_line(error)
    what = (
        f"the {mode} step of {type(described.recipe.model).__name__} cannot be traced{f' ({place})' if place else ''}"
    )
    lacking = _GRADIENT.search(text)
    if lacking:
        known = refusal(lacking[1])
        rewrite = known.rewrite if known else "write it with operations that have one, or tf.stop_gradient before it"
        return ExportError(f"{what}: TensorFlow has no gradient of {lacking[1]}", rewrite)
    why = f"{what}: {type(error).__name__}: {one_line(inner[1] if inner else text)}"
    if isinstance(error, tf.errors.OperatorNotAllowedInGraphError) or "symbolic" in text:
        return ExportError(why, "keep a tensor a tensor: choose by tf.where or tf.cond, and leave .numpy() out")
    return ExportError(why, "the step must run under tf.function: use keras.ops or tf operations on tensors")


def trace(described: Described, mode: Mode) -> Traced:
    """The lifted step of a mode; traced once.

    Raises:
        ExportError: It cannot be traced.
    """
    known: Traced | None = described.steps.get(mode)
    if known is not None:
        return known
    if mode == "training" and described.training is None:
        raise UsageError("the recipe has no optimizer", "give optimizer=, or compile the model with one")
    try:
        function, outputs, parameters = _concrete(described, mode)
    except FathomError:
        raise
    except Exception as error:
        raise _failed(described, mode, error) from error
    features = len(described.batch.tensors if mode == "training" else described.batch.features)
    lifted = lift(function, features)
    held: dict[str, Held] = {}
    names = described.names()
    for item in lifted.held:
        name = names.get(id(item.variable))
        if name is None:
            name = unique(str(item.variable.name).partition(":")[0].replace("/", "."), names.values())
            described.structure.variables[name] = item.variable
            names[id(item.variable)] = name
        held[name] = item
    gradients = dict(zip(parameters, lifted.outputs[len(outputs) :], strict=True))
    used = shared_sums(lifted, gradients, [h.last for h in held.values()])
    step = Traced(function, lifted, find_draws(lifted), dict(zip(outputs, lifted.outputs, strict=False)), used, held)
    described.steps[mode] = step
    return step
