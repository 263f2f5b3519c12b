"""What is traced: the ordinary steps of Keras, a forward pass or what ``fit`` does for a batch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from fathom_onnx.recipes.batch import flatten, path_name

from .batch import Batch
from .loss import TotalLoss
from .names import native

__all__ = ["Training", "forward", "output_tensors"]


_TRAINING = ("training", "is_training")
"""Names by which models are told whether they are trained: that of Keras and TensorFlow, and that of Sonnet."""


def _told(model: Any, training: bool) -> dict[str, bool]:
    """The argument by which a model is told whether it is trained, if it takes one."""
    if isinstance(model, keras.layers.Layer):
        return {"training": training}  # a layer hands it on to layers within it even if its own call does not take it
    parameters = inspect.signature(model.__call__).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) and not set(_TRAINING) & set(parameters):
        return {"training": training}  # taken by name, or handed on
    return {name: training for name in _TRAINING if name in parameters}


def forward(model: Any, inputs: Any, training: bool) -> Any:
    """The model's outputs in training or in inference."""
    return model(inputs, **_told(model, training))


def output_tensors(outputs: Any) -> dict[str, tf.Tensor]:
    """The tensors among a model's outputs by name: ``output``, ``output.0`` or the key."""
    return {
        path_name(path) if path and isinstance(path[0], str) else path_name(("output", *path)): leaf
        for path, leaf in flatten(outputs).items()
        if isinstance(leaf, tf.Tensor)
    }


def _sum(total: Any, term: Any) -> Any:
    """The sum of two losses or gradients, either of which may be None."""
    if total is None or term is None:
        return term if total is None else total
    return tf.convert_to_tensor(total) + tf.convert_to_tensor(term)


@dataclass(frozen=True)
class Training:
    """A training step.

    Attributes:
        model: The model.
        batch: The batch that says how its tensors are arranged.
        loss: The loss with all that layers add to it.
        optimizer: A built optimizer.
        parameters: The variables that it updates.
        parts: Parts that the batch is cut into; their gradients are added up.
    """

    model: Any
    batch: Batch
    loss: TotalLoss
    optimizer: Any
    parameters: tuple[Any, ...]
    parts: int = 1

    def value_and_gradients(self, values: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, list[Any]]:
        """The loss, and its gradient for each parameter, None where it does not depend on one."""
        total: Any = None
        sums: list[Any] = [None] * len(self.parameters)
        for part in self.batch.cut(values, self.parts):
            value, gradients = self._part(part)
            with tf.name_scope("loss/loss/"):
                total = _sum(total, value)
            with tf.name_scope("gradient_tape/loss/loss/"):
                sums = [_sum(a, b) for a, b in zip(sums, gradients, strict=True)]
        return total, sums

    def _part(self, values: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, list[Any]]:
        inputs, targets, weights = self.batch.parts(values)
        with tf.GradientTape() as tape:
            outputs = forward(self.model, inputs, training=True)
            with tf.name_scope("loss/loss/"):
                value = self.loss.compute(inputs, targets, outputs, weights)
                value = value / self.parts if self.parts > 1 else value
                scaled = self.optimizer.scale_loss(value)
        return value, tape.gradient(scaled, [native(p) for p in self.parameters])

    def update(self, gradients: list[Any]) -> None:
        """Update the parameters and the optimizer's state."""
        with tf.name_scope("optimizer/step/"):
            self.optimizer.apply(gradients, list(self.parameters))
