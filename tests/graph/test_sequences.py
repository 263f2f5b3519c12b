"""Sequences: lengths and shapes that follow from the graph, against what onnxruntime makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from fathom_onnx.analysis.cost.inspection import inspect
from fathom_onnx.analysis.cost.node_costs import graph_costs, total_cost
from fathom_onnx.graph import Graph, from_model, load_structure
from fathom_onnx.graph.bodies import TOP
from fathom_onnx.graph.static.known import known_by_body
from fathom_onnx.graph.static.sequences import KnownSequence
from support.graphs.small_models import BOOL, FLOAT, INT64, model, op

INFO = helper.make_tensor_value_info
LIST = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))


def made(nodes: list[onnx.NodeProto], constants: dict[str, Any], outputs: dict[str, Any] | None = None) -> Graph:
    """A graph of x [6, 4]; an output ``s`` is a sequence."""
    given = model(nodes, {"x": (FLOAT, (6, 4))}, outputs or {}, constants, infer=False)
    if not outputs:
        given.graph.output.append(helper.make_value_info("s", LIST))
    return from_model(given, "sequences")


def length(graph: Graph) -> KnownSequence | None:
    return known_by_body(graph.model.graph, 18)[TOP].sequences.get("s")


def runs_to(graph: Graph) -> Any:
    session = onnxruntime.InferenceSession(graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((6, 4), np.float32)})[0]


COLLECT = helper.make_graph(
    [op("MatMul", "h w", "k", "step"), op("SequenceInsert", "l k", "m", "insert"), op("Identity", "go", "on")],
    "body",
    [INFO("i", INT64, []), INFO("go", BOOL, []), INFO("h", FLOAT, [6, 4]), helper.make_value_info("l", LIST)],
    [INFO("on", BOOL, []), INFO("k", FLOAT, [6, 4]), helper.make_value_info("m", LIST)],
)
LOOP = {"n": np.int64(5), "yes": np.bool_(True), "w": np.ones((4, 4), np.float32)}


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([op("SplitToSequence", "x", "s", axis=0)], {}),
        ([op("SplitToSequence", "x", "s", axis=0, keepdims=0)], {}),
        ([op("SplitToSequence", "x n", "s", axis=0)], {"n": np.int64(2)}),
        ([op("SplitToSequence", "x n", "s", axis=0)], {"n": np.int64(4)}),  # 4 and 2
        ([op("SplitToSequence", "x n", "s", axis=-1)], {"n": np.array([1, 3])}),
        ([op("SplitToSequence", "x n", "s", axis=1)], {"n": np.array([2, 2])}),
        ([op("SequenceConstruct", "x x x", "s")], {}),
        ([op("SequenceConstruct", "x w", "s")], {"w": np.ones((2, 3), np.float32)}),
        ([op("SequenceEmpty", "", "e"), op("SequenceInsert", "e x", "s")], {}),
        ([op("SequenceConstruct", "x x", "e"), op("SequenceInsert", "e w", "s")], {"w": np.ones(3, np.float32)}),
        ([op("SequenceConstruct", "x x", "e"), op("SequenceErase", "e", "f"), op("Identity", "f", "s")], {}),
        ([op("SequenceEmpty", "", "e"), op("Loop", "n yes x e", "z s", body=COLLECT)], LOOP),
        ([op("SequenceConstruct", "x x", "e"), op("Loop", "n yes x e", "z s", body=COLLECT)], LOOP),
    ],
)
def test_the_lengths_are_those_that_a_run_has(nodes: list[onnx.NodeProto], constants: dict[str, Any]) -> None:
    graph = made(nodes, constants)
    arrays = runs_to(graph)
    shapes = {array.shape for array in arrays}
    total = sum(array.size for array in arrays)
    expected = KnownSequence(len(arrays), shapes.pop() if len(shapes) == 1 else None, total, "float32")
    assert length(graph) == expected


def test_the_length_of_what_is_fed_is_data() -> None:
    given = model([op("Identity", "t", "s")], {}, {}, {}, infer=False)
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [2, 8]))
    given.graph.input.append(helper.make_value_info("t", kind))
    given.graph.output.append(helper.make_value_info("s", kind))
    assert known_by_body(given.graph, 18)[TOP].sequences["s"] == KnownSequence(None, (2, 8), None, "float32")


def mapped(split: int, shape: list[int] | None = None) -> onnx.ModelProto:
    """Rows of x, so many a piece, each times w; joined, and times v."""
    body = helper.make_graph(
        [op("Relu", "e", "r", "body/act"), op("MatMul", "r w", "f", "body/fc")],
        "body",
        [INFO("e", FLOAT, shape)],
        [INFO("f", FLOAT, None)],
    )
    nodes = [
        op("SplitToSequence", "x n", "p", "split", axis=0),
        op("SequenceMap", "p", "q", "map", body=body),
        op("ConcatFromSequence", "q", "j", "join", axis=0),
        op("MatMul", "j v", "y", "head"),
    ]
    constants = {"n": np.int64(split), "w": np.ones((4, 3), np.float32), "v": np.ones((3, 2), np.float32)}
    return model(nodes, {"x": (FLOAT, (6, 4))}, {"y": (FLOAT, None)}, constants, infer=False)


def structure(made: onnx.ModelProto, folder: Path) -> Graph:
    """A graph as ``inspect`` has it: not in the form in which it runs."""
    onnx.save(made, folder / "graph.onnx")
    return load_structure(folder / "graph.onnx")


@pytest.mark.parametrize("split", [1, 2, 3])
@pytest.mark.parametrize("declared", [False, True])
def test_a_map_costs_its_body_for_each_tensor(split: int, declared: bool, tmp_path: Path) -> None:
    made = mapped(split, [split, 4] if declared else None)
    graph = structure(made, tmp_path)
    costs = graph_costs(graph)
    assert [c.macs for c in costs] == [0, 6 * 4 * 3, 0, 6 * 3 * 2]
    assert costs[1].flops == 6 * 4 + 2 * 6 * 4 * 3
    assert [c.reason for c in costs] == [""] * 4
    # the pieces are as large as the whole
    assert (costs[0].bytes_written, costs[2].bytes_read) == (4 * 6 * 4, 4 * 6 * 3)
    assert inspect(graph).memory.unknown == ()
    # it runs as a loop, and costs the same
    runnable = from_model(made, "map")
    assert total_cost(graph_costs(runnable)).macs == 6 * 4 * 3 + 6 * 3 * 2
    assert runs_to(runnable).shape == runnable.outputs[0].shape == graph.outputs[0].shape == (6, 2)


def test_a_map_over_pieces_of_unequal_shapes_runs_a_known_number_of_times(tmp_path: Path) -> None:
    counted = inspect(structure(mapped(4), tmp_path)).nodes.set_index("name")
    assert list(counted.loc[["body/act", "body/fc"], "executions"]) == [2, 2]
    # its rows differ: not known
    assert np.isnan(counted.loc["body/fc", "macs"])


def test_a_map_over_a_fed_sequence_is_unknown_for_that_reason(tmp_path: Path) -> None:
    body = helper.make_graph([op("MatMul", "e w", "f")], "body", [INFO("e", FLOAT, [2, 4])], [INFO("f", FLOAT, [2, 3])])
    given = model([op("SequenceMap", "t", "s", body=body)], {}, {}, {"w": np.ones((4, 3), np.float32)}, infer=False)
    given.graph.input.append(helper.make_value_info("t", LIST))
    given.graph.output.append(helper.make_value_info("s", LIST))
    (found,) = graph_costs(structure(given, tmp_path))
    assert (found.macs, found.reason) == (None, "the length of the sequence is data")


def test_what_a_loop_collects_can_be_joined_and_used() -> None:
    nodes = [
        op("SequenceEmpty", "", "e"),
        op("Loop", "n yes x e", "z s", "loop", body=COLLECT),
        op("ConcatFromSequence", "s", "j", "join", axis=1, new_axis=1),
        op("MatMul", "j w", "y", "head"),
    ]
    graph = made(nodes, LOOP, {"y": (FLOAT, None)})
    assert runs_to(graph).shape == graph.outputs[0].shape == (6, 5, 4)
    assert [c.macs for c in graph_costs(graph)] == [0, 5 * 6 * 4 * 4, 0, 6 * 5 * 4 * 4]


def test_sequences_of_one_name_in_two_bodies_are_two() -> None:
    parts = {}
    for name, inputs in (("then", "x"), ("else", "x x x")):
        nodes = [op("SequenceConstruct", inputs, "t"), op("SequenceLength", "t", f"{name}_n")]
        parts[f"{name}_branch"] = helper.make_graph(nodes, name, [], [INFO(f"{name}_n", INT64, [])])
    given = model(
        [op("If", "c", "y", **parts)], {"c": (BOOL, ()), "x": (FLOAT, (6, 4))}, {"y": (INT64, ())}, infer=False
    )
    known = known_by_body(given.graph, 18)
    lengths = {where: one.sequence("t").length for where, one in known.items()}
    assert lengths == {TOP: None, (0, "then_branch"): 1, (0, "else_branch"): 3}
    assert known[0, "else_branch"].values["else_n"] == 3


@pytest.mark.parametrize("later", [False, True], ids=["before", "after"])
def test_a_tensor_of_a_body_is_no_sequence_that_has_its_name_around_it(later: bool) -> None:
    nodes = [op("Relu", "x", "t"), op("Identity", "s", "last")]
    bodies = {f"{n}_branch": helper.make_graph(nodes, n, [], [INFO("t", FLOAT, (6, 4))]) for n in ("then", "else")}
    both = [op("SequenceConstruct", "x x", "t"), op("If", "c", "y", **bodies)]
    outside = [op("SequenceConstruct", "x x x", "s"), *(both[::-1] if later else both)]
    given = model(outside, {"c": (BOOL, ()), "x": (FLOAT, (6, 4))}, {"y": (FLOAT, (6, 4))}, infer=False)
    known = known_by_body(given.graph, 18)
    where = (1 if later else 2, "then_branch")
    assert known[TOP].sequence("t").length == 2
    assert known[where].sequences.get("t") is None
    # what only the graph around it has is known in the body, under another name too
    assert known[where].sequence("s").length == known[where].sequence("last").length == 3


def test_the_work_for_bodies_grows_with_their_number_alone() -> None:
    """A body's sequences are those of its own and around it, and none of the other names there."""
    body = helper.make_graph([op("Relu", "x", "r")], "b", [], [INFO("r", FLOAT, (6, 4))])
    nodes = [op("If", "c", f"y{n}", then_branch=body, else_branch=body) for n in range(50)]
    given = model(nodes, {"c": (BOOL, ()), "x": (FLOAT, (6, 4))}, {"y49": (FLOAT, (6, 4))}, infer=False)
    known = known_by_body(given.graph, 18)
    assert len(known) == 101
    assert all(len(one.sequences) == 0 for one in known.values())
