"""What the side of a zero does: (1 + 2^-25) - 1 is 2^-25, and nothing in float32."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.verification.kinks import ROUNDING, errors_of_kinks, tensors_with_kinks
from fathom_onnx.verification.reading import read

SETTINGS = SessionSettings(ep="cpu", threads=1)


def graph(op: str = "Relu") -> onnx.ModelProto:
    """``y`` is ``dy`` where ``op`` of (x + a) - b is above zero; ``twice`` has no part in that."""
    nodes = [
        helper.make_node("Add", ["x", "a"], ["more"], "n0"),
        helper.make_node("Sub", ["more", "b"], ["before"], "n1"),
        helper.make_node(op, ["before"], ["after"], "n2"),
        helper.make_node("Greater", ["after", "zero"], ["mask"], "n3"),
        helper.make_node("Where", ["mask", "dy", "zero"], ["y"], "n4"),
        helper.make_node("Add", ["dy", "dy"], ["twice"], "n5"),
    ]
    ends = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [3])
        for name in ("x", "a", "b", "dy", "y", "twice")
    }
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
    inputs, outputs = [ends[n] for n in ("x", "a", "b", "dy")], [ends[n] for n in ("y", "twice")]
    made = helper.make_graph(nodes, "g", inputs, outputs, [zero])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def values(*a: float) -> dict[str, np.ndarray]:
    """The second element of ``before`` is ``a[1]`` in float64, and nothing in float32."""
    given = {"x": [3.0, 1.0, -2.0], "a": a, "b": [2.0, 1.0, 2.0], "dy": [5.0, 7.0, 9.0]}
    return {name: np.array(value, np.float32) for name, value in given.items()}


def errors(model: onnx.ModelProto, names: list[str], given: dict[str, np.ndarray]) -> dict[str, float]:
    return errors_of_kinks(read(model, given, [*names, *tensors_with_kinks(model)]), names, SETTINGS)


@pytest.mark.parametrize("op", ["Relu", "Sign"])
def test_an_element_on_the_other_side_is_all_that_counts(op: str) -> None:
    found = errors(graph(op), ["y", "twice"], values(0.0, 2.0**-25, 0.0))
    assert found == {"y": 7.0, "twice": 0.0}


def test_nothing_where_no_element_changes_its_side() -> None:
    assert errors(graph(), ["y"], values(0.0, 0.0, 0.0)) == {}
    assert errors(graph("Softplus"), ["y"], values(0.0, 2.0**-25, 0.0)) == {}
    assert errors(graph(), [], values(0.0, 2.0**-25, 0.0)) == {}


def test_what_is_off_by_more_than_rounding_is_no_kink() -> None:
    scaled = {**values(0.0, 2.0**-25, 0.0)}
    size = np.float32(2.0**-25 / ROUNDING / 2)  # of the largest element of ``before``, so that 2^-25 is much of it
    scaled["x"], scaled["b"] = np.array([size, 1, 0], np.float32), np.array([0, 1, size], np.float32)
    assert errors(graph(), ["y"], scaled) == {}
