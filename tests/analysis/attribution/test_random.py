"""Conservation on random graphs that onnxruntime optimizes and runs: no microsecond and no node is lost."""

from __future__ import annotations

from typing import Any

import onnx
import onnx.printer
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from fathom_onnx.analysis.attribution.attribution import attribute
from fathom_onnx.analysis.attribution.regions import op_of
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import bodies
from fathom_onnx.graph.op_types import class_of_op
from fathom_onnx.profiling import profile
from fathom_onnx.runtime.settings import OPTIMIZATIONS, Optimization
from support.graphs.random_graphs import random_graphs
from support.runs.attributions import check, optimize

QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}
"""The same graphs each time: what fails, fails again."""

SAME = {
    "Activation": {"Erf", "Sigmoid", "Tanh"},  # Gelu and its kin are made of these
    "LayerNorm": {"Add"},
    "Identity": {"Transpose", "Reshape", "Cast"},  # movements that undid each other
    "Transpose": {"Conv2D"},  # layouts
}
"""Canonical op of an executed node to others that it may stand for."""


def fed_nodes(graph: onnx.GraphProto, fed: set[str]) -> tuple[set[str], set[str]]:
    """Names of the nodes, and of the tensors, that are sure to differ from step to step: what is fed reaches them.

    An ``If`` gives the same in every step if its condition is the same and so is what the branch it takes gives.
    """
    varying, found = set(fed), set()
    for node in graph.node:
        given = []
        for _, body in bodies(node):
            names, tensors = fed_nodes(body, varying | {i.name for i in body.input})
            given.append(any(output.name in tensors for output in body.output))
            found |= names
        if any(name in varying for name in node.input) or (given and all(given)) or node.op_type == "RandomNormal":
            varying.update(node.output)
            found.add(node.name)
    return found, varying


@settings(max_examples=60, **QUIET)
@given(graph=random_graphs(), level=st.sampled_from(OPTIMIZATIONS))
def test_every_node_has_an_owner_or_a_state(graph: Graph, level: Optimization, tmp_path_factory: Any) -> None:
    executed = optimize(graph, level, tmp_path_factory.mktemp("random"))
    note(onnx.printer.to_text(graph.model.graph))
    note(onnx.printer.to_text(executed.graph))
    found = attribute(graph, executed)
    check(found)
    varying, _ = fed_nodes(graph.model.graph, {"x", "z"})
    for entry in found.originals:
        state = found.state_of(entry.index)
        if state == "folded":
            assert entry.node.op_type == "Shape" or entry.node.name not in varying, entry.node.name
        if level == "none":
            assert state == "ran" or entry.node.op_type == "Cast", entry.node.name
    ops = {entry.index: op_of(entry.node) for entry in found.originals}
    for entry, node in zip(found.executed, found.nodes, strict=True):
        assert node.kind != "unattributed", (entry.node.op_type, node.reason)
        mine = op_of(entry.node)
        if node.kind == "charged":
            assert class_of_op(mine) == "G", entry.node.op_type
        elif not node.reason and mine != "Cast":
            theirs = {ops[share.original] for share in node.shares}
            assert mine in theirs or SAME.get(mine, set()) & theirs, (entry.node.op_type, theirs)


@settings(max_examples=25, **QUIET)
@given(graph=random_graphs(steps=5), level=st.sampled_from(OPTIMIZATIONS))
def test_time_is_conserved(graph: Graph, level: Optimization) -> None:
    run = profile(graph, threads=1, warmup=0, steps=2, optimization=level)
    steps = run.steps
    assert (steps["node_us"] + steps["outside_us"] == steps["run_us"]).all()
    parts = [run.kind_us(kind) for kind in ("attributed", "charged", "unattributed")]
    assert sum(parts) == pytest.approx(run.node_time_us, abs=1e-6)
    assert sum(run.attribution["us"]) == pytest.approx(run.node_time_us - parts[2], rel=1e-9, abs=1e-6)
    weights = run.attribution.groupby("executed")["weight"].sum()
    assert weights.to_numpy() == pytest.approx(1)
    assert set(run.nodes.loc[run.nodes["kind"] == "unattributed", "reason"]) - {""} == set(run.unattributed()["reason"])
