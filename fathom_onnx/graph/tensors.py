"""Tensors of a graph: name, shape and element type, read from what a model declares."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx

from .bodies import TOP, Body, bodies, names_in

__all__ = ["Tensor", "declared_tensor", "element_type", "initializer_tensor", "tensors_by_body", "tensors_of"]

_BITS = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "float6_e2m3fn": 6, "float6_e3m2fn": 6, "int2": 2, "uint2": 2}
"""Element types of fewer than 8 bits; a tensor of them is stored without gaps."""


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
    def bits(self) -> int | None:
        """Bits of an element as it is stored, or None for an element type that has no fixed size."""
        return _bits(self.dtype)

    @property
    def size_bytes(self) -> int | None:
        """Size in bytes, or None where the shape or the element type has none."""
        bits = _bits(self.dtype)
        if self.shape is None or bits is None:
            return None
        return (math.prod(self.shape) * bits + 7) // 8


@lru_cache(maxsize=256)  # asked for every tensor of a graph, as the next is
def _bits(dtype: str) -> int | None:
    if dtype in ("object", "str", ""):
        return None
    return _BITS.get(dtype) or 8 * np.dtype(dtype).itemsize


@lru_cache(maxsize=256)
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
    if not kind.HasField("shape"):
        return Tensor(info.name, None, element_type(kind.elem_type))
    sizes = tuple([dim.dim_value for dim in kind.shape.dim])
    # an open dimension reads as 0
    static = 0 not in sizes or all(dim.HasField("dim_value") for dim in kind.shape.dim)
    return Tensor(info.name, sizes if static else None, element_type(kind.elem_type))


def initializer_tensor(tensor: onnx.TensorProto) -> Tensor:
    """The tensor of an initializer."""
    return Tensor(tensor.name, tuple(tensor.dims), element_type(tensor.data_type))


def tensors_of(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Shapes and types of a graph's own tensors as far as they are declared, by name; not those of its bodies."""
    tensors = {info.name: declared_tensor(info) for info in [*graph.value_info, *graph.input, *graph.output]}
    tensors.update((tensor.name, initializer_tensor(tensor)) for tensor in graph.initializer)
    # a runtime makes them dense
    tensors.update(
        (t.values.name, Tensor(t.values.name, tuple(t.dims), element_type(t.values.data_type)))
        for t in graph.sparse_initializer
    )
    return tensors


def tensors_by_body(graph: onnx.GraphProto) -> dict[Body, Mapping[str, Tensor]]:
    """What each body of a graph, and its top level, sees of tensors: its own and those around it, by name.

    A body's own tensor hides one of the same name around it; its shape is None where the body does not declare it.
    """
    seen: dict[Body, Mapping[str, Tensor]] = {}
    count = 0

    def walk(part: onnx.GraphProto, around: list[MutableMapping[str, Tensor]], where: Body) -> None:
        nonlocal count
        own = {name: Tensor(name, None, "") for name in names_in(part)}
        levels = [own | tensors_of(part), *around]
        seen[where] = ChainMap(*levels) if around else levels[0]
        for node in part.node:
            index = count
            count += 1
            for name, body in bodies(node):
                walk(body, levels, (index, name))

    walk(graph, [], TOP)
    return seen
