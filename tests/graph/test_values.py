"""Values that are known before a run: what follows from constants and from known shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from fathom_onnx.analysis.cost.node_costs import count_nodes, graph_costs
from fathom_onnx.graph import from_model
from fathom_onnx.graph.bodies import TOP
from fathom_onnx.graph.static.known import known_by_body
from support.graphs.small_models import BOOL, FLOAT, INT64, model, op

INFO = helper.make_tensor_value_info


def known(nodes: list[onnx.NodeProto], constants: dict[str, Any]) -> Any:
    made = model(nodes, {"x": (FLOAT, (6, 4)), "n": (INT64, ())}, {"y": (INT64, None)}, constants, infer=False)
    return known_by_body(made.graph, 18)[TOP].values.get("y")


@pytest.mark.parametrize(
    ("nodes", "constants", "expected"),
    [
        ([op("Shape", "x", "y")], {}, [6, 4]),
        ([op("Shape", "x", "y", start=-1)], {}, [4]),
        ([op("Shape", "x", "y", end=1)], {}, [6]),
        ([op("Size", "x", "y")], {}, 24),
        ([op("Shape", "x", "s"), op("Gather", "s i", "y")], {"i": np.int64(1)}, 4),
        (
            [op("Shape", "x", "s"), op("ReduceProd", "s", "p", keepdims=0), op("Div", "p two", "y")],
            {"two": np.int64(2)},
            12,
        ),
        ([op("Add", "a b", "y")], {"a": np.int64(2), "b": np.int64(3)}, 5),
        ([op("Add", "a n", "y")], {"a": np.int64(2)}, None),  # n is fed
        ([op("Exp", "a", "y")], {"a": np.float32(0)}, None),  # no arithmetic of sizes
        ([op("Concat", "a a", "y", axis=0)], {"a": np.zeros(800)}, None),  # too large to be one
    ],
)
def test_values_follow_from_shapes_and_constants(nodes: list[onnx.NodeProto], constants: Any, expected: Any) -> None:
    found = known(nodes, constants)
    assert (None if found is None else found.tolist()) == expected


@pytest.mark.parametrize("version", [11, 18])
def test_the_form_of_an_op_goes_by_the_opset(version: int) -> None:
    """Axes were an attribute before version 13."""
    old = version < 13
    squeeze = op("Squeeze", "s", "y", axes=[0]) if old else op("Squeeze", "s zero", "y")
    constants = {"two": np.array([2]), "one": np.array([1]), **({} if old else {"zero": np.array([0])})}
    nodes = [op("Shape", "x", "all"), op("Slice", "all one two", "s"), squeeze]
    made = model(nodes, {"x": (FLOAT, (6, 4))}, {"y": (INT64, ())}, constants, infer=False)
    assert known_by_body(made.graph, version)[TOP].values["y"] == 4


def test_a_loop_over_the_rows_of_a_known_shape_runs_that_often() -> None:
    body = helper.make_graph(
        [op("Gather", "x i", "row"), op("MatMul", "row w", "z"), op("Identity", "go", "on")],
        "body",
        [INFO("i", INT64, []), INFO("go", BOOL, [])],
        [INFO("on", BOOL, []), INFO("z", FLOAT, [3])],
    )
    nodes = [
        op("Shape", "x", "s", start=0, end=1),
        op("Squeeze", "s", "rows"),
        op("Loop", "rows yes", "y", "loop", body=body),
    ]
    constants = {"yes": np.bool_(True), "w": np.ones((4, 3), np.float32)}
    graph = from_model(model(nodes, {"x": (FLOAT, (6, 4))}, {"y": (FLOAT, None)}, constants, infer=False), "rows")
    assert [c.macs for c in graph_costs(graph)] == [0, 0, 6 * 4 * 3]
    assert {row.executions for row in count_nodes(graph) if row.depth} == {6}
