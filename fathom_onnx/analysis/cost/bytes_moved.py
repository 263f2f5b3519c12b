"""Bytes that a node must read and write: every input and every output once, and of a lookup the rows it touches.

A scatter touches what it writes: the rest of its first input can stay where it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import onnx

from fathom_onnx.graph import Tensor

__all__ = ["bytes_read", "bytes_written", "size_of", "total_bytes"]

_ROWS = frozenset({"Gather", "GatherElements", "GatherND", "SequenceAt", "TorchEmbedding"})
"""Ops that touch only what they take from their first input."""

_SCATTERS = frozenset({"Scatter", "ScatterElements", "ScatterND"})
"""Ops that write elements, their third input, into their first input."""

_PARTS = frozenset({"Slice", "DynamicSlice"})
_EMBEDDINGS = frozenset({"EmbedLayerNormalization", "QEmbedLayerNormalization"})


def size_of(tensor: Tensor | None) -> int | None:
    """Bytes of a tensor; None where there is none, or its shape or type is not known."""
    return None if tensor is None else tensor.size_bytes


def total_bytes(names: Iterable[str], tensors: Mapping[str, Tensor]) -> int | None:
    """Bytes of all these tensors; None where one is not known. Empty names stand for what is left out."""
    total = 0
    for name in names:
        size = size_of(tensors.get(name)) if name else 0
        if size is None:
            return None
        total += size
    return total


def _rows_read(node: onnx.NodeProto, tensors: Mapping[str, Tensor], written: int | None) -> int | None:
    """Bytes of the rows that embeddings take from their tables, with their indices, scale and shift."""
    first = tensors.get(node.output[0])
    table = tensors.get(node.input[2])
    if written is None or first is None or first.elements is None or table is None or table.bits is None:
        return None
    tables = sum(bool(node.input[i]) for i in (2, 3, 4) if len(node.input) > i)
    beside = total_bytes([*node.input[:2], *node.input[5:]], tensors)
    return None if beside is None else beside + tables * ((first.elements * table.bits + 7) // 8)


def _block_rows_read(node: onnx.NodeProto, tensors: Mapping[str, Tensor]) -> int | None:
    """Bytes that a block-quantized lookup touches: its share of the table, of the scales and of the zero points."""
    sizes = [size_of(tensors.get(name)) for name in node.input if name]
    table, output = tensors.get(node.input[0]), tensors.get(node.output[0])
    if any(size is None for size in sizes) or table is None or output is None or not table.elements:
        return None
    bits = next((a.i for a in node.attribute if a.name == "bits"), 4)
    table_elements = table.elements * (8 // bits if table.dtype == "uint8" else 1)
    known = [size for size in sizes if size is not None]
    if output.elements is None:
        return None
    return known[1] + math.ceil((known[0] + sum(known[2:])) * min(1.0, output.elements / table_elements))


def bytes_read(node: onnx.NodeProto, tensors: Mapping[str, Tensor], written: int | None) -> int | None:
    """Bytes that a node reads: all its inputs once, or of a table or a source only what it takes.

    Args:
        node: The node.
        tensors: Shapes and types by tensor name.
        written: Bytes of its outputs.
    """
    kind = node.op_type
    if kind in _ROWS and len(node.input) > 1 and written is not None:
        indices = total_bytes([node.input[1]], tensors)
        return None if indices is None else written + indices
    if kind == "GatherBlockQuantized":
        return _block_rows_read(node, tensors)
    if kind in _EMBEDDINGS:
        return _rows_read(node, tensors, written)
    if kind in _SCATTERS and len(node.input) == 3:
        combines = any(a.name == "reduction" and a.s != b"none" for a in node.attribute)
        return total_bytes([*node.input[1:], *node.input[2:] * combines], tensors)
    return written if kind in _PARTS else total_bytes(node.input, tensors)


def bytes_written(node: onnx.NodeProto, tensors: Mapping[str, Tensor]) -> int | None:
    """Bytes that a node writes: its outputs, or of a scatter only what it writes into its first input."""
    if node.op_type in _SCATTERS and len(node.input) == 3:
        return total_bytes(node.input[2:], tensors)
    return total_bytes(node.output, tensors)
