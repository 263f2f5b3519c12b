"""Values of a run, back in a Keras model or a ``tf.Module``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fathom_onnx.recipes.giving import fitting_values
from fathom_onnx.workloads.contract import Array

from .names import structure

__all__ = ["give_values"]


def give_values(model: Any, values: Mapping[str, Array]) -> Any:
    """Assign the model's variables.

    Raises:
        DataError: A trainable variable has no value, or a value has another shape.
    """
    own = structure(model).variables
    shapes = {name: tuple(variable.shape) for name, variable in own.items()}
    fitting = fitting_values(shapes, values, [name for name, variable in own.items() if variable.trainable])
    for name, value in fitting.items():
        own[name].assign(value)
    return model
