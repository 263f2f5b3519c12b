"""What a graph declares of the inputs that a batch must have: tensors, sequences of tensors, optional values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from fathom_onnx.graph.model import Graph
from fathom_onnx.graph.tensors import element_type

__all__ = ["DeclaredInput", "declared_inputs", "is_floating", "is_integer", "is_text"]


@dataclass(frozen=True)
class DeclaredInput:
    """The type of an input.

    Attributes:
        name: Its name.
        dtype: Element type as NumPy names it (``object`` for strings); empty where NumPy has none, or for a map.
        shape: Its shape, None for each open dimension; None where not even the rank is declared. Of a sequence, that
            of an element.
        sequence: Whether it is a sequence of such tensors.
        optional: Whether it may be absent.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    sequence: bool = False
    optional: bool = False

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """The shape, or None where any of it is open."""
        if self.shape is None:
            return None
        known = tuple(size for size in self.shape if size is not None)
        return known if len(known) == len(self.shape) else None

    def __str__(self) -> str:
        kind = {"object": "strings", "": "unknown type"}.get(self.dtype, self.dtype)
        shape = "of any shape" if self.shape is None else str(["?" if size is None else size for size in self.shape])
        text = f"{kind} {shape}".replace("'", "")
        text = f"a sequence of {text}" if self.sequence else text
        return f"{text}, optional" if self.optional else text


def declared_inputs(graph: Graph) -> tuple[DeclaredInput, ...]:
    """The inputs of a graph that change every step, in its order."""
    wanted = {tensor.name for tensor in graph.batch_inputs}
    return tuple(_declared(info) for info in graph.model.graph.input if info.name in wanted)


def _declared(info: onnx.ValueInfoProto) -> DeclaredInput:
    kind, optional, sequence = info.type, False, False
    if kind.HasField("optional_type"):
        kind, optional = kind.optional_type.elem_type, True
    if kind.HasField("sequence_type"):
        kind, sequence = kind.sequence_type.elem_type, True
    tensor = kind.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    return DeclaredInput(info.name, element_type(tensor.elem_type), shape, sequence, optional)


def is_text(dtype: str) -> bool:
    """Whether this is how the element type of strings is named."""
    return dtype in ("object", "str")


def is_integer(dtype: str) -> bool:
    """Whether this is an integer type, those of fewer than 8 bits included."""
    return dtype not in ("", "object", "str") and "int" in np.dtype(dtype).name


def is_floating(dtype: str) -> bool:
    """Whether this is a floating-point type, those that only ONNX has included."""
    return dtype not in ("", "object", "str") and "float" in np.dtype(dtype).name
