"""Costs of what ran: bytes and arithmetic by hand, on small models that onnxruntime fuses, merges and pads."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from fathom_onnx.analysis.runs import Run
from fathom_onnx.analysis.runs.roofline import roofline
from fathom_onnx.graph import from_model
from fathom_onnx.profiling import profile
from fathom_onnx.runtime.ceilings import Ceilings, Sample
from support.runs.sealing import reseal

CEILINGS = Ceilings(
    100.0,
    10.0,
    tuple(Sample("MatMul", 1, 1.0, 3, rate * 10**9, kind) for kind, rate in (("float32", 100), ("int8", 400))),
    (Sample("Relu", 1, 1.0, 3, 10**10),),
    {},
)
RNG = np.random.default_rng(0)


def info(name: str, kind: int, shape: Any) -> onnx.ValueInfoProto:
    return h.make_tensor_value_info(name, kind, shape)


def array(name: str, value: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def random(name: str, *shape: int) -> onnx.TensorProto:
    return array(name, RNG.random(shape))


def run_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto],
    **options: Any,
) -> Run:
    graph = h.make_graph(nodes, "small", inputs, outputs, weights)
    opsets = [h.make_opsetid("", 21), h.make_opsetid("com.microsoft", 1)]
    model = h.make_model(graph, opset_imports=opsets, ir_version=10)
    return profile(from_model(model, "small"), threads=1, warmup=1, steps=2, **options)


def executed(run: Run, op_type: str) -> dict[str, Any]:
    """The only executed node of a type."""
    rows = run.nodes[run.nodes["op_type"] == op_type].to_dict("records")
    assert len(rows) == 1, list(run.nodes["op_type"])
    return rows[0]


def amounts(row: Any) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("macs", "flops", "bytes_read", "bytes_written"))


# a layer of 256 to 512 on 7 rows, weights of 4 bits in blocks of 32: 65,536 bytes, and 4,096 scales
INNER, OUTER, BLOCK, ROWS = 256, 512, 32, 7
X, Y = info("x", T.FLOAT, [1, ROWS, INNER]), info("y", T.FLOAT, [1, ROWS, OUTER])
PACKED = (1, ROWS * INNER * 4 + 65_536 + 4_096 * 4, ROWS * OUTER * 4)


def quantized(**options: Any) -> Run:
    """The layer as written by a quantizer: weights are dequantized and multiplied."""
    weights = h.make_tensor("w", T.INT4, [INNER, OUTER], RNG.bytes(INNER * OUTER // 2), raw=True)
    nodes = [
        h.make_node("DequantizeLinear", ["w", "s"], ["wf"], "dq", axis=0, block_size=BLOCK),
        h.make_node("MatMul", ["x", "wf"], ["y"], "fc"),
    ]
    return run_of(nodes, [X], [Y], [weights, random("s", INNER // BLOCK, OUTER)], **options)


def packed(level: int) -> Run:
    """The layer as one operator."""
    weights = array("w", RNG.integers(0, 255, (OUTER, INNER // BLOCK, BLOCK // 2)), np.uint8)
    node = h.make_node(
        "MatMulNBits",
        ["x", "w", "s"],
        ["y"],
        "fc",
        domain="com.microsoft",
        **{"K": INNER, "N": OUTER, "bits": 4, "block_size": BLOCK, "accuracy_level": level},
    )
    return run_of([node], [X], [Y], [weights, random("s", OUTER * INNER // BLOCK)])


def test_a_layer_in_two_forms_moves_the_same_bytes() -> None:
    macs = ROWS * INNER * OUTER
    work = (macs, 2 * macs + 2 * INNER * OUTER, *PACKED[1:])
    for run in (quantized(), packed(4)):
        node = executed(run, "MatMulNBits")
        assert amounts(node) == work
        # onnxruntime quantizes the activations of what it made of the two operators, and of the one that says so
        assert node["compute_type"] == "int8"
        rows = roofline(run, CEILINGS, "node").table
        assert list(rows["bytes"]) == [work[2] + work[3]]
        assert list(rows["roof_us"]) == pytest.approx([max(work[1] / 400e3, (work[2] + work[3]) / 10e3)])
    node = executed(packed(0), "MatMulNBits")
    assert (amounts(node), node["compute_type"]) == (work, "float32")


def test_weights_that_are_dequantized_in_the_run_are_moved_as_floats() -> None:
    run = quantized(optimization="none")
    assert amounts(executed(run, "DequantizeLinear")) == (
        *(0, 2 * INNER * OUTER, 65_536 + 4_096 * 4, INNER * OUTER * 4),
    )
    product = executed(run, "MatMul")
    assert amounts(product)[2:] == (ROWS * INNER * 4 + INNER * OUTER * 4, ROWS * OUTER * 4)
    assert product["compute_type"] == "float32"


def test_a_quantized_convolution_moves_bytes_and_computes_in_int8() -> None:
    def scale(name: str) -> list[onnx.TensorProto]:
        zero, kind = (0, np.int8) if name == "w" else (128, np.uint8)
        return [array(f"{name}s", 0.1), array(f"{name}z", zero, kind)]

    def pair(of: str, name: str) -> list[onnx.NodeProto]:
        around = [f"{of}s", f"{of}z"]
        return [
            h.make_node("QuantizeLinear", [name, *around], [f"{name}q"], f"{name}/q"),
            h.make_node("DequantizeLinear", [f"{name}q", *around], [f"{name}d"], f"{name}/d"),
        ]

    nodes = [
        *pair("x", "x"),
        h.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "w/d"),
        h.make_node("Conv", ["xd", "wd"], ["c"], "conv", pads=[1] * 4),
        *pair("y", "c"),
    ]
    weights = [array("w", RNG.integers(-9, 9, (4, 3, 3, 3)), np.int8), *scale("x"), *scale("w"), *scale("y")]
    shape = [1, 3, 8, 8]
    run = run_of(nodes, [info("x", T.FLOAT, shape)], [info("cd", T.FLOAT, [1, 4, 8, 8])], weights)
    node = executed(run, "QLinearConv")
    macs = 4 * 64 * 27
    # a byte an element; three scales of 4 bytes and three zero points of 1
    assert amounts(node) == (macs, 2 * macs + 4 * 4 * 64, 3 * 64 + 4 * 27 + 15, 4 * 64)
    assert node["compute_type"] == "int8"
    assert executed(run, "DequantizeLinear")["compute_type"] == "float32"


@pytest.mark.parametrize("heads", [1, 4])
def test_equal_nodes_of_which_one_ran_have_the_work_of_one(heads: int) -> None:
    ops = ["Relu", "Sigmoid", "Tanh", "Neg"][:heads]
    nodes = [
        node
        for i, op in enumerate(ops)
        for node in (
            h.make_node("MatMul", ["x", "w"], [f"m{i}"], f"head{i}/MatMul"),
            h.make_node(op, [f"m{i}"], [f"y{i}"], f"head{i}/{op}"),
        )
    ]
    outputs = [info(f"y{i}", T.FLOAT, [8, 32]) for i in range(heads)]
    run = run_of(nodes, [info("x", T.FLOAT, [8, 16])], outputs, [random("w", 16, 32)])
    macs = 8 * 16 * 32
    assert amounts(executed(run, "MatMul")) == (macs, 2 * macs, (8 * 16 + 16 * 32) * 4, 8 * 32 * 4)
    by_op = roofline(run, CEILINGS, "op").table.set_index("name")
    assert by_op.loc["MatMul", "flops"] == 2 * macs
    assert by_op.loc["MatMul", "nodes"] == heads


def test_arithmetic_of_an_operator_without_a_formula_is_that_of_its_originals_each_once() -> None:
    # blocked convolutions compute on channels padded to 8 or 16; 5 were asked for. Twins of which one ran count once
    nodes = [
        *(h.make_node("Conv", ["x", "w"], [f"c{i}"], f"head{i}/conv", pads=[1] * 4) for i in range(2)),
        *(h.make_node(op, [f"c{i}"], [f"y{i}"], f"head{i}/{op}") for i, op in enumerate(("Exp", "Tanh"))),
    ]
    outputs = [info(f"y{i}", T.FLOAT, [1, 5, 8, 8]) for i in range(2)]
    run = run_of(nodes, [info("x", T.FLOAT, [1, 3, 8, 8])], outputs, [random("w", 5, 3, 3, 3)])
    node = executed(run, "Conv")
    assert (node["macs"], node["flops"]) == (5 * 64 * 27, 2 * 5 * 64 * 27)
    # what moves is what lies in memory
    blocked = node["bytes_written"] // (64 * 4)
    assert blocked in (5, 8, 16)
    assert node["bytes_read"] == 3 * 64 * 4 + blocked * 27 * 4


def detector(threshold: float) -> Run:
    """Boxes that a suppression leaves, 8 scores for each: how many is data."""
    nodes = [
        h.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "threshold"], ["kept"], "nms"),
        h.make_node("Gather", ["kept", "two"], ["which"], "which", axis=1),
        h.make_node("Gather", ["flat", "which"], ["rows"], "rows", axis=0),
        h.make_node("MatMul", ["rows", "w"], ["y"], "second/MatMul"),
        h.make_node("Relu", ["y"], ["z"], "second/Relu"),
    ]
    corners = np.arange(40)[:, None] * 10 + np.array([0, 0, 5, 5])  # none overlaps another
    weights = [
        array("boxes", corners[None]),
        array("flat", corners),
        *(array("most", [30], np.int64), array("overlap", [0.5]), array("threshold", [threshold])),
        array("two", 2, np.int64),
        random("w", 4, 8),
    ]
    feeds = {"scores": np.linspace(0.1, 0.9, 40, dtype=np.float32).reshape(1, 1, 40)}
    return run_of(nodes, [info("scores", T.FLOAT, [1, 1, 40])], [info("z", T.FLOAT, ["kept", 8])], weights, feeds=feeds)


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, 30), (0.5, 20), (0.95, 0)])
def test_what_depends_on_data_is_known_after_a_run(threshold: float, kept: int) -> None:
    run = detector(threshold)
    macs = kept * 4 * 8
    assert amounts(executed(run, "MatMul")) == (macs, 2 * macs, (kept * 4 + 4 * 8) * 4, kept * 8 * 4)
    rows = run.originals.set_index("name")
    assert amounts(rows.loc["second/MatMul"]) == (macs, 2 * macs, (kept * 4 + 4 * 8) * 4, kept * 8 * 4)
    assert amounts(rows.loc["second/Relu"]) == (0, kept * 8, kept * 8 * 4, kept * 8 * 4)
    left_out = roofline(run, CEILINGS, "node").left_out
    assert list(left_out["name"]) in (["nms"], [])
    assert set(left_out["why"]) <= {"how many comparisons it makes is data"}


def test_shapes_that_grow_over_the_executions_of_a_body_are_counted_one_by_one() -> None:
    # each turn appends a row of 2 and multiplies all rows by [2, 3]: (1 + 2 + 3 + 4) x 6 multiplications in four turns
    body = h.make_graph(
        [
            h.make_node("Concat", ["rows", "row"], ["longer"], "grow", axis=0),
            h.make_node("MatMul", ["longer", "w"], ["product"], "multiply"),
            h.make_node("ReduceSum", ["product"], ["sum"], "sum", keepdims=0),
            h.make_node("Less", ["sum", "limit"], ["again"], "again"),
        ],
        "body",
        [info("i", T.INT64, []), info("go", T.BOOL, []), info("rows", T.FLOAT, ["n", 2])],
        [info("again", T.BOOL, []), info("longer", T.FLOAT, ["m", 2])],
    )
    nodes = [h.make_node("Loop", ["", "yes", "start"], ["y"], "loop", body=body)]
    weights = [
        array("yes", True, np.bool_),
        array("start", np.zeros((0, 2))),
        *(array("w", np.ones((2, 3))), array("limit", 20.0)),  # a row of ones sums to 6
    ]
    feeds = {"row": np.ones((1, 2), np.float32)}
    run = run_of(nodes, [info("row", T.FLOAT, [1, 2])], [info("y", T.FLOAT, ["m", 2])], weights, feeds=feeds)
    node = executed(run, "MatMul")
    assert (node["calls"], node["macs"]) == (4, 60)
    assert (node["bytes_read"], node["bytes_written"]) == (10 * 2 * 4 + 4 * 6 * 4, 10 * 3 * 4)
    assert run.originals.set_index("name").loc["multiply", "macs"] == 60
    assert control(run) == 4
    assert amounts(executed(run, "Loop")) == (0, 0, 0, 0)
    assert len(roofline(run, CEILINGS).left_out) == 0


def control(run: Run) -> float:
    return float(run.manifest["control_flow"][0]["iterations"]["body"])


@pytest.mark.parametrize("positive", [True, False])
def test_the_branch_that_was_taken_counts_and_the_other_does_not(positive: bool) -> None:
    def branch(inner: str, width: int) -> onnx.GraphProto:
        nodes = [
            h.make_node("MatMul", ["x", f"w{width}"], [f"{inner}_m"], f"{inner}/MatMul"),
            h.make_node("ReduceMax", [f"{inner}_m"], [f"{inner}_y"], f"{inner}/max", keepdims=0),
        ]
        return h.make_graph(nodes, inner, [], [info(f"{inner}_y", T.FLOAT, [])])

    nodes = [
        h.make_node("ReduceSum", ["x"], ["total"], "total", keepdims=0),
        h.make_node("Greater", ["total", "zero"], ["go"], "go"),
        h.make_node("If", ["go"], ["y"], "if", then_branch=branch("yes", 3), else_branch=branch("no", 5)),
    ]
    weights = [random("w3", 8, 3), random("w5", 8, 5), array("zero", 0.0)]
    feeds = {"x": np.full((2, 8), 1 if positive else -1, np.float32)}
    run = run_of(nodes, [info("x", T.FLOAT, [2, 8])], [info("y", T.FLOAT, [])], weights, feeds=feeds)
    rows = run.originals.set_index("name")
    assert rows.loc["yes/MatMul", "macs"] == (2 * 8 * 3 if positive else 0)
    assert rows.loc["no/MatMul", "macs"] == (0 if positive else 2 * 8 * 5)
    assert executed(run, "MatMul")["macs"] == 2 * 8 * (3 if positive else 5)


def test_costs_are_kept_in_the_run_folder(tmp_path: Any) -> None:
    run = run_of(
        [h.make_node("MatMul", ["x", "w"], ["y"], "fc")],
        [info("x", T.FLOAT, [2, 3])],
        [info("y", T.FLOAT, [2, 4])],
        [random("w", 3, 4)],
        folder=tmp_path / "run",
    )
    pd.testing.assert_frame_equal(Run.load(tmp_path / "run").nodes, run.nodes)
    older = run.nodes[[c for c in run.nodes.columns if c not in COSTS]]
    older.assign(originals='["fc"]').to_csv(tmp_path / "run" / "nodes.csv", index=False)
    reseal(tmp_path / "run")
    assert "flops" not in Run.load(tmp_path / "run").nodes


COSTS = ("macs", "flops", "bytes_read", "bytes_written", "compute_type", "cost_reason")
