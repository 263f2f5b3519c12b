"""Attribution of a graph to the form that onnxruntime optimizes it to, and what always holds of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.optimized import load_optimized
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import Optimization, SessionSettings
from fathom_onnx.runtime.weights import variable_values


def optimize(graph: Graph, level: Optimization, folder: Path) -> onnx.ModelProto:
    path = folder / f"{graph.name}-{level}.onnx"
    open_session(prepare(graph, variable_values(graph, 0)), SessionSettings(optimization=level), optimized_to=path)
    return load_optimized(path)


def table(found: Attribution) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Executed name to (kind, names of the originals)."""
    rows = {}
    for entry, node in zip(found.executed, found.nodes, strict=True):
        names = tuple(found.originals[s.original].node.name for s in node.shares)
        rows[entry.node.name or f"#{entry.index}"] = (node.kind, names)
    return rows


def check(found: Attribution) -> None:
    """What holds for every attribution."""
    assert [n.executed for n in found.nodes] == [e.index for e in found.executed]
    uses = Counter(s.original for n in found.nodes if n.kind == "attributed" for s in n.shares)
    for node in found.nodes:
        if node.kind == "unattributed":
            assert not node.shares
            assert node.reason
        else:
            assert sum(s.weight for s in node.shares) == pytest.approx(1)
            assert all(s.weight >= 0 for s in node.shares)
        if node.kind == "attributed":
            several = len(node.shares) > 1 or any(uses[s.original] > 1 for s in node.shares)
            assert node.split == several
    assert set(uses).isdisjoint(found.absent)
    assert len(uses) + len(found.absent) == len(found.originals)
    for entry in found.originals:
        assert (found.state_of(entry.index) == "ran") == (entry.index not in found.absent)
