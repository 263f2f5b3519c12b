"""Reading a graph in float64: which numbers, which types, which tensors."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fathom_onnx.errors import RunError
from fathom_onnx.graph import GraphMetadata
from fathom_onnx.verification.double import DoubleGraph, widened
from fathom_onnx.verification.double.numbers import exactly, unrounded, wide


@pytest.mark.parametrize(
    "number",
    [
        *(0.001, 1e-8, 0.9, 0.999, 1 - 0.999, 0.044715, 3e-4, 1e-30, -0.1, 123.456, 0.0, 5.0, 16777216.0),
        *(1 / 3, 1 / 49, -1 / 49, 1 / 65536, 1 / 100352, 10 / 9, 50 / 49, 1 - 1 / 50, 1 / 12544, 2 / 3),
        *(1 / math.sqrt(2), 1 / math.sqrt(64), math.sqrt(1 / 40), math.sqrt(2 / math.pi), math.log(2), math.sqrt(2)),
        *(math.pi, math.log(10), 1 / 1e-5),
    ],
)
def test_numbers_of_a_model_are_what_they_were(number) -> None:
    assert unrounded(float(np.float32(number))) == pytest.approx(number, rel=1e-13)


def test_whatever_is_guessed_rounds_to_the_number() -> None:
    rng = np.random.default_rng(0)
    numbers = np.exp(rng.uniform(-80, 80, 20_000)).astype(np.float32) * rng.choice([-1, 1], 20_000).astype(np.float32)
    guesses = np.array([unrounded(float(n)) for n in numbers])
    np.testing.assert_array_equal(guesses.astype(np.float32), numbers)
    for special in (np.inf, -np.inf, np.finfo(np.float32).max, np.finfo(np.float32).tiny):
        assert np.float32(unrounded(float(special))) == np.float32(special)
    assert math.isnan(unrounded(float("nan")))


def test_values_keep_every_digit_that_they_have() -> None:
    given = {"single": np.array([0.1, 1 / 3, 1e-45], np.float32), "whole": np.arange(3), "double": np.array([0.1])}
    made = exactly(given)
    assert made["single"].dtype == np.float64
    np.testing.assert_array_equal(made["single"], [float(number) for number in given["single"]])
    assert made["whole"] is given["whole"]
    assert made["double"] is given["double"]


def test_several_numbers_keep_their_values() -> None:
    several = np.array([0.1, 0.2], np.float32)
    np.testing.assert_array_equal(wide(several), several.astype(np.float64))
    np.testing.assert_array_equal(wide(np.full((2, 3), 0.1, np.float32)), np.full((2, 3), 0.1))
    np.testing.assert_array_equal(wide(np.array(0.1, np.float32), guess=False), np.float64(np.float32(0.1)))
    assert wide(np.arange(3)).dtype == np.int64


def test_known_numbers_are_taken_where_they_round_to_an_element() -> None:
    several = np.array([1 / 3, 0.2, 1 / 3, 5], np.float32)
    np.testing.assert_array_equal(wide(several, before=[1 / 3, 0.2, 7.5]), [1 / 3, 0.2, 1 / 3, 5])
    np.testing.assert_array_equal(wide(several, before=[0.33, 0.2 + 1e-7]), several.astype(np.float64))
    assert float(wide(np.array(1 / 3, np.float32), before=[1 / 3 + 1e-10])) == 1 / 3 + 1e-10


def test_what_the_metadata_say_of_constants_is_read() -> None:
    near = 0.7 + 1e-9
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["m"], "m"),
        helper.make_node("Constant", [], ["one"], "c", value=numpy_helper.from_array(np.array(0.7, np.float32))),
        helper.make_node("Add", ["m", "one"], ["y"], "a"),
    ]
    made = model(nodes, [("x", F, [2])], [("y", F, [2])], [("two", np.array([0.7, 0.3], np.float32))])
    told = {"two": (near,), "one": (near,)}
    fields = {"config": {}, "variables": (), "parameters": (), "state": (), "rounded": told}
    names = {"workload": "w", "preset": "own", "mode": "inference", "framework": "torch", "framework_version": "1"}
    GraphMetadata(**fields, **names, noise="input", purpose="simulators", data="example").write(made)
    ones = {"x": np.ones(2, np.float32)}
    exact = [near, float(np.float32(0.3))]
    np.testing.assert_array_equal(DoubleGraph(made).run(ones)["y"], np.add(exact, near))
    single = np.array([0.7, 0.3], np.float32).astype(np.float64)
    np.testing.assert_array_equal(DoubleGraph(made, guess=False).run(ones)["y"], single + single[0])


def model(nodes, inputs, outputs, constants=(), **options) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10, **options)


F, D, INT = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64


def test_every_float32_is_widened() -> None:
    body = helper.make_graph(
        [helper.make_node("Constant", [], ["inner"], value=numpy_helper.from_array(np.float32([0.5, 0.1])))],
        "body",
        [],
        [helper.make_tensor_value_info("inner", F, [2])],
    )
    nodes = [
        helper.make_node("Cast", ["n"], ["cast"], to=F),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Constant", [], ["one"], value_float=0.1),
        helper.make_node("Constant", [], ["two"], value_floats=[0.1, 0.2]),
        helper.make_node("EyeLike", ["square"], ["eye"], dtype=F),
        helper.make_node("LayerNormalization", ["x", "scale"], ["normal"], epsilon=0.001),
        helper.make_node("RandomNormal", [], ["drawn"], shape=[2]),
        helper.make_node("If", ["yes"], ["chosen"], then_branch=body, else_branch=body),
    ]
    outputs = [node.output[0] for node in nodes]
    made = widened(
        model(
            nodes,
            [("n", INT, [2]), ("x", F, [2, 3])],
            [
                (name, F, shape)
                for name, shape in zip(outputs, ([2], [2], [], [2], [2, 2], [2, 3], [2], [2]), strict=True)
            ],
            [
                ("shape", np.array([2])),
                ("square", np.zeros((2, 2), np.int64)),
                ("scale", np.float32([1, 2, 0.3])),
                ("yes", np.array(True)),
            ],
        )
    )
    onnx.checker.check_model(made, full_check=True)
    assert [o.type.tensor_type.elem_type for o in made.graph.output] == [D] * len(outputs)
    results = DoubleGraph(made).run({"n": np.array([1, 2]), "x": np.float32([[1, 2, 3], [4, 5, 9]])})
    assert {name: value.dtype for name, value in results.items()} == dict.fromkeys(outputs, np.float64)
    assert results["one"] == 0.1
    np.testing.assert_array_equal(results["two"], np.float32([0.1, 0.2]).astype(np.float64))
    row = np.array([4.0, 5, 9])
    right = (row - 6) / np.sqrt(14 / 3 + 0.001) * np.float32([1, 2, 0.3])  # with 0.001 itself
    np.testing.assert_allclose(results["normal"][1], right, rtol=1e-15)


def test_only_what_is_wanted_is_computed_and_a_body_sees_what_is_around_it() -> None:
    body = helper.make_graph(
        [helper.make_node("Mul", ["before", "x"], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", F, [2])],
    )
    made = model(
        [
            helper.make_node("Exp", ["x"], ["before"]),
            helper.make_node("Reshape", ["x", "shape"], ["impossible"]),
            helper.make_node("If", ["yes"], ["chosen"], then_branch=body, else_branch=body),
            helper.make_node("Neg", ["chosen"], ["y"]),
        ],
        [("x", F, [2]), ("unused", F, [2])],
        [("y", F, [2]), ("impossible", F, [3])],
        [("shape", np.array([3])), ("yes", np.array(True))],
    )
    x = np.float32([0.5, 2])
    wanted = DoubleGraph(made, ["y", "before"]).run({"x": x, "unused": x})
    np.testing.assert_allclose(wanted["y"], -np.exp(x.astype(float)) * x, rtol=1e-15)
    np.testing.assert_allclose(wanted["before"], np.exp(x.astype(float)), rtol=1e-15)
    with pytest.raises(RunError, match=r"node '' \(Reshape\) fails in float64"):
        DoubleGraph(made).run({"x": x, "unused": x})
    with pytest.raises(RunError, match="input 'x' has no value"):
        DoubleGraph(made, ["y"]).run({"unused": x})
    with pytest.raises(RunError, match="no tensor 'z'"):
        DoubleGraph(made, ["z"])


def test_a_part_shares_operators_and_takes_other_tensors_as_given() -> None:
    """y = exp(x) * 3 + z, and u = exp(x)."""
    made = model(
        [
            helper.make_node("Exp", ["x"], ["u"]),
            helper.make_node("Mul", ["u", "three"], ["v"]),
            helper.make_node("Add", ["v", "z"], ["y"]),
        ],
        [("x", F, [2]), ("z", F, [2])],
        [("y", F, [2])],
        [("three", np.float32(3))],
    )
    x, z = np.float32([0, 0]), np.float32([1, 2])
    whole = DoubleGraph(made, ["y", "u"])
    inner, outer = whole.part(["u"]), whole.part(["y"], ["u"])
    assert (whole.inputs, inner.inputs, outer.inputs) == ({"x", "z"}, {"x"}, {"u", "z"})
    np.testing.assert_array_equal(inner.run({"x": x})["u"], [1, 1])
    np.testing.assert_array_equal(outer.run({"u": np.float32([5, 7]), "z": z})["y"], [16, 23])
    np.testing.assert_array_equal(whole.run({"x": x, "z": z})["y"], [4, 5])
    np.testing.assert_array_equal(whole.run({"x": x, "z": z}, {"u": np.array([1.0, 0])})["y"], [7, 5])
    with pytest.raises(RunError, match="no tensor 'w'"):
        whole.part(["w"])
