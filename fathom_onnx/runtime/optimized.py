"""The model as onnxruntime runs it: read back after optimization, its nodes numbered and renamed.

Optimization leaves nodes with empty and with equal names, and a trace names nodes only. So the saved model's nodes
are renamed ``k0`` to ``kN``, bodies of control flow included, and that model is run without further optimization.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo

from fathom_onnx.graph.bodies import numbered
from fathom_onnx.graph.files import write_bytes
from fathom_onnx.graph.loading.reading import external_tensors, hold_values

__all__ = ["STRUCTURE", "executed_name", "load_optimized", "write_renamed", "write_structure"]

STRUCTURE = "optimized.onnx"
"""Name of the optimized model in a run folder."""

KEPT_INTEGERS = 1 << 20
"""Bytes up to which integers are kept: indices, sizes and masks decide what a node does, weights only what it gives."""

_INDICES = frozenset({onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL})
_LEFT_OUT = "weights-are-not-kept"


def executed_name(index: int) -> str:
    """The name under which node number ``index`` stands in a trace."""
    return f"k{index}"


def load_optimized(path: Path) -> onnx.ModelProto:
    """The optimized model that onnxruntime saved, without its large weights, which stay in the file beside it."""
    return onnx.load(path, load_external_data=False)


def write_renamed(model: onnx.ModelProto, path: Path) -> None:
    """Write an optimized model with its nodes renamed, in the folder it was saved in (the weights lie there)."""
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    for entry in numbered(renamed.graph):
        entry.node.name = executed_name(entry.index)
    write_bytes(path, renamed.SerializeToString())


def write_structure(model: onnx.ModelProto, weights: Path, path: Path) -> None:
    """Write an optimized model without its weights: what it does not hold itself has a type and a shape only.

    Args:
        model: The model, from :func:`load_optimized`.
        weights: The folder of its weights, from which indices and sizes are read where it is there.
        path: The file to write.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in external_tensors(bare):
        place = ExternalDataInfo(tensor)
        there = (weights / place.location).is_file()
        if there and tensor.data_type in _INDICES and (place.length or 0) <= KEPT_INTEGERS:
            hold_values(tensor, weights)
        else:
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value=_LEFT_OUT)
    write_bytes(path, bare.SerializeToString())
