"""What fixed sizes change: the nodes that onnxruntime would run if the dimensions that a file leaves open stayed open.

A graph with sizes for its open dimensions is another graph than its file: onnxruntime may fold shapes to constants, and
fuse what it leaves apart while a size is open. Whoever times it must know.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from .graph import Graph
from .graph.bodies import numbered
from .graph.tensors import initializer_tensor
from .runtime.optimized import load_optimized
from .runtime.prepare import Prepared, prepare
from .runtime.session import open_session
from .runtime.settings import SessionSettings

__all__ = ["LARGEST_WEIGHTS", "dynamic_facts"]

LARGEST_WEIGHTS = 1 << 30
"""Bytes of weights beyond which the comparison is left out: onnxruntime would write them all once more."""


def dynamic_facts(
    graph: Graph, prepared: Prepared, optimized: onnx.ModelProto, settings: SessionSettings, *, kept: bool
) -> dict[str, Any] | None:
    """Sizes given to open dimensions, and what they let onnxruntime leave out, for a run's manifest.

    Args:
        graph: The graph with its sizes.
        prepared: The graph as it was run.
        optimized: What onnxruntime made of it.
        settings: How it ran.
        kept: Whether the dimensions stayed open in the run.

    Returns:
        None where the file leaves nothing open. ``sizes``: size by label. ``kept_open``: the argument.
        ``only_when_open``: op type to the number of nodes that did not run and would if the dimensions stayed open;
        None where they stayed open, or where the weights are too large to compare.

    Raises:
        RunError: onnxruntime refuses the open graph.
    """
    if not graph.given_sizes:
        return None
    facts: dict[str, Any] = {"sizes": {d.label: d.size for d in graph.given_sizes}, "kept_open": kept}
    weights = sum(initializer_tensor(t).size_bytes or 0 for t in graph.model.graph.initializer)
    if kept or weights > LARGEST_WEIGHTS:
        return {**facts, "only_when_open": None}
    reopened = replace(prepared, model=prepare(graph, prepared.initial, keep_dynamic=True).model)
    only_open = _optimized_ops(reopened, settings) - _ops(optimized)
    return {**facts, "only_when_open": dict(sorted(only_open.items()))}


def _optimized_ops(prepared: Prepared, settings: SessionSettings) -> Counter[str]:
    """How many nodes of each op type onnxruntime makes of a model; nothing runs."""
    with tempfile.TemporaryDirectory(prefix="fathom-onnx-") as folder:
        path = Path(folder, "optimized.onnx")
        open_session(prepared, settings, optimized_to=path)
        return _ops(load_optimized(path))


def _ops(model: onnx.ModelProto) -> Counter[str]:
    return Counter(entry.node.op_type for entry in numbered(model.graph))
