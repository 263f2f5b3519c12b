"""What the order of a sum costs in float32: 2^24 + 1 is 2^24 there, so that ones added in turn to it are lost."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from fathom_onnx.exporting import ExportRequest, find_exporter, read_recipe
from fathom_onnx.graph import from_model
from fathom_onnx.recipes import Recipe
from fathom_onnx.verification import verify
from fathom_onnx.verification.reading import read
from fathom_onnx.verification.sums import error_of_sum, errors_of_order, terms_of_sums

LARGE = 2.0**24


def test_terms_are_added_in_turn() -> None:
    assert error_of_sum(np.array([[LARGE], [1.0], [1.0], [1.0]]), np.array([0])) == 3.0
    assert error_of_sum(np.array([[1.0], [1.0], [1.0], [LARGE]]), np.array([0])) == 1.0  # 3 + 2^24 is rounded to even
    assert error_of_sum(np.array([[LARGE, 1.0], [1.0, 1.0]]), np.array([-1])) == 1.0
    assert error_of_sum(np.array([[LARGE, 1.0], [1.0, 1.0]]), np.array([1, 0])) == 3.0


def test_terms_are_rounded_before_they_count() -> None:
    assert error_of_sum(np.array([0.1, 0.0]), np.array([0])) == 0.0


def graph(op: str, moved: bool = True) -> onnx.ModelProto:
    """``x`` squared, summed over its rows by an op, and given another shape."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"], "m"),
        helper.make_node(op, ["squares", "axes"], ["sums"], "s", keepdims=0),
        helper.make_node("Reshape" if moved else "Exp", ["sums", "shape"] if moved else ["sums"], ["y"], "r"),
    ]
    held = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [0]),
        helper.make_tensor("shape", TensorProto.INT64, [2], [1, 1]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], held), opset_imports=[helper.make_opsetid("", 18)])


def errors(model: onnx.ModelProto, names: list[str], x: dict[str, np.ndarray]) -> dict[str, float]:
    return errors_of_order(read(model, x, [*names, *terms_of_sums(model, names)]), names)


def test_tensors_are_followed_to_their_sums() -> None:
    x = {"x": np.array([[2.0**12], [1.0], [1.0]], np.float32)}
    assert errors(graph("ReduceSum"), ["y", "sums", "x", "squares"], x) == {"y": 2.0, "sums": 2.0}
    assert errors(graph("ReduceMax"), ["y"], x) == {}
    assert errors(graph("ReduceSum", moved=False), ["y"], x) == {}


@pytest.mark.parametrize("fault", [False, True])
def test_a_bias_over_many_rows(fault) -> None:
    """A sum over 65,536 rows in turn is no fault; what comes before it in less than float32 is one."""
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    recipe = Recipe(
        model,
        torch.randn(65536, 2),
        lambda y, _: ((y - 3) ** 2).mean(),
        torch.optim.SGD(model.parameters(), 0.1),
    )
    workload = read_recipe(recipe)
    exported = find_exporter("torch").export(ExportRequest(workload, "training", "input"))
    if fault:
        node = next(n for n in exported.graph.node if n.op_type == "ReduceSum" and n.name.startswith("backward"))
        at = list(exported.graph.node).index(node)
        read = node.input[0]
        node.input[0] = "again"
        # terms of 1e-4 beside 1,024 are rounded by as much as they are: in float64 that is nothing
        made = [
            helper.make_node("Add", [read, "large"], ["up"], "u"),
            helper.make_node("Sub", ["up", "large"], ["again"], "d"),
        ]
        for index, extra in enumerate(made):
            exported.graph.node.insert(at + index, extra)
        exported.graph.initializer.append(helper.make_tensor("large", TensorProto.FLOAT, [], [1024.0]))
    check = verify(workload, "torch", "training", steps=1, graph=from_model(exported, workload.name))
    assert ["gradient of 'bias'" in text for text in check.faults] == ([True] if fault else [])
