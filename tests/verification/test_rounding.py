"""Gradients that are zero but for rounding, which optimizers divide by their own size: right graphs pass, wrong do not.

The softmax of an attention does not change with the bias of its keys; a batch normalisation does not with what is the
same in all rows, the biases before it and those of the attention's values.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from fathom_exporters.torch.widening import limits_of_float32, widened
from fathom_onnx.errors import ExportError, RunError
from fathom_onnx.exporting import ExportRequest, find_exporter, read_recipe
from fathom_onnx.graph import from_model
from fathom_onnx.recipes import Recipe
from fathom_onnx.verification import verify

O = torch.optim  # noqa: E741
ZERO = {"k.bias", "v.bias", "before.bias"}
"""The parameters whose gradients are zero."""


class Attention(nn.Module):
    """One head over three tokens, and a normalisation of the rows that come out."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))
        self.before = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.q(x) @ self.k(x).mT / 2
        mixed = scores.softmax(-1) @ self.v(x)
        return self.norm(self.before(mixed).flatten(0, 1))


OPTIMIZERS = {
    "adam": lambda p: O.Adam(p, 1e-2),
    "adafactor": lambda p: O.Adafactor(p),
    "adamax": lambda p: O.Adamax(p),
    "rmsprop": lambda p: O.RMSprop(p, 1e-2),
}


def squares(outputs: torch.Tensor, batch: Any) -> torch.Tensor:
    return ((outputs - batch[1]) ** 2).mean()


@lru_cache
def made(name: str) -> tuple[Any, onnx.ModelProto]:
    """The workload with an optimizer, and its graph."""
    torch.manual_seed(0)
    model = Attention()
    names = ("q.weight", "k.bias")
    own = dict(model.named_parameters())
    groups = [
        {"params": [own.pop(name) for name in names], "weight_decay": 0.0},
        {"params": list(own.values())},
    ]
    batch = (torch.randn(2, 3, 4), torch.randn(6, 4))
    workload = read_recipe(Recipe(model, batch, squares, OPTIMIZERS[name](groups)))
    return workload, find_exporter("torch").export(ExportRequest(workload, "training", "input"))


def faults_of(optimizer: str, change: Any = None, steps: int = 2) -> tuple[str, ...]:
    workload, exported = made(optimizer)
    model = onnx.ModelProto()
    model.CopyFrom(exported)
    if change:
        change(model)
    return verify(workload, "torch", "training", steps=steps, graph=from_model(model, workload.name)).faults


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_right_graphs_pass(name) -> None:
    assert faults_of(name, steps=3) == ()


def test_the_gradients_are_zero() -> None:
    workload, _ = made("adam")
    values = {**workload.example, **workload.initial_values("training", 0)}
    gradients = find_exporter("torch").reference(workload, "training", "float64").step(values).gradients
    small = {name for name, gradient in gradients.items() if np.abs(gradient).max() < 1e-14}
    assert small == ZERO


def scaled(name: str, factor: float) -> Any:
    """A tensor times a number, for all that read it."""

    def change(model: onnx.ModelProto) -> None:
        node = next(n for n in model.graph.node if name in n.output)
        node.output[list(node.output).index(name)] = "before"
        model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
        at = list(model.graph.node).index(node) + 1
        model.graph.node.insert(at, helper.make_node("Mul", ["before", "factor"], [name], "scaled"))

    return change


def moved(name: str, factor: float) -> Any:
    """A parameter's new value after its change times a number."""

    def change(model: onnx.ModelProto) -> None:
        node = next(n for n in model.graph.node if f"{name}.next" in n.output)
        node.output[list(node.output).index(f"{name}.next")] = "before"
        model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
        model.graph.node.extend(
            [
                helper.make_node("Sub", ["before", name], ["change"], "change"),
                helper.make_node("Mul", ["change", "factor"], ["scaled"], "scaled"),
                helper.make_node("Add", [name, "scaled"], [f"{name}.next"], "again"),
            ]
        )

    return change


def exchanged(model: onnx.ModelProto) -> None:
    """Keys and queries read each other's weights, forward."""
    pair = ["q.weight", "k.weight"]
    for node in model.graph.node:
        if node.name.startswith("forward/"):
            node.input[:] = [pair[1 - pair.index(name)] if name in pair else name for name in node.input]


def gradient(name: str) -> str:
    return dict(made("adam")[0] and from_model(made("adam")[1], "step").metadata.gradients)[name]


FAULTS = {
    "a gradient of k.weight scaled": (lambda m: scaled(gradient("k.weight"), 1 + 1e-5)(m), "gradient of 'k.weight'"),
    "layers exchanged": (exchanged, "loss"),
    "a statistic that stands still": (moved("norm.running_mean", 0.0), "state 'norm.running_mean.next'"),
    "no update of k.bias": (moved("k.bias", 0.0), "update of 'k.bias'"),
    "no update of before.bias": (moved("before.bias", 0.0), "update of 'before.bias'"),
    "an update of k.bias the other way": (moved("k.bias", -1.0), "update of 'k.bias'"),
    "an update of v.weight the other way": (moved("v.weight", -1.0), "update of 'v.weight'"),
    "another rate for q.weight": (moved("q.weight", 1.0001), "update of 'q.weight'"),
    "no moment of k.bias": (moved("k.bias.exp_avg", 0.0), "update of 'k.bias"),
    "another second moment of k.bias": (moved("k.bias.exp_avg_sq", 2.0), "update of 'k.bias"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(fault) -> None:
    change, named = FAULTS[fault]
    faults = faults_of("adam", change, steps=1)
    assert any(found.startswith(named) for found in faults), faults


def test_a_threshold_that_no_gradient_reaches_is_judged() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    optimizer = O.SGD(model.parameters(), 0.1)
    optimizer.register_step_pre_hook(lambda *_: (nn.utils.clip_grad_norm_(model.parameters(), 1234.0), None)[1])
    workload = read_recipe(Recipe(model, (torch.randn(2, 4), torch.randn(2, 4)), squares, optimizer))
    exported = find_exporter("torch").export(ExportRequest(workload, "training", "input"))
    assert verify(workload, "torch", "training", steps=1, graph=from_model(exported, workload.name)).faults == ()
    changed = 0
    for tensor in exported.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.size and (value == 1234).all():
            tensor.CopyFrom(numpy_helper.from_array(value * np.float32(1.01), tensor.name))
            changed += 1
    assert changed == 1
    faults = verify(workload, "torch", "training", steps=1, graph=from_model(exported, workload.name)).faults
    assert [fault.split(" '")[0] for fault in faults] == ["update of"]


def test_a_loss_that_is_no_number_is_no_judgement() -> None:
    model = nn.Linear(4, 4)
    recipe = Recipe(model, torch.ones(2, 4), lambda y, _: (-(y * y).sum() - 1).log(), O.SGD(model.parameters(), 0.1))
    with pytest.raises(RunError, match="the loss is nan in torch itself"):
        verify(read_recipe(recipe), "torch", "training", steps=1)


def test_a_graph_that_lacks_an_output_is_refused() -> None:
    workload, exported = made("adam")
    model = onnx.ModelProto()
    model.CopyFrom(exported)
    del model.graph.output[-1]
    lost = exported.graph.output[-1].name
    with pytest.raises(ExportError, match=f"does not give '{lost}'"):
        verify(workload, "torch", "training", steps=1, graph=from_model(model, workload.name))


def test_limits_of_numbers_are_those_of_float32() -> None:
    x = torch.full((2, 4), 1e-3, dtype=torch.float64)
    with widened(), limits_of_float32():
        assert torch.finfo(torch.float64).eps == torch.finfo(x.dtype).tiny * 2.0**103 == 2.0**-23
        assert torch.finfo(torch.float16).eps == 2.0**-10
        row = nn.RMSNorm(4, dtype=torch.float64)(x)
        assert row.dtype == torch.float64
        infinite = torch.nan_to_num(torch.tensor([torch.inf, -torch.inf, torch.nan], dtype=torch.float64), 1.0)
        above = torch.nan_to_num(torch.tensor([torch.inf, -torch.inf], dtype=torch.float64), 0.0, 2.0)
    np.testing.assert_allclose(row.detach().numpy(), 1e-3 / np.sqrt(1e-6 + 2.0**-23), rtol=1e-14)
    largest = float(np.finfo(np.float32).max)
    assert infinite.tolist() == [largest, -largest, 1.0]
    assert above.tolist() == [2.0, -largest]
    assert torch.finfo(torch.float64).eps == 2.0**-52
