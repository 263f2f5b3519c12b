"""The example batch of a recipe as Keras takes it: inputs, targets and sample weights, each tensor with a name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fathom_onnx.errors import UsageError
from fathom_onnx.recipes.batch import BatchPath, flatten, path_name, tensors, unflatten
from fathom_onnx.recipes.recorded import unique
from fathom_onnx.workloads.contract import Array, TensorSpec

from .names import is_automatic

__all__ = ["Batch", "read_batch"]

_PARTS = ("inputs", "targets", "sample_weight")


@dataclass(frozen=True)
class Batch:
    """A batch and its tensors by name.

    Attributes:
        whole: As the user gave it.
        paths: Where in it each tensor is, by name, in order.
        tensors: Its tensors by name.
        features: Names of the tensors that are the model's inputs.
    """

    whole: Any
    paths: Mapping[str, BatchPath]
    tensors: Mapping[str, Array]
    features: tuple[str, ...]

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """The tensors as an interface's."""
        return tuple(TensorSpec(name, array.shape, array.dtype.name) for name, array in self.tensors.items())

    def parts(self, values: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Inputs, targets and sample weights with other tensors, by name; plain values stay."""
        leaves = {path: values[name] for name, path in self.paths.items() if name in values}
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(unflatten(self.whole, leaves))
        return inputs, targets, weights

    def cut(self, values: Mapping[str, tf.Tensor], parts: int) -> Sequence[Mapping[str, tf.Tensor]]:
        """The tensors of each part of the batch, cut along the first axis; what has no such axis is in all of them.

        Raises:
            UsageError: The batch cannot be cut so.
        """
        if parts == 1:
            return [values]
        size = next((array.shape[0] for array in self.tensors.values() if array.ndim), 0)
        if not size or size % parts:
            raise UsageError(
                f"the batch's first axis of {size} cannot be cut into {parts} equal parts",
                "give a batch whose first axis is a multiple of that, or accumulate=1",
            )
        whole = {name: array.shape[:1] != (size,) for name, array in self.tensors.items()}
        pieces = {n: [v] * parts if whole[n] else tf.split(v, parts) for n, v in values.items()}
        return [{name: piece[index] for name, piece in pieces.items()} for index in range(parts)]


def _as_array(leaf: Any) -> Array:
    """A tensor's values; arrays of float64 become Keras' own float type, as in ``fit``."""
    array = np.asarray(leaf)
    if array.dtype == np.float64 and not isinstance(leaf, tf.Tensor):
        array = array.astype(keras.config.floatx())
    if array.dtype.kind not in "fiub":
        raise UsageError(
            f"the batch has a tensor of type {array.dtype}", "make numbers of it before the model, or give plain values"
        )
    return array


def _argument(model: Any) -> str:
    """The name of the first argument of a model's forward pass."""
    call = model.call if isinstance(model, keras.layers.Layer) else model.__call__
    parameters = inspect.signature(call).parameters.values()
    first = next((p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)), "inputs")
    return "inputs" if first == "self" else first


def _input_names(model: Any, inputs: Any) -> list[str]:
    """Names of the input tensors: keys of a dict, the model's own names, or its argument's."""
    paths = tensors(inputs)
    names = [path_name(path if isinstance(inputs, Mapping) else (_argument(model), *path)) for path in paths]
    own = [str(tensor.name) for tensor in getattr(model, "inputs", None) or ()]
    if isinstance(inputs, Mapping) or len(own) != len(names):
        return names
    made_up = [is_automatic(name, "KerasTensor") or is_automatic(name, "InputLayer") for name in own]
    return [name if automatic else given for name, given, automatic in zip(names, own, made_up, strict=True)]


def _names(model: Any, part: int, value: Any) -> list[str]:
    if part == 0:
        return _input_names(model, value)
    return [path_name((_PARTS[part], *path)) for path in tensors(value)]


def read_batch(model: Any, batch: Any) -> Batch:
    """Read an example batch: inputs alone, or a tuple of inputs, targets and, if any, sample weights.

    Raises:
        UsageError: It has no tensor, or one of text.
    """
    if isinstance(batch, tuple) and len(batch) > len(_PARTS):
        raise UsageError(
            f"the batch is a tuple of {len(batch)}, not (inputs, targets) or (inputs, targets, sample weights)",
            "give several inputs as a list or a dict",
        )
    paths: dict[str, BatchPath] = {}
    features: tuple[str, ...] = ()
    pieces = batch if isinstance(batch, tuple) else (batch,)
    for part, value in enumerate(pieces):
        for name, path in zip(_names(model, part, value), tensors(value), strict=True):
            paths[unique(name, paths)] = (part, *path) if isinstance(batch, tuple) else path
        features = features or tuple(paths)
    leaves = flatten(batch)
    if not paths:
        raise UsageError("the batch has no tensor", "give an example batch: (inputs, targets)")
    return Batch(batch, paths, {name: _as_array(leaves[path]) for name, path in paths.items()}, features)
