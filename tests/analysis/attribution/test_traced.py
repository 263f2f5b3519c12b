"""Attribution of traces that other sessions wrote, with the model that they ran and without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from fathom_onnx.analysis.attribution.traced_attribution import (
    TracedAttribution,
    attribute_trace,
    attribute_trace_of,
)
from fathom_onnx.errors import UsageError
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.runtime.settings import OPTIMIZATIONS, Optimization
from fathom_onnx.runtime.traces.foreign import TracedNode, read_foreign
from fathom_onnx.runtime.traces.shapes import Form, TensorShape
from support.graphs.random_graphs import random_graphs
from support.graphs.small_models import FLOAT, cnn, control_flow, model, op
from support.runs.attributions import check
from support.runs.traces import session_trace

Row = tuple[str, list[str]]


def rows(found: TracedAttribution) -> list[Row]:
    """Kind and original nodes of each node of the trace."""
    nodes = [found.attribution.nodes[number] for number in found.numbers]
    names = [entry.node.name or f"#{entry.index}" for entry in found.attribution.originals]
    return [(node.kind, sorted(names[share.original] for share in node.shares)) for node in nodes]


def states(found: TracedAttribution) -> dict[str, str]:
    entries = found.attribution.originals
    return {entry.node.name: found.attribution.state_of(entry.index) for entry in entries}


@pytest.mark.parametrize("level", OPTIMIZATIONS)
@pytest.mark.parametrize("make", [cnn, control_flow])
def test_names_tell_what_the_optimized_model_tells(make: object, level: Optimization, tmp_path: Path) -> None:
    graph: Graph = make()  # type: ignore[operator]
    _, trace, optimized = session_trace(graph.model, tmp_path, level)
    nodes = read_foreign(trace).nodes
    by_names, by_model = attribute_trace(graph, nodes, "t"), attribute_trace_of(graph, nodes, onnx.load(optimized), "t")
    check(by_names.attribution)
    check(by_model.attribution)
    assert rows(by_names) == rows(by_model)
    assert states(by_names) == states(by_model)
    assert {kind for kind, _ in rows(by_names)} <= {"attributed", "charged"}


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(random_graphs())
def test_random_graphs_are_attributed_whole(tmp_path_factory: pytest.TempPathFactory, graph: Graph) -> None:
    folder = tmp_path_factory.mktemp("random")
    _, trace, optimized = session_trace(graph.model, folder, runs=1)
    nodes = read_foreign(trace).nodes
    by_names, by_model = attribute_trace(graph, nodes, "t"), attribute_trace_of(graph, nodes, onnx.load(optimized), "t")
    check(by_names.attribution)
    assert sorted(by_names.numbers) == list(range(len(nodes)))
    # without fusions names tell all
    _, trace, optimized = session_trace(graph.model, folder, "none", runs=1)
    nodes = read_foreign(trace).nodes
    by_names, by_model = attribute_trace(graph, nodes, "t"), attribute_trace_of(graph, nodes, onnx.load(optimized), "t")
    assert rows(by_names) == rows(by_model)


def branches() -> Graph:
    """Two equal branches: a product, an exact Gelu and a product each, of one shape; then their sum."""
    nodes = []
    for n in ("a", "b"):
        nodes += [
            op("MatMul", f"x {n}1", f"{n}m", f"/{n}/up/MatMul"),
            op("Div", f"{n}m root", f"{n}d", f"/{n}/Div"),
            op("Erf", f"{n}d", f"{n}e", f"/{n}/Erf"),
            op("Add", f"{n}e one", f"{n}p", f"/{n}/Add"),
            op("Mul", f"{n}m {n}p", f"{n}q", f"/{n}/Mul"),
            op("Mul", f"{n}q half", f"{n}g", f"/{n}/Mul_1"),
            op("MatMul", f"{n}g {n}2", f"{n}o", f"/{n}/down/MatMul"),
        ]
    nodes.append(op("Add", "ao bo", "y", "/Add"))
    import numpy as np

    square = np.eye(4, dtype=np.float32)
    constants = {name: square * scale for name, scale in (("a1", 1), ("a2", 2), ("b1", 3), ("b2", 4))}
    constants |= {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    return from_model(model(nodes, {"x": (FLOAT, (4, 4))}, {"y": (FLOAT, (4, 4))}, constants), "branches")


def gelu(branch: str) -> list[str]:
    return sorted(f"/{branch}/{name}" for name in ("Div", "Erf", "Add", "Mul", "Mul_1"))


def makes(*shape: int) -> Form:
    return Form((), (TensorShape("float32", shape),))


SQUARE = makes(4, 4)


def product(branch: str, name: str, index: int) -> TracedNode:
    return TracedNode(f"/{branch}/{name}/MatMul", "MatMul", index, form=SQUARE)


GELU = TracedNode("", "Gelu", 15, form=SQUARE)
GELU_2 = TracedNode("", "Gelu", 16, form=SQUARE)
SUM = TracedNode("/Add", "Add", 14, form=SQUARE)
UP_A, UP_B, DOWN_A, DOWN_B = (
    product(*of) for of in (("a", "up", 0), ("b", "up", 7), ("a", "down", 6), ("b", "down", 13))
)


def test_an_anonymous_node_is_told_by_the_order_of_execution() -> None:
    found = attribute_trace(branches(), [UP_A, GELU, DOWN_A, UP_B, GELU_2, DOWN_B, SUM], "t")
    assert rows(found)[1] == ("attributed", gelu("a"))
    assert rows(found)[4] == ("attributed", gelu("b"))


def test_what_the_order_does_not_tell_stays_unattributed_and_is_no_part_of_another_node() -> None:
    found = attribute_trace(branches(), [UP_A, UP_B, GELU, GELU_2, DOWN_A, DOWN_B, SUM], "t")
    assert [rows(found)[place] for place in (2, 3)] == [("unattributed", [])] * 2
    assert rows(found)[4:] == [
        ("attributed", ["/a/down/MatMul"]),
        ("attributed", ["/b/down/MatMul"]),
        ("attributed", ["/Add"]),
    ]
    node = found.attribution.nodes[found.numbers[2]]
    assert node.reason == "could stand for any of 10 nodes that the trace does not name; the optimized model tells"
    assert {states(found)[name] for name in [*gelu("a"), *gelu("b")]} == {"unknown"}


def test_a_subgraph_of_another_provider_stands_for_all_that_is_absent() -> None:
    whole = TracedNode("TRTKernel_graph_main_0_0", "TRTKernel_graph_main_0", 15, form=SQUARE)
    found = attribute_trace(branches(), [whole], "t")
    assert rows(found) == [("attributed", sorted(n.name for n in branches().model.graph.node))]
    assert found.attribution.nodes[0].split
    one = attribute_trace(branches(), [UP_A, GELU, DOWN_A, whole], "t")
    assert rows(one)[1] == ("attributed", gelu("a"))
    assert rows(one)[3] == ("attributed", sorted([*gelu("b"), "/b/up/MatMul", "/b/down/MatMul", "/Add"]))


def chain(kinds: Sequence[str], names: Sequence[str]) -> Graph:
    nodes = [op(kind, f"t{i}", f"t{i + 1}", names[i]) for i, kind in enumerate(kinds)]
    made = model(nodes, {"t0": (FLOAT, (2, 3))}, {f"t{len(kinds)}": (FLOAT, (2, 3))})
    return from_model(made, "chain")


def test_nodes_without_a_name_are_told_by_their_index(tmp_path: Path) -> None:
    graph = chain(["Exp", "Relu", "Exp"], ["", "", ""])
    _, trace, _ = session_trace(graph.model, tmp_path)
    traced = read_foreign(trace).nodes
    assert [node.name for node in traced] == ["Exp_0", "Relu_1", "Exp_2"]  # onnxruntime's stand-ins
    found = attribute_trace(graph, traced, "t")
    assert [found.attribution.nodes[number].shares[0].original for number in found.numbers] == [0, 1, 2]


def test_nodes_of_one_name_are_told_by_their_index() -> None:
    nodes = [TracedNode("same", kind, index) for index, kind in ((0, "Exp"), (2, "Exp"))]
    found = attribute_trace(chain(["Exp", "Relu", "Exp"], ["same"] * 3), nodes, "t")
    assert [{s.original for s in found.attribution.nodes[n].shares} for n in found.numbers] == [{0}, {1, 2}]


def test_old_traces_without_indices_are_told_by_the_order_of_nodes_of_one_op() -> None:
    nodes = [TracedNode("", kind, None) for kind in ("Exp", "Relu", "Exp")]
    found = attribute_trace(chain(["Exp", "Relu", "Exp"], ["", "", ""]), nodes, "t")
    assert [found.attribution.nodes[number].shares[0].original for number in found.numbers] == [0, 1, 2]


def test_a_constant_node_of_the_file_has_no_index(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor("v", FLOAT, [3], [1.0, 2.0, 3.0])
    nodes = [
        op("Constant", "", "c", value=value),
        op("Add", "x c", "a"),
        op("Exp", "a", "b"),
        op("Add", "b c", "y"),
    ]
    graph = from_model(model(nodes, {"x": (FLOAT, (2, 3))}, {"y": (FLOAT, (2, 3))}), "constant")
    _, trace, _ = session_trace(graph.model, tmp_path)
    found = attribute_trace(graph, read_foreign(trace).nodes, "t")
    assert [found.attribution.nodes[number].shares[0].original for number in found.numbers] == [1, 2, 3]
    assert found.attribution.state_of(0) == "folded"


def test_a_trace_of_another_model_is_refused() -> None:
    graph = chain(["Exp", "Relu", "Exp"], ["a", "b", "c"])
    other = [TracedNode("p", "Conv", 0), TracedNode("q", "Relu", 1)]
    with pytest.raises(
        UsageError, match=r"of another model than 'chain': its node 0 is Conv 'p', the graph's is Exp 'a'"
    ):
        attribute_trace(graph, other, "t")
    # the same names and ops, of other sizes
    larger = [TracedNode(n, k, i, form=makes(9, 9)) for i, (n, k) in enumerate([("a", "Exp"), ("b", "Relu")])]
    with pytest.raises(UsageError, match=r"its node 'a' makes \[9, 9\], the graph's \[2, 3\]"):
        attribute_trace(graph, larger, "t")
    with pytest.raises(UsageError, match="no node of trace 't'"):
        attribute_trace(graph, [TracedNode("p", "LSTM", 77)], "t")


def test_a_model_that_was_optimized_before_it_was_loaded_has_other_indices() -> None:
    graph = chain(["Exp", "Relu", "Exp"], ["a", "b", "c"])
    found = attribute_trace(graph, [TracedNode("b", "Relu", 0), TracedNode("c", "Exp", 1)], "t")
    assert rows(found) == [("attributed", ["a", "b"]), ("attributed", ["c"])]


def test_an_optimized_model_must_be_of_the_graph_and_of_the_trace(tmp_path: Path) -> None:
    graph = chain(["Exp", "Relu", "Exp"], ["a", "b", "c"])
    nodes = [TracedNode("a", "Exp", 0), TracedNode("b", "Relu", 1), TracedNode("c", "Exp", 2)]
    with pytest.raises(UsageError, match="not made of 'chain': it has other inputs"):
        attribute_trace_of(graph, nodes, branches().model, "t")
    others = [TracedNode("p", "LSTM", 0), TracedNode("q", "LSTM", 1), nodes[0]]
    with pytest.raises(UsageError, match="trace 't' is not of the optimized model: LSTM 'p'"):
        attribute_trace_of(graph, others, graph.model, "t")
    found = attribute_trace_of(graph, [*nodes, TracedNode("Memcpy", "MemcpyToHost", 3)], graph.model, "t")
    assert rows(found)[3] == ("unattributed", [])
    assert found.attribution.nodes[found.numbers[3]].reason == "not in the optimized model"
