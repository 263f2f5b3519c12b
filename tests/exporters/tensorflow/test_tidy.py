"""Tidying a translated graph, on small graphs."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

ir = pytest.importorskip("onnx_ir")
pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

from fathom_exporters.tensorflow.translate.tidy import tidy  # noqa: E402


def tidied(inputs, output, initializers, body):
    text = f'<ir_version: 10, opset_import: ["" : 18]>\ng ({inputs}) => ({output}) <{initializers}> {{ {body} }}'
    proto = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text), strict_mode=True)
    model = ir.from_proto(proto)
    tidy(model)
    return model.graph


@pytest.mark.parametrize(
    ("op", "number", "place", "gone"),
    [
        ("Add", "0", 0, True),
        ("Add", "0", 1, True),
        ("Add", "1e-8", 1, False),
        ("Sub", "0", 1, True),
        ("Sub", "0", 0, False),
        ("Mul", "1", 0, True),
        ("Mul", "0", 1, False),
        ("Div", "1", 1, True),
        ("Div", "1", 0, False),
    ],
)
def test_only_exactly_neutral_arithmetic_goes(op, number, place, gone):
    operands = ["a", "a"]
    operands[place] = "c"
    graph = tidied(
        "float[2,3] x",
        "float[2,3] y",
        f"float c = {{{number}}}",
        f"a = Exp(x) b = {op}({', '.join(operands)}) y = Exp(b)",
    )
    assert [node.op_type for node in graph] == (["Exp", "Exp"] if gone else ["Exp", op, "Exp"])


def test_a_neutral_number_that_broadcasts_stays():
    graph = tidied("float[3] x", "float[2,3] y", "float[2,1] c = {0, 0}", "b = Add(x, c) y = Exp(b)")
    assert [node.op_type for node in graph] == ["Add", "Exp"]
    assert list(graph.node(0).inputs[1].shape) == [2, 1]


def test_a_tensor_of_one_number_becomes_the_number():
    graph = tidied(
        "float[2,3] x, bool[2,3] c",
        "float[2,3] y",
        "float[2,3] k = {5, 5, 5, 5, 5, 5}, float[3] v = {1, 2, 3}",
        "a = Mul(x, k) b = Where(c, a, k) y = Add(b, v)",
    )
    mul, where, add = graph
    assert list(mul.inputs[1].shape) == []
    assert mul.inputs[1] is where.inputs[2]
    np.testing.assert_array_equal(mul.inputs[1].const_value.numpy(), np.float32(5))
    assert list(add.inputs[1].shape) == [3]


def test_a_gemm_takes_up_its_bias():
    gemm = "a = Gemm<transB = 1>(x, w)"
    inputs = "float[2,3] x, float[4,3] w, float[4] b"
    graph = tidied(inputs, "float[2,4] y", "", f"{gemm} c = Add(a, b) y = Exp(c)")
    assert [node.op_type for node in graph] == ["Gemm", "Exp"]
    assert [value.name for value in graph.node(0).inputs] == ["x", "w", "b"]
    assert graph.node(0).attributes["transB"].as_int() == 1
    # a bias of another length is no bias
    graph = tidied(inputs.replace("float[4]", "float[1]"), "float[2,4] y", "", f"{gemm} y = Add(a, b)")
    assert [node.op_type for node in graph] == ["Gemm", "Add"]
    # a product that something else reads keeps its own node
    graph = tidied(inputs, "float[2,4] y", "", f"{gemm} c = Add(a, b) y = Mul(c, a)")
    assert [node.op_type for node in graph] == ["Gemm", "Add", "Mul"]


def test_a_convolution_takes_up_its_bias():
    inputs = "float[1,2,5,5] x, float[3,2,3,3] w, float[3] b"
    conv = "a = Conv<strides = [2, 2], kernel_shape = [3, 3]>(x, w)"
    shape = "int64[3] s = {3, 1, 1}"
    graph = tidied(inputs, "float[1,3,2,2] y", shape, f"{conv} c = Reshape(b, s) d = Add(a, c) y = Exp(d)")
    assert [node.op_type for node in graph] == ["Conv", "Exp"]
    assert [value.name for value in graph.node(0).inputs] == ["x", "w", "b"]
    assert list(graph.node(0).attributes["strides"].as_ints()) == [2, 2]
    # along another axis it is no bias
    wide = inputs.replace("float[3] b", "float[2] b")
    graph = tidied(wide, "float[1,3,2,2] y", "", f"{conv} d = Add(a, b) y = Exp(d)")
    assert [node.op_type for node in graph] == ["Conv", "Add", "Exp"]
    # nor is it a bias where it is computed
    graph = tidied(inputs, "float[1,3,2,2] y", shape, f"{conv} e = Exp(b) c = Reshape(e, s) d = Add(a, c) y = Exp(d)")
    assert "Add" in [node.op_type for node in graph]
