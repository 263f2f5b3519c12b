"""Costs from shapes, exact; bodies and functions; canonical ops."""

from __future__ import annotations

import pytest
from cost_calls import cost
from small_models import cnn, control_flow

from fathom_onnx.analysis.cost import NodeCost, graph_costs
from fathom_onnx.analysis.optable import CONTRIB, INTERNAL, ML, ONNX, PREVIEW, UNLISTED, canonical_op, class_of_op
from fathom_onnx.vocabulary import OPS


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
        cost("NonMaxSuppression", [(1, 3, 4), (1, 1, 3)], [None]),
        cost("Relu", [None], [None]),
    ],
)
def test_what_is_not_known_is_none_and_not_zero(found: NodeCost) -> None:
    assert found.macs is None
    assert found.flops is None
    assert found.reason


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
