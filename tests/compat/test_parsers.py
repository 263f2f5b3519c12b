"""What ZigZag and Stream do with products and convolutions of every form; tests/simulators asks the tools."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from fathom_onnx.compat import CONSUMERS, Compatibility, Facts, judge
from fathom_onnx.graph import Graph, from_model
from support.graphs.parser_models import PARSED
from support.graphs.product_models import PRODUCT_GRAPHS
from support.graphs.small_models import BOOL, FLOAT, INT64, model, op

BY_NAME = {c.name: c for c in CONSUMERS}


def verdict(graph: Graph, name: str, stored: onnx.ModelProto | None = None) -> Compatibility:
    return judge(Facts(graph, stored or graph.model), BY_NAME[name])


def said(found: Compatibility) -> list[str]:
    return [reason.text for reason in found.reasons]


@pytest.mark.parametrize("case", PARSED)
def test_zigzag(case: str) -> None:
    graph, macs, _ = PARSED[case]
    found = verdict(graph, "ZigZag")
    assert (found.status == "accepted") is (macs is not None)
    if macs is not None:
        assert found.macs_seen == macs


@pytest.mark.parametrize("case", PARSED)
def test_stream(case: str) -> None:
    graph, _, parsed = PARSED[case]
    assert (verdict(graph, "Stream").status == "accepted") is parsed


@pytest.mark.parametrize(
    ("name", "case", "text"),
    [
        ("IREE", "left-vector-of-a-batch", "MatMul of a vector and a batch of matrices"),
        ("IREE", "einsum-implicit", "Einsum that does not say its result"),
        ("onnx-tool", "right-vector", "MatMul of a vector"),
        ("onnx-tool", "einsum-implicit", "Einsum that does not say its result"),
        ("onnx-tool", "einsum-ellipsis", "Einsum with an ellipsis"),
        ("onnx-tool", "einsum-three", "Einsum of 3 operands"),
    ],
)
def test_the_others(name: str, case: str, text: str) -> None:
    assert said(verdict(PARSED[case][0], name)) == [text]
    assert verdict(PARSED[case][0], "TVM").status == "accepted"


@pytest.mark.parametrize(("reduction", "refused"), [("add", False), ("max", True), ("min", True)])
def test_iree_keeps_no_largest_values(reduction: str, refused: bool) -> None:
    inputs: dict[str, Any] = {"x": (FLOAT, (5, 3)), "i": (INT64, (9, 3)), "u": (FLOAT, (9, 3))}
    node = op("ScatterElements", "x i u", "y", "s", axis=0, reduction=reduction)
    graph = from_model(model([node], inputs, {"y": (FLOAT, (5, 3))}), "scatter")
    assert said(verdict(graph, "IREE")) == ([f"ScatterElements with the reduction {reduction}"] if refused else [])
    assert verdict(graph, "TVM").status == "accepted"


@pytest.mark.parametrize(("shape", "refused"), [([1], True), ([1, 1], True), ([-1], False), ([], False)])
def test_onnx_tool_takes_a_scalar_for_nothing(shape: list[int], refused: bool) -> None:
    to = {"to": np.array(shape, np.int64)}
    made = model([op("Reshape", "x to", "y", "r")], {"x": (FLOAT, ())}, {"y": (FLOAT, [abs(n) for n in shape])}, to)
    assert said(verdict(from_model(made, "scalar"), "onnx-tool")) == (["Reshape of a scalar"] if refused else [])


@pytest.mark.parametrize(
    ("fed", "status"), [("", "accepted"), ("start", "accepted"), ("limit", "refused"), ("delta", "refused")]
)
def test_onnx_tool_wants_to_know_the_length_of_a_range(fed: str, status: str) -> None:
    values = {"start": np.float32(0), "limit": np.float32(3), "delta": np.float32(1)}
    inputs = {"x": (FLOAT, (3,)), **({fed: (FLOAT, ())} if fed else {})}
    nodes = [op("Range", "start limit delta", "r", "r"), op("Add", "r x", "y", "a")]
    held = {name: value for name, value in values.items() if name != fed}
    graph = from_model(model(nodes, inputs, {"y": (FLOAT, (3,))}, held), "range")
    assert verdict(graph, "onnx-tool").status == status


@pytest.mark.parametrize("name", ["TVM", "onnx-tool"])
def test_a_depth_is_a_scalar(name: str) -> None:
    for depth, wanted in (5, []), ([5], ["OneHot whose depth is an array"]):
        held = {"depth": np.array(depth, np.int64), "values": np.array([0, 1], np.float32)}
        made = model([op("OneHot", "i depth values", "y", "h")], {"i": (INT64, (3,))}, {"y": (FLOAT, (3, 5))}, held)
        assert said(verdict(from_model(made, "hot"), name)) == wanted


@pytest.mark.parametrize(("kind", "wanted"), [(FLOAT, []), (INT64, ["Pow of float32 and int64"])])
def test_tvm_has_powers_of_one_type(kind: int, wanted: list[str]) -> None:
    inputs: dict[str, Any] = {"x": (FLOAT, (5,)), "p": (kind, (5,))}
    graph = from_model(model([op("Pow", "x p", "y", "p")], inputs, {"y": (FLOAT, (5,))}), "power")
    assert said(verdict(graph, "TVM")) == wanted
    assert verdict(graph, "IREE").status == "accepted"


@pytest.mark.parametrize(("batch", "status"), [(0, "accepted"), (1, "unknown")])
def test_onnx_tool_does_not_read_batch_axes(batch: int, status: str) -> None:
    inputs: dict[str, Any] = {"x": (FLOAT, (4, 7)), "i": (INT64, (4, 1, 1) if batch else (4, 1, 2))}
    made = model([op("GatherND", "x i", "y", "g", batch_dims=batch)], inputs, {"y": (FLOAT, (4, 1))})
    assert verdict(from_model(made, "rows"), "onnx-tool").status == status


def test_a_first_operand_that_is_broadcast_has_to_be_converted() -> None:
    found = verdict(PARSED["left-one-head"][0], "ZigZag")
    assert (found.status, found.share) == ("converted", 1)
    assert said(found) == ["MatMul whose first operand is broadcast over the batch"]


def test_what_zigzag_ignores_is_said_with_what_to_do() -> None:
    found = verdict(PARSED["einsum"][0], "ZigZag")
    assert (found.status, found.share) == ("accepted", 0)
    (reason,) = found.reasons
    assert (reason.text, reason.nodes, reason.fix) == ("Einsum is ignored", 1, "convert --to compute-only")


def function() -> onnx.ModelProto:
    nodes = [op("MatMul", "x w", "m"), op("MatMul", "m w", "y")]
    inner = helper.make_function("own", "Twice", ["x", "w"], ["y"], nodes, [helper.make_opsetid("", 18)])
    call = helper.make_node("Twice", ["x", "w"], ["y"], domain="own", name="t")
    made = model([call], {"x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 3))}, {"y": (FLOAT, (2, 3))}, infer=False)
    made.functions.append(inner)
    made.opset_import.append(helper.make_opsetid("own", 1))
    return made


@pytest.mark.parametrize("name", ["ZigZag", "Stream"])
def test_functions_are_written_out_by_a_conversion(name: str) -> None:
    stored = function()
    found = verdict(from_model(stored, "function"), name, stored)
    assert (found.status, found.commands, found.share) == ("converted", ("convert --to compute-only",), 1)


def branch(name: str) -> onnx.GraphProto:
    value = helper.make_tensor_value_info(name, FLOAT, (2, 4))
    return helper.make_graph([op("MatMul", "x w", name, name)], name, [], [value])


def test_zigzag_fails_on_an_if() -> None:
    chosen = op("If", "c", "y", "if", then_branch=branch("t"), else_branch=branch("e"))
    inputs = {"c": (BOOL, ()), "x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 4))}
    graph = from_model(model([chosen], inputs, {"y": (FLOAT, (2, 4))}), "if")
    found = verdict(graph, "ZigZag")
    assert (found.status, said(found)) == ("refused", ["If is not supported"])


def test_a_compute_node_of_another_op_makes_the_products_within_it() -> None:
    nodes = [op("MatMul", "x w", "h", "m"), op("MatMulInteger", "q r", "z", "i")]
    inputs: dict[str, Any] = {"x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 4)), "q": (2, (3, 5)), "r": (2, (5, 7))}
    graph = from_model(model(nodes, inputs, {"h": (FLOAT, (2, 4)), "z": (6, (3, 7))}), "mixed")
    found = verdict(graph, "Stream")
    assert (found.status, found.commands) == ("converted", ("convert --to compute-only",))
    assert found.macs_seen == found.macs == 2 * 3 * 4 + 3 * 5 * 7


def test_a_gather_of_one_row_changes_the_rank() -> None:
    made = model([op("Gather", "t i", "y", "g")], {"t": (FLOAT, (9, 7))}, {"y": (FLOAT, (7,))}, {"i": np.int64(1)})
    assert "Gather that changes the rank" in said(verdict(from_model(made, "row"), "Stream"))


def loop_with(inner: list[onnx.NodeProto], output: str) -> onnx.NodeProto:
    body = helper.make_graph(
        inner,
        "body",
        [
            helper.make_tensor_value_info("i", INT64, ()),
            helper.make_tensor_value_info("go", BOOL, ()),
            helper.make_tensor_value_info("state", FLOAT, (2,)),
        ],
        [
            helper.make_tensor_value_info("go2", BOOL, ()),
            helper.make_tensor_value_info("next", FLOAT, (2,)),
        ],
    )
    return op("Loop", "n c x", output, "loop", body=body)


def test_an_if_at_any_depth_of_a_loop() -> None:
    def one(name: str) -> onnx.GraphProto:
        return helper.make_graph(
            [op("Neg", "state", name)], name, [], [helper.make_tensor_value_info(name, FLOAT, (2,))]
        )

    chosen = op("If", "go", "picked", "if", then_branch=one("a"), else_branch=one("b"))
    deep = helper.make_graph(
        [chosen, op("Identity", "picked", "out"), op("Identity", "s0", "s1")],
        "deep",
        [helper.make_tensor_value_info("s0", FLOAT, (2,)), helper.make_tensor_value_info("e", FLOAT, ())],
        [helper.make_tensor_value_info("s1", FLOAT, (2,)), helper.make_tensor_value_info("out", FLOAT, (2,))],
    )
    scan = op("Scan", "state state", "last rows", "scan", body=deep, num_scan_inputs=1)
    inside = [scan, op("Identity", "go", "go2"), op("Identity", "last", "next")]
    inputs: dict[str, Any] = {"n": (INT64, ()), "c": (BOOL, ()), "x": (FLOAT, (2,))}
    made = model([loop_with(inside, "y")], inputs, {"y": (FLOAT, (2,))})
    assert said(verdict(from_model(made, "nested"), "IREE")) == ["Loop with If in its body"]
    plain = model(
        [loop_with([op("Identity", "go", "go2"), op("Neg", "state", "next")], "y")], inputs, {"y": (FLOAT, (2,))}
    )
    assert verdict(from_model(plain, "plain"), "IREE").status == "accepted"


def test_ops_in_bodies_are_examined() -> None:
    inside = [op("Identity", "go", "go2"), op("Softsign", "state", "next")]
    inputs: dict[str, Any] = {"n": (INT64, ()), "c": (BOOL, ()), "x": (FLOAT, (2,))}
    made = model([loop_with(inside, "y")], inputs, {"y": (FLOAT, (2,))})
    assert said(verdict(from_model(made, "body"), "IREE")) == ["Softsign is not supported"]


def test_shapes_that_nodes_compute_were_not_all_tried() -> None:
    nodes = [op("Shape", "x", "s", "s"), op("Expand", "z s", "y", "e")]
    made = model(nodes, {"x": (FLOAT, (2, 3))}, {"y": (FLOAT, (2, 3))}, {"z": np.ones((1, 3), np.float32)})
    found = verdict(from_model(made, "shapes"), "TVM")
    assert (found.status, said(found)) == (
        "unknown",
        ["Shape, and what is computed with it: only simple forms were tried"],
    )
    assert verdict(from_model(made, "shapes"), "OpenVINO").status == "accepted"


@pytest.mark.parametrize(("name", "taken"), [("OpenVINO", True), ("TVM", False), ("IREE", False), ("onnx-tool", False)])
def test_ops_that_came_later_were_tried_at_their_own_version(name: str, taken: bool) -> None:
    found = verdict(PRODUCT_GRAPHS["attention"][0], name)
    assert found.status == ("accepted" if taken else "refused")
    assert said(found) == ([] if taken else ["Attention is not supported"])
