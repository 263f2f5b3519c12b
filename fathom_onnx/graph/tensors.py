"""Tensors of a graph: name, shape and element type, read from what a model declares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx

from .bodies import bodies

__all__ = ["Tensor", "declared_tensor", "element_type", "initializer_tensor", "tensors_of"]


@dataclass(frozen=True)
class Tensor:
    """Shape and element type of a tensor; ``shape`` is None where it is not known."""

    name: str
    shape: tuple[int, ...] | None
    dtype: str

    @property
    def elements(self) -> int | None:
        """Number of elements, or None."""
        return None if self.shape is None else math.prod(self.shape)

    @property
    def size_bytes(self) -> int | None:
        """Size in bytes, or None where the shape or the element type has none."""
        if self.elements is None or self.dtype in ("object", "str", ""):
            return None
        return self.elements * np.dtype(self.dtype).itemsize


def element_type(onnx_type: int) -> str:
    """NumPy's name of an ONNX element type; empty for an undefined one or one that NumPy does not have."""
    if onnx_type == onnx.TensorProto.UNDEFINED:
        return ""
    try:
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(onnx_type)))
    except (KeyError, TypeError):
        return ""


def declared_tensor(info: onnx.ValueInfoProto) -> Tensor:
    """A tensor as an input, an output or a ``value_info`` declares it; a shape with an open dimension is unknown."""
    kind = info.type.tensor_type
    static = kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim)
    shape = tuple(dim.dim_value for dim in kind.shape.dim) if static else None
    return Tensor(info.name, shape, element_type(kind.elem_type))


def initializer_tensor(tensor: onnx.TensorProto) -> Tensor:
    """The tensor of an initializer."""
    return Tensor(tensor.name, tuple(tensor.dims), element_type(tensor.data_type))


def tensors_of(graph: onnx.GraphProto, with_bodies: bool = True) -> dict[str, Tensor]:
    """Shapes and types of a graph's tensors as far as they are declared, by name.

    Args:
        graph: The graph.
        with_bodies: Whether to include the tensors of its bodies.
    """
    tensors = {info.name: declared_tensor(info) for info in [*graph.value_info, *graph.input, *graph.output]}
    tensors.update((tensor.name, initializer_tensor(tensor)) for tensor in graph.initializer)
    if with_bodies:
        for node in graph.node:
            for _, body in bodies(node):
                tensors.update(tensors_of(body))
    return tensors
