"""The model as onnxruntime runs it: read back after optimization, its nodes numbered and renamed.

Optimization leaves nodes with empty and with equal names, and a trace names nodes only. So the saved model's nodes
are renamed ``k0`` to ``kN``, bodies of control flow included, and that model is run without further optimization.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from fathom_onnx.graph.bodies import numbered
from fathom_onnx.graph.files import write_bytes

__all__ = ["executed_name", "load_optimized", "write_renamed"]


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
