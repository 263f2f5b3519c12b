"""A recipe read: names of the model's parts, its batch, its loss, a copy of its optimizer with state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fathom_onnx.errors import ExportError, UsageError
from fathom_onnx.recipes import Recipe
from fathom_onnx.workloads.contract import Mode

from .batch import Batch, read_batch
from .loss import total_loss
from .names import Structure, native, structure
from .optimizer import built_copy, state_names
from .step import Training, forward

__all__ = ["Described", "describe", "trainable"]


@dataclass
class Described:
    """A recipe as it is traced.

    Attributes:
        recipe: The recipe.
        structure: Names of the model's layers and variables.
        batch: The example batch.
        training: The training step; None without an optimizer.
        state: The optimizer's variables by name.
        steps: Its traced steps by mode.
    """

    recipe: Recipe
    structure: Structure
    batch: Batch
    training: Training | None
    state: Mapping[str, tf.Variable]
    steps: dict[Mode, Any] = field(default_factory=dict)

    def names(self) -> dict[int, str]:
        """Names of all variables by identity."""
        return {id(v): name for name, v in {**self.structure.variables, **self.state}.items()}


def _built(model: Any, batch: Batch) -> None:
    """Create the variables that a model makes when it is first called."""
    inputs, _, _ = batch.parts({name: tf.constant(array) for name, array in batch.tensors.items()})
    if not isinstance(model, keras.layers.Layer):
        # only a call makes all that a module may make in its first one; its variables get their values back
        before = [(variable, np.array(variable)) for variable in structure(model).variables.values()]
        forward(model, inputs, training=False)
        for variable, value in before:
            variable.assign(value)
        return
    if model.built and all(layer.built for layer in model._flatten_layers()):
        return
    try:
        symbolic = keras.tree.map_structure(
            lambda t: keras.KerasTensor(t.shape, t.dtype.name) if isinstance(t, tf.Tensor) else t, inputs
        )
        model(symbolic)
    except Exception:  # not every model can be called without values
        forward(model, inputs, training=False)


def trainable(model: Any, found: Structure) -> list[Any]:
    """The variables that a model trains."""
    if isinstance(model, keras.layers.Layer):
        return list(model.trainable_variables)
    own = {id(v): v for v in model.trainable_variables}
    layers = [layer for layer in found.layers.values() if isinstance(layer, keras.layers.Layer)]
    own |= {id(native(v)): v for layer in layers for v in layer.trainable_variables}
    return list(own.values())


def describe(recipe: Recipe) -> Described:
    """Read names, batch, loss and optimizer of a recipe.

    Raises:
        UsageError: The recipe cannot be a step.
        ExportError: The model or the optimizer cannot be recorded.
    """
    model = recipe.model
    if not isinstance(model, keras.layers.Layer | tf.Module) or not callable(model):
        raise UsageError(
            f"{type(model).__module__}.{type(model).__name__} is no Keras 3 model and no tf.Module with a __call__",
            "give a keras.Model, a keras.layers.Layer or a tf.Module",
        )
    batch = read_batch(model, recipe.batch)
    _built(model, batch)
    found = structure(model, [*batch.tensors, "loss"])
    _check_types(found)
    optimizer = recipe.optimizer if recipe.optimizer is not None else getattr(model, "optimizer", None)
    if optimizer is None:
        return Described(recipe, found, batch, None, {})
    loss = total_loss(model, recipe.loss)
    optimizer, parameters = built_copy(optimizer, trainable(model, found))
    for parameter in parameters:
        found.add_variable(str(getattr(parameter, "path", parameter.name)).replace("/", "."), parameter)
    state = state_names(optimizer, parameters, found.variable_names())
    training = Training(model, batch, loss, optimizer, tuple(parameters), recipe.accumulate)
    return Described(recipe, found, batch, training, state)


def _check_types(found: Structure) -> None:
    for name, layer in found.layers.items():
        policy = getattr(layer, "compute_dtype", "float32")
        if policy not in ("float32", None) and tf.as_dtype(policy).is_floating:  # others look up or count
            raise ExportError(
                f"layer '{name}' computes in {policy}", "make the model with keras.config.set_dtype_policy('float32')"
            )
