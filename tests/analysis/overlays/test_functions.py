"""Overlays of graphs that are not run as they are written: model-local functions, maps, nodes out of order."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from fathom_onnx.analysis.overlays.netron import attachment
from fathom_onnx.analysis.overlays.overlay import graph_times, read_graph
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.cli import main
from fathom_onnx.graph import load
from support.runs.small_runs import Executed, hand_run

OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def node(op_type: str, inputs: str, output: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    domain = "own" if op_type in ("Inner", "Outer") else ""
    return helper.make_node(op_type, inputs.split(), [output], name, domain=domain, **attributes)


def functions(named: bool) -> list[onnx.FunctionProto]:
    """``Inner`` is a product and a ReLU; ``Outer`` calls it twice and adds."""
    names = ("mm", "act", "one", "two", "sum") if named else ("",) * 5
    inner = [node("MatMul", "x w", "m", names[0]), node("Relu", "m", "y", names[1])]
    outer = [
        node("Inner", "x w", "a", names[2]),
        node("Inner", "a w", "b", names[3]),
        node("Add", "a b", "y", names[4]),
    ]
    return [
        helper.make_function("own", name, ["x", "w"], ["y"], nodes, OPSETS)
        for name, nodes in (("Inner", inner), ("Outer", outer))
    ]


def graph_file(path: Path, nodes: list[onnx.NodeProto], named: bool = True) -> Path:
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, [1]),
    ]
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, [4, 4])
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    graph = helper.make_graph(nodes, "g", inputs, [output], [weight])
    made = helper.make_model(graph, functions=functions(named), opset_imports=OPSETS, ir_version=8)
    path.write_bytes(made.SerializeToString(deterministic=True))
    return path


def run_of(graph: Path, us: list[float], states: dict[int, str] | None = None) -> Run:
    """A run in which the original nodes, in order, take these times; all of it 1 ms."""
    names = names_of(graph)
    assert len(names) == len(us)
    executed = [
        Executed(f"k{i}", [int(t)], {name: 1.0}) for i, (name, t) in enumerate(zip(names, us, strict=True)) if t
    ]
    rest = Executed("rest", [int(1000 - sum(us))], kind="unattributed")
    return hand_run(
        [*executed, rest],
        outside=[0],
        order=names,
        states={names[i]: state for i, state in (states or {}).items()},
        graph_sha256=hashlib.sha256(graph.read_bytes()).hexdigest(),
    )


def names_of(graph: Path) -> list[str]:
    from fathom_onnx.graph.bodies import numbered
    from fathom_onnx.graph.labels import label_nodes

    return [label.name for label in label_nodes(numbered(load(graph).model.graph))]


NESTED = [node("Outer", "x w", "p", "first"), node("Outer", "p w", "out", "second")]
# mm, act, mm, act, sum of the first and of the second call
NESTED_US = [100, 10, 200, 20, 1, 30, 3, 40, 4, 2]


@pytest.mark.parametrize("named", [True, False])
def test_a_call_has_the_time_of_what_it_stands_for(tmp_path: Path, named: bool) -> None:
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in NESTED]
    for call_node in nodes:
        call_node.name = call_node.name if named else ""
    graph = graph_file(tmp_path / "g.onnx", nodes, named)
    # without names the inliner numbers the calls in another order, and so does the run
    order = names_of(graph)
    assert order[0] == ("first/one/mm" if named else "Outer_3/Inner_0/MatMul_0")
    run = run_of(graph, NESTED_US)
    times = graph_times(run, read_graph(graph, run))
    assert [(t.us, t.share, t.rank, t.state) for t in times.nodes] == [(331, 0.331, 1, "ran"), (79, 0.079, 2, "ran")]
    inner, outer = times.functions
    assert [t.us for t in inner] == [100 + 200 + 30 + 40, 10 + 20 + 3 + 4]
    assert [t.us for t in outer] == [110 + 33, 220 + 44, 1 + 2]
    assert [t.rank for t in outer] == [2, 1, 3]
    # nothing is lost or counted twice
    assert sum(t.us or 0 for t in times.nodes) == run.originals["us"].sum() == sum(t.us or 0 for t in outer)


def test_calls_in_branches_and_nodes_out_of_order(tmp_path: Path) -> None:
    def branch(name: str) -> onnx.GraphProto:
        made = helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4])
        return helper.make_graph([node("Inner", "h w", name, f"call_{name}")], name, [], [made])

    nodes = [
        helper.make_node("If", ["c"], ["p"], "if", then_branch=branch("t"), else_branch=branch("e")),
        node("Inner", "p w", "out", "last"),
        node("Relu", "x", "h", "early"),  # stands after what takes it
    ]
    graph = graph_file(tmp_path / "g.onnx", nodes)
    assert names_of(graph)[0] == "early"
    by_name = {"early": 5, "if": 7, "call_t/mm": 100, "call_t/act": 10, "last/mm": 200, "last/act": 20}
    run = run_of(graph, [by_name.get(name, 0) for name in names_of(graph)])
    times = graph_times(run, read_graph(graph, run))
    assert {t.entry.node.name: t.us for t in times.nodes} == {
        "if": 7,
        "call_t": 110,
        "call_e": 0,
        "last": 220,
        "early": 5,
    }
    assert [t.us for t in times.functions[0]] == [300, 30]
    assert [t.state for t in times.functions[1]] == ["merged"] * 3  # nothing calls it


def test_states_of_calls(tmp_path: Path) -> None:
    graph = graph_file(tmp_path / "g.onnx", [node("Inner", "w w", "p", "a"), node("Inner", "x p", "out", "b")])
    states = {0: "folded", 1: "folded", 3: "merged"}
    run = run_of(graph, [0, 0, 50, 0], states)
    times = graph_times(run, read_graph(graph, run))
    assert [(t.us, t.state) for t in times.nodes] == [(None, "folded"), (50, "ran")]
    assert [(t.us, t.state) for t in times.functions[0]] == [(50, "ran"), (None, "folded")]


def test_a_map_has_the_time_of_its_loop(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("MatMul", ["e", "w"], ["r"], "in map")],
        "body",
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, [2, 4])],
    )
    nodes = [
        helper.make_node("SplitToSequence", ["x", "two"], ["s"], "split", axis=0),
        helper.make_node("SequenceMap", ["s"], ["t"], "map", body=body),
        helper.make_node("ConcatFromSequence", ["t"], ["out"], "join", axis=0),
    ]
    graph = graph_file(tmp_path / "g.onnx", nodes)
    made = onnx.load(graph)
    made.graph.initializer.append(numpy_helper.from_array(np.array(2), "two"))
    graph.write_bytes(made.SerializeToString())
    names = names_of(graph)
    run = run_of(graph, [100 if name == "in map" else 1 if name == "join" else 2 for name in names])
    times = graph_times(run, read_graph(graph, run))
    assert {t.entry.node.name: t.us for t in times.nodes} == {
        "split": 2,
        "map": 2 * (len(names) - 3),
        "in map": 100,
        "join": 1,
    }


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """(run folder, graph file) of the nested calls."""
    graph = graph_file(tmp_path / "g.onnx", NESTED)
    run_of(graph, NESTED_US).save(tmp_path / "run")
    return tmp_path / "run", graph


def test_copies_for_netron(saved: tuple[Path, Path], tmp_path: Path) -> None:
    result = call("overlay", *saved, "--to", "netron", "-o", tmp_path / "names.onnx")
    assert result.exit_code == 0, result.output
    assert "2 of 2 nodes ran, 41.0% of the node time shown, 59.0% unattributed" in result.stdout
    seen = onnx.load(tmp_path / "names.onnx")
    assert [n.name for n in seen.graph.node] == ["33% 331us first", "7.9% 79us second"]
    assert [n.name for n in seen.functions[0].node] == ["37% 370us mm", "3.7% 37us act"]
    assert [n.name for n in seen.functions[1].node] == ["14% 143us one", "26% 264us two", "0.3% 3.0us sum"]
    result = call("overlay", *saved, "--to", "netron", "--in", "metadata", "-o", tmp_path / "metadata.onnx")
    assert result.exit_code == 0, result.output
    seen = onnx.load(tmp_path / "metadata.onnx")
    onnx.checker.check_model(seen)
    assert [
        {p.key.removeprefix("fathom_onnx."): p.value for p in n.metadata_props}
        for n in (seen.graph.node[0], seen.functions[1].node[2])
    ] == [
        {"state": "ran", "time_us": "331.0", "time_share": "33.10%", "time_rank": "1"},
        {"state": "ran", "time_us": "3.0", "time_share": "0.30%", "time_rank": "3"},
    ]


def test_data_files(saved: tuple[Path, Path], tmp_path: Path) -> None:
    result = call("overlay", *saved, "--to", "model-explorer", "-o", tmp_path / "me.json")
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "me.json").read_text())
    # ids of model-explorer-onnx 0.4.2
    assert {graph: {n: v["value"] for n, v in part["results"].items()} for graph, part in data.items()} == {
        "g": {"first": 331, "second": 79},
        "[function]own::Inner": {"mm": 370, "act": 37},
        "[function]own::Outer": {"one": 143, "two": 264, "sum": 3},
    }
    result = call("overlay", *saved, "--to", "netron", "--in", "attachment", "-o", tmp_path / "a.json")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "a.json").read_text())["metrics"]
    assert {m["target"]: m["value"] for m in metrics if m["name"] == "time_us"} == {
        "first": 331,
        "second": 79,
        "mm": 370,
        "act": 37,
        "one": 143,
        "two": 264,
        "sum": 3,
    }


def test_a_name_of_a_node_and_of_one_in_a_function_is_not_shown(tmp_path: Path) -> None:
    graph = graph_file(tmp_path / "g.onnx", [node("Inner", "x w", "p", "mm"), node("Relu", "p", "out", "r")])
    run = run_of(graph, [100, 10, 1])
    times = graph_times(run, read_graph(graph, run))
    data, hidden = attachment(times.nodes, times.functions[0])
    assert {m["target"] for m in data["metrics"]} == {"act", "r"}
    assert [t.entry.node.name for t in hidden] == ["mm"]


def test_a_function_with_an_overload_is_another_graph(tmp_path: Path) -> None:
    graph = graph_file(tmp_path / "g.onnx", [node("Inner", "x w", "out", "a")])
    made = onnx.load(graph)
    made.ir_version = 10
    made.functions[0].overload = made.graph.node[0].overload = made.functions[1].node[0].overload = "v2"
    made.functions[1].node[1].overload = "v2"
    graph.write_bytes(made.SerializeToString())
    run_of(graph, [100, 10]).save(tmp_path / "run")
    result = call("overlay", tmp_path / "run", graph, "--to", "model-explorer", "-o", tmp_path / "me.json")
    assert result.exit_code == 0, result.output
    assert list(json.loads((tmp_path / "me.json").read_text())) == ["g", "[function]own::Inner::v2"]


def test_a_real_run(tmp_path: Path) -> None:
    graph = graph_file(tmp_path / "g.onnx", [*NESTED[:1], node("Inner", "p w", "out")], named=False)
    profiled = call("profile", graph, "--threads", 1, "--steps", 2, "--warmup", 1, "-o", tmp_path / "run")
    assert profiled.exit_code == 0, profiled.output
    result = call("overlay", tmp_path / "run", graph, "--to", "netron", "-o", tmp_path / "seen.onnx", "--json")
    assert result.exit_code == 0, result.output
    run = Run.load(tmp_path / "run")
    times = graph_times(run, read_graph(graph, run))
    assert sum(t.us or 0 for t in times.nodes) == pytest.approx(run.originals["us"].sum())
    shown = json.loads(result.stdout)["shown"]
    assert (shown["nodes"], shown["hidden"]) == (2, 0)
    assert shown["shown_share"] == pytest.approx(run.kind_us("attributed") / run.node_time_us)


def test_an_operator_that_only_onnxruntime_has_is_copied(tmp_path: Path) -> None:
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node("SimplifiedLayerNormalization", ["x", "s"], ["y"], "norm", axis=-1)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.ones(4, np.float32), "s")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    graph = tmp_path / "g.onnx"
    graph.write_bytes(made.SerializeToString())
    hand_run(
        [Executed("k", [10], {"norm": 1.0})], [0], graph_sha256=hashlib.sha256(graph.read_bytes()).hexdigest()
    ).save(tmp_path / "run")
    result = call("overlay", tmp_path / "run", graph, "--to", "netron", "-o", tmp_path / "seen.onnx")
    assert result.exit_code == 0, result.output
    assert onnx.load(tmp_path / "seen.onnx").graph.node[0].name == "100% 10us norm"
