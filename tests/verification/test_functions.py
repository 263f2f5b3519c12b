"""What the approximations of onnxruntime's kernels make of a step: measured alone, and no excuse for a form."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from fathom_onnx.exporting import ExportRequest, find_exporter, read_recipe
from fathom_onnx.graph import from_model
from fathom_onnx.recipes import Recipe
from fathom_onnx.runtime.settings import DEFAULT_SETTINGS
from fathom_onnx.verification import judge, verify
from fathom_onnx.verification.functions import errors_of_functions, inputs_of_functions
from fathom_onnx.verification.reading import read

SPACING = 2.0**-23


def model(nodes: list[onnx.NodeProto], shape: list[int], **constants: float) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    held = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def errors(made: onnx.ModelProto, x: np.ndarray[Any, Any]) -> float:
    reading = read(made, {"x": x}, ["y", *inputs_of_functions(made)])
    return errors_of_functions(reading, ["y"], DEFAULT_SETTINGS).get("y", 0.0)


def test_a_kernel_that_loses_digits() -> None:
    """Of sigmoid(x), whatever onnxruntime is off by beyond half a distance of neighbours; then times 1,000."""
    x = np.linspace(-14, -8, 64).astype(np.float32)
    made = model(
        [helper.make_node("Sigmoid", ["x"], ["s"], "f/a/Sigmoid"), helper.make_node("Mul", ["s", "k"], ["y"])],
        [64],
        k=1000,
    )
    alone = model([helper.make_node("Sigmoid", ["x"], ["y"])], [64])
    found = onnxruntime.InferenceSession(alone.SerializeToString()).run(None, {"x": x})[0]
    right = 1 / (1 + np.exp(-x.astype(np.float64)))
    off = np.abs(found - right) - np.spacing(right.astype(np.float32)).astype(np.float64) / 2
    assert off.max() > 1e-9  # where the results are 1e-4 and less
    assert errors(made, x) == pytest.approx(1000 * off.max(), rel=1e-9)


def test_what_is_rounded_is_no_error_of_a_kernel() -> None:
    """log(1 + x) of 1e-9 is 0 in float32, which is the form's fault, and of exact arithmetic nothing is off."""
    nodes = [helper.make_node("Add", ["x", "one"], ["a"]), helper.make_node("Log", ["a"], ["y"])]
    assert errors(model(nodes, [3], one=1), np.array([1e-9, 1e-8, 3e-8], np.float32)) < SPACING * 3e-8
    nodes = [helper.make_node("Mul", ["x", "x"], ["a"]), helper.make_node("Sub", ["a", "one"], ["y"])]
    assert errors(model(nodes, [1], one=1), np.array([1 + 1e-4], np.float32)) == 0.0


def test_functions_of_the_optimizer_have_no_part() -> None:
    node = helper.make_node("Sigmoid", ["x"], ["y"], "optimizer/w/Sigmoid")
    assert errors(model([node], [1]), np.array([-12], np.float32)) == 0.0
    node.name = "forward/w/Sigmoid"
    assert errors(model([node], [1]), np.array([-12], np.float32)) > 0


class Steps(nn.Module):
    """Small steps of time, as state space models take them: the softplus of negative numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.linspace(-14, -11, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.softplus(x + self.bias)


class Squashed(nn.Module):
    """A policy's chance after a squashing that saturates."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(4))
        self.mean = nn.Linear(4, 4).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            chance = torch.log(1 - torch.tanh(self.mean(x) + 6).pow(2) + 1e-6)
        return self.bias - chance


class Sure(nn.Module):
    """Classes that are nearly certain, by scores of 50."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.log_softmax(x + self.bias + torch.tensor([50.0, 40.0, 0.0, 0.0]), -1)[:, 0]


LARGE = {Steps: 1e-5, Squashed: 1e6, Sure: 64.0}
"""What is large beside the terms of each gradient."""


def lossy(exported: onnx.ModelProto, large: float) -> None:
    """The gradient's terms rounded where they are added to a large number."""
    node = next(n for n in exported.graph.node if n.op_type == "ReduceSum" and n.name.startswith("backward"))
    at, read = list(exported.graph.node).index(node), node.input[0]
    node.input[0] = "again"
    extra = [
        helper.make_node("Add", [read, "large"], ["up"], "u"),
        helper.make_node("Sub", ["up", "large"], ["again"], "d"),
    ]
    for index, made in enumerate(extra):
        exported.graph.node.insert(at + index, made)
    exported.graph.initializer.append(numpy_helper.from_array(np.array(large, np.float32), "large"))


@pytest.mark.parametrize("held", [judge.HELD, 0])
@pytest.mark.parametrize("kind", [Steps, Squashed, Sure])
@pytest.mark.parametrize("fault", [False, True])
def test_functions_that_lose_digits_are_no_fault(kind, fault, held, monkeypatch) -> None:
    """Whether the first reading in float64 is held for it or a second one is made."""
    monkeypatch.setattr(judge, "HELD", held)
    torch.manual_seed(0)
    made = kind()
    batch = (torch.randn(32, 4),)
    recipe = Recipe(made, batch, lambda y, _: (y * y).mean(), torch.optim.SGD(made.parameters(), 0.1))
    workload = read_recipe(recipe)
    exported = find_exporter("torch").export(ExportRequest(workload, "training", "input"))
    if fault:
        lossy(exported, LARGE[kind])
    check = verify(workload, "torch", "training", steps=1, graph=from_model(exported, workload.name))
    assert [text for text in check.faults if "float32" not in text] == []
    assert bool(check.faults) == fault, check.faults
