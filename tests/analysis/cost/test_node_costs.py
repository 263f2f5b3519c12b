"""Costs from shapes, exact; bodies and functions; canonical ops."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from fathom_onnx.analysis.cost.node_costs import NodeCost, count_nodes, graph_costs
from fathom_onnx.graph import Graph
from fathom_onnx.graph.op_types import CONTRIB, INTERNAL, ML, ONNX, PREVIEW, UNLISTED, canonical_op, class_of_op
from fathom_onnx.vocabulary import OPS
from support.graphs.cost_calls import cost
from support.graphs.small_models import BOOL, FLOAT, INT64, cnn, control_flow, model, op


@pytest.mark.parametrize(
    ("found", "macs", "flops"),
    [
        # 2x8x10x10 outputs of 3x3x4 products, and a bias
        (cost("Conv", [(2, 4, 12, 12), (8, 4, 3, 3), (8,)], [(2, 8, 10, 10)]), 57600, 2 * 57600 + 1600),
        # depthwise: one input channel a group
        (cost("Conv", [(1, 6, 8, 8), (6, 1, 3, 3)], [(1, 6, 6, 6)], group=6), 1944, 3888),
        (
            cost("FusedConv", [(1, 3, 4, 4), (5, 3, 1, 1)], [(1, 5, 4, 4)], activation="Relu", domain="com.microsoft"),
            240,
            480 + 80,
        ),
        (cost("ConvTranspose", [(1, 4, 5, 5), (4, 2, 2, 2)], [(1, 2, 10, 10)], strides=[2, 2]), 800, 1600),
        (cost("Gemm", [(3, 5), (5, 7), (7,)], [(3, 7)]), 105, 210 + 21),
        (cost("Gemm", [(5, 3), (7, 5)], [(3, 7)], transA=1, transB=1), 105, 210),
        (cost("MatMul", [(2, 3, 5), (2, 5, 7)], [(2, 3, 7)]), 210, 420),
        (cost("MatMul", [(5,), (5, 7)], [(7,)]), 35, 70),
        (cost("FusedMatMul", [(5, 3), (5, 7)], [(3, 7)], transA=1, domain="com.microsoft"), 105, 210),
        (cost("Einsum", [(2, 3), (3, 4)], [(2, 4)], equation="ij, jk -> ik"), 24, 48),
        (cost("Einsum", [(2, 3)], [(2,)], equation="ij->i"), 0, 6),
        (cost("Einsum", [(2, 3)], [(3, 2)], equation="ij->ji"), 0, 0),
        (cost("MaxPool", [(1, 2, 6, 6)], [(1, 2, 3, 3)], kernel_shape=[2, 2]), 0, 72),
        (cost("GlobalAveragePool", [(1, 2, 6, 6)], [(1, 2, 1, 1)]), 0, 72),
        # gates: 3 sigmoids, 2 tanh, 4 more an element of the state
        (cost("LSTM", [(5, 2, 3), (1, 16, 3), (1, 16, 4)], [(5, 1, 2, 4)], hidden_size=4), 1120, 2240 + 10 * 4 * 18),
        (cost("RNN", [(5, 2, 3), (2, 4, 3), (2, 4, 4)], [(5, 2, 2, 4)], hidden_size=4), 560, 1120 + 10 * 4 * 2),
        (cost("LRN", [(1, 4, 2, 2)], [(1, 4, 2, 2)], size=5), 0, 160),
        (cost("Relu", [(3, 4)], [(3, 4)]), 0, 12),
        (cost("Sum", [(3, 4)] * 3, [(3, 4)]), 0, 24),
        (cost("Softmax", [(3, 4)], [(3, 4)]), 0, 60),
        (cost("ReduceSum", [(3, 4)], [(3,)]), 0, 12),
        (cost("ReduceL2", [(3, 4)], [(3,)]), 0, 24),
        (cost("BatchNormalization", [(1, 2, 3, 3), (2,), (2,), (2,), (2,)], [(1, 2, 3, 3)]), 0, 36),
        (cost("Transpose", [(3, 4)], [(4, 3)]), 0, 0),
        (cost("ScatterElements", [(9, 4), (3, 4), (3, 4)], [(9, 4)], reduction="add"), 0, 12),
        (cost("ScatterElements", [(9, 4), (3, 4), (3, 4)], [(9, 4)]), 0, 0),
    ],
)
def test_macs_and_flops(found: NodeCost, macs: int, flops: int) -> None:
    assert (found.macs, found.flops) == (macs, flops)


def test_bytes() -> None:
    add = cost("Add", [(3, 4), (4,)], [(3, 4)])
    assert (add.bytes_read, add.bytes_written, add.bytes_moved) == (48 + 16, 48, 112)
    assert cost("Reshape", [(3, 4), (1,)], [(12,)]).bytes_moved == 0
    # two rows of a large table
    rows = cost("Gather", [(1000, 8), (2,)], [(2, 8)])
    assert (rows.bytes_read, rows.bytes_written) == (64 + 8, 64)
    assert cost("Slice", [(1000, 8)], [(2, 8)]).bytes_read == 64


@pytest.mark.parametrize(
    "found",
    [
        cost("Conv", [(2, 4, 12, 12), None], [(2, 8, 10, 10)]),
        cost("Einsum", [(2, 3), (3, 4)], [(2, 4)], equation="ij,jkl->ik"),
        cost("Unheard", [(2, 3)], [(2, 3)], domain="mine"),
        cost("PackedAttention", [(2, 3)], [(2, 3)], domain="com.microsoft"),
        cost("MatMul", [None, (3, 4)], [None]),
        cost("LSTM", [None, (1, 16, 3), (1, 16, 4)], [None], hidden_size=4),
    ],
)
def test_what_is_not_known_is_none_and_not_zero(found: NodeCost) -> None:
    assert found.macs is None
    assert found.flops is None
    assert found.reason


@pytest.mark.parametrize(
    "found",
    [
        cost("NonMaxSuppression", [(1, 3, 4), (1, 1, 3)], [None]),
        cost("Relu", [None], [None]),
        cost("And", [None, None], [None]),
        cost("Max", [None, None], [None]),
        cost("TopK", [None, (1,)], [None, None]),
        cost("Unique", [(4,)], [None]),
        cost("Softmax", [None], [None]),
        cost("StringNormalizer", [(4,)], [None]),
        cost("Resize", [(1, 2, 4, 4), "", (4,)], [None], mode="cubic"),
        cost("TreeEnsembleClassifier", [(3, 4)], [(3,), (3, 2)], domain="ai.onnx.ml"),
        cost("RelativePositionBias", [(3, 4)], [None], domain="com.microsoft"),
    ],
)
def test_what_is_no_product_has_no_macs_whatever_its_shapes(found: NodeCost) -> None:
    assert found.macs == 0
    assert found.flops is None
    assert found.reason


def test_a_lookup_of_unknown_size_lacks_its_bytes_alone() -> None:
    found = cost("Gather", [(1000, 8), None], [None])
    assert (found.macs, found.flops, found.bytes_moved) == (0, 0, None)


def test_nothing_any_number_of_times_is_nothing() -> None:
    once = NodeCost(0, 5, 8, None, "why")
    assert once.times(3) == NodeCost(0, 15, 24, None, "why")
    assert once.times(0) == NodeCost(0, 0, 0, 0)
    assert once.times(None, "data") == NodeCost(0, None, None, None, "data")
    assert NodeCost(0, 0, 0, 0).times(None, "data") == NodeCost(0, 0, 0, 0)


def test_unknown_shapes_have_no_bytes() -> None:
    assert cost("Relu", [None], [(2,)]).bytes_moved is None
    assert cost("Relu", [None], [(2,)]).bytes_written == 8


def test_a_graph_has_a_cost_a_node() -> None:
    graph = cnn()
    costs = graph_costs(graph)
    assert len(costs) == len(graph.model.graph.node)
    assert [c.macs for c in costs if c.macs] == [2 * 12 * 256 * 27, 2 * 12 * 256 * 108, 2 * 12 * 64 * 108, 240]
    assert len(graph_costs(control_flow())) == 2


def test_every_entry_is_in_the_vocabulary() -> None:
    assert {*ONNX.values(), *CONTRIB.values(), *INTERNAL.values(), *ML.values(), *PREVIEW.values()} <= set(OPS)


def test_canonical_ops_by_domain() -> None:
    assert canonical_op("Conv") == canonical_op("Conv", "com.microsoft.nchwc") == "Conv2D"
    assert canonical_op("FusedGemm", "com.microsoft") == "MatMul"
    assert canonical_op("ReorderInput", "com.microsoft.nchwc") == "Transpose"
    assert canonical_op("MemcpyToHost") == "Identity"
    assert canonical_op("Max") == "Maximum"
    assert canonical_op("ReduceMax") == "Max"
    assert class_of_op("Conv2D") == "D"


def test_an_op_in_no_table_keeps_its_own_name() -> None:
    assert canonical_op("Conv", "my.domain") == "my.domain::Conv"
    assert canonical_op("Unheard") == "Unheard"
    assert class_of_op("my.domain::Conv") == UNLISTED


def scan(length: int | None) -> Graph:
    """A running sum over the rows of a matrix: an addition of 4 elements a row."""
    row = helper.make_tensor_value_info
    body = helper.make_graph(
        [op("Add", "sum row", "next"), op("Identity", "next", "out")],
        "body",
        [row("sum", FLOAT, [4]), row("row", FLOAT, [4])],
        [row("next", FLOAT, [4]), row("out", FLOAT, [4])],
    )
    nodes = [op("Scan", "start rows", "total sums", body=body, num_scan_inputs=1)]
    made = model(
        nodes,
        {"start": (FLOAT, (4,)), "rows": (FLOAT, (length, 4))},  # type: ignore[dict-item]
        {"total": (FLOAT, (4,)), "sums": (FLOAT, (length, 4))},  # type: ignore[dict-item]
    )
    return Graph(made, "scan")


def loop(trips: int | None, goes_on: str) -> Graph:
    """A loop of products of 8 x 8 matrices; ``goes_on`` names what its body gives as condition."""
    one = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            op("MatMul", "state x", "next"),
            op("Identity", "go", "same"),
            op("ReduceSum", "next", "total", keepdims=0),
            op("Greater", "total zero", "positive"),
        ],
        "body",
        [one("i", INT64, []), one("go", BOOL, []), one("state", FLOAT, [8, 8])],
        [one(goes_on, BOOL, []), one("next", FLOAT, [8, 8])],
    )
    constants: dict[str, object] = {"yes": np.bool_(True), "zero": np.float32(0)}
    if trips is not None:
        constants["trips"] = np.int64(trips)
    inputs = {"x": (FLOAT, (8, 8)), **({} if trips is not None else {"trips": (INT64, ())})}
    return Graph(model([op("Loop", "trips yes x", "z", body=body)], inputs, {"z": (FLOAT, (8, 8))}, constants), "loop")


def choice(then: str, other: str, always: bool | None = None) -> Graph:
    """An If on 4 elements with one op in each branch."""
    out = [helper.make_tensor_value_info(n, FLOAT, [4]) for n in ("a", "b")]
    branches = {
        "then_branch": helper.make_graph([op(then, "x", "a")], "then", [], out[:1]),
        "else_branch": helper.make_graph([op(other, "x", "b")], "else", [], out[1:]),
    }
    inputs = {"x": (FLOAT, (4,)), **({"c": (BOOL, ())} if always is None else {})}
    constants = {} if always is None else {"c": np.bool_(always)}
    return Graph(model([op("If", "c", "y", **branches)], inputs, {"y": (FLOAT, (4,))}, constants), "if")


def test_a_scan_runs_once_a_row() -> None:
    (found,) = graph_costs(scan(7))
    assert (found.macs, found.flops) == (0, 28)
    # 2 x 16 bytes read and 16 written by the addition, 16 and 16 by the copy
    assert (found.bytes_read, found.bytes_written) == (7 * 48, 7 * 32)


def test_a_scan_of_unknown_length_is_unknown() -> None:
    (found,) = graph_costs(scan(None))
    assert found.flops is None
    assert "which the scan goes along, is not known" in found.reason


def test_a_loop_of_constant_count_runs_so_often() -> None:
    (found,) = graph_costs(loop(5, "same"))
    assert found.macs == 5 * 512
    rows = count_nodes(loop(5, "same"))
    assert [(r.entry.node.op_type, r.depth, r.executions) for r in rows[:2]] == [("Loop", 0, 1), ("MatMul", 1, 5)]
    assert rows[0].cost.flops == 0


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (loop(None, "same"), "how often the loop runs is data"),
        (loop(2**63 - 1, "positive"), "how often the loop runs is data"),
        (loop(5, "positive"), "the loop may end before its 5 iterations"),
    ],
)
def test_a_loop_that_data_ends_is_unknown(graph: Graph, why: str) -> None:
    (found,) = graph_costs(graph)
    assert (found.macs, found.reason) == (None, why)
    inner = count_nodes(graph)[1]
    assert (inner.cost.macs, inner.executions, inner.step.macs) == (512, None, None)


def test_a_choice() -> None:
    assert graph_costs(choice("Relu", "Tanh"))[0] == NodeCost(0, 4, 16, 16)
    assert graph_costs(choice("Relu", "Sigmoid"))[0].reason == "which branch runs is data"
    assert graph_costs(choice("Relu", "Sigmoid", True))[0].flops == 4
    assert graph_costs(choice("Relu", "Sigmoid", False))[0].flops == 16


def test_a_loop_without_products_has_no_macs_however_often_it_runs() -> None:
    """Only the sum of unknown length of the loop's additions is unknown; a loop of products lacks its MACs too."""
    (found,) = graph_costs(scan(None))
    assert (found.macs, found.flops) == (0, None)
    assert [row.step.macs for row in count_nodes(scan(None))] == [0, 0, 0]


def product_choice(columns: int) -> Graph:
    """An If of a product of 4 x 4 by 4 x 4, in a loop of 3, and one of 4 x 4 by 4 x ``columns``, then of nothing."""
    info = helper.make_tensor_value_info
    loop = helper.make_graph(
        [op("MatMul", "x w", "p"), op("Identity", "go", "on")],
        "loop",
        [info("i", INT64, []), info("go", BOOL, [])],
        [info("on", BOOL, []), info("p", FLOAT, [4, 4])],
    )
    then = [op("Loop", "three yes", "all", body=loop), op("ReduceMax", "all", "a", keepdims=0)]
    other = [op("MatMul", "x v", "q"), op("ReduceMax", "q", "b", keepdims=0)]
    branches = {
        "then_branch": helper.make_graph(then, "then", [], [info("a", FLOAT, [])]),
        "else_branch": helper.make_graph(other, "else", [], [info("b", FLOAT, [])]),
    }
    inputs = {"c": (BOOL, ()), "x": (FLOAT, (4, 4)), "w": (FLOAT, (4, 4)), "v": (FLOAT, (4, columns))}
    constants = {"three": np.int64(3), "yes": np.bool_(True)}
    return Graph(model([op("If", "c", "y", **branches)], inputs, {"y": (FLOAT, ())}, constants), "if")


def test_branches_with_the_same_macs_have_known_macs() -> None:
    (found,) = graph_costs(product_choice(12))  # 3 x 64 = 4 x 12 x 4
    assert (found.macs, found.bytes_moved) == (192, None)
    assert found.reason == "which branch runs is data"
    assert graph_costs(product_choice(11))[0].macs is None


def test_bodies_of_equal_names_keep_their_own_shapes() -> None:
    out = helper.make_tensor_value_info
    parts = {
        n: helper.make_graph([op("Relu", "x", "t"), op("Size", "t", f"{n}_n")], n, [], [out(f"{n}_n", INT64, [])])
        for n in ("then", "else")
    }
    parts["then"].node[0].input[0] = "wide"
    nodes = [op("If", "c", "y", then_branch=parts["then"], else_branch=parts["else"])]
    made = model(nodes, {"c": (BOOL, ()), "x": (FLOAT, (4,)), "wide": (FLOAT, (40,))}, {"y": (INT64, ())})
    rows = count_nodes(Graph(made, "two"))
    found = {r.entry.body: r.cost.flops for r in rows if r.entry.node.op_type == "Relu"}
    assert found == {"then_branch": 40, "else_branch": 4}


def functions(factor_known: bool = True) -> Graph:
    """Two calls of y = relu(x w) with shapes of their own."""
    dense = helper.make_function(
        "mine",
        "Dense",
        ["x", "w"],
        ["y"],
        [op("MatMul", "x w", "h"), op("Relu", "h", "y")],
        [helper.make_opsetid("", 18)],
    )
    nodes = [
        helper.make_node("Dense", ["x", "w1"], ["h"], domain="mine"),
        helper.make_node("Dense", ["h", "w2"], ["y"], domain="mine"),
    ]
    made = model(
        nodes,
        {"x": (FLOAT, (2, 3)), "w1": (FLOAT, (3, 5)), "w2": (FLOAT, (5, 7) if factor_known else (None, 7))},
        {"y": (FLOAT, (2, 7))},
        infer=False,
    )
    made.functions.append(dense)
    made.opset_import.append(helper.make_opsetid("mine", 1))
    return Graph(onnx.shape_inference.infer_shapes(made), "functions")


def test_a_function_costs_what_its_body_costs() -> None:
    assert [(c.macs, c.flops) for c in graph_costs(functions())] == [(30, 70), (70, 154)]
    # x, w1 and the product are read; the product and its relu written
    assert graph_costs(functions())[0].bytes_read == 4 * (6 + 15 + 10)


def test_a_function_of_unknown_shape_says_so() -> None:
    known, unknown = graph_costs(functions(factor_known=False))
    assert known.macs == 30
    assert unknown.bytes_read is None
    assert unknown.reason.startswith("in function 'Dense': shape of ")
