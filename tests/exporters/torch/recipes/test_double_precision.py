"""Models in float64: every constant of the step is the number that Python has, and limits are those of float64."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from fathom_onnx.exporting import ExportRequest, find_exporter, read_recipe
from fathom_onnx.graph import from_model
from fathom_onnx.recipes import Recipe, RecipeWorkload
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.verification import verify

O = torch.optim  # noqa: E741

OPTIMIZERS = {
    "sgd": lambda p: O.SGD(p, 1e-2, momentum=0.9, weight_decay=0.03),
    "adam": lambda p: O.Adam(p, 3e-3, amsgrad=True),
    "adamw": lambda p: O.AdamW(p, 1e-2),
    "nadam": lambda p: O.NAdam(p, 1e-2),
    "radam": lambda p: O.RAdam(p, 1e-2),
    "adamax": lambda p: O.Adamax(p),
    "adagrad": lambda p: O.Adagrad(p, lr_decay=0.1),
    "adadelta": lambda p: O.Adadelta(p),
    "rmsprop": lambda p: O.RMSprop(p, 1e-2, momentum=0.3),
    "asgd": lambda p: O.ASGD(p),
    "rprop": lambda p: O.Rprop(p),
    "adafactor": lambda p: O.Adafactor(p),
}


class Numbers(nn.Module):
    """Numbers by every way into a step: operands, arguments, fills, a normalisation's epsilon."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.rms, self.last = nn.Linear(4, 8), nn.LayerNorm(8), nn.RMSNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.rms(self.norm(torch.tanh(self.first(x) * 0.7 + 0.1)))
        h = torch.add(h, torch.full_like(h, 0.3), alpha=1.1).clamp(-1.7, 1.9)
        return self.last(torch.where(h > 0, h, 0.2 * h) ** 3 / 0.9)


def made(optimizer: str) -> tuple[RecipeWorkload, onnx.ModelProto]:
    torch.manual_seed(0)
    model = Numbers().double()
    batch = (torch.randn(5, 4).double(), torch.randn(5, 3).double())
    recipe = Recipe(model, batch, lambda y, b: ((y - b[1]) ** 2).mean(), OPTIMIZERS[optimizer](model.parameters()))
    workload = read_recipe(recipe)
    return workload, find_exporter("torch").export(ExportRequest(workload, "training", "input"))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_in_float64_is_right_to_its_last_digits(optimizer) -> None:
    workload, exported = made(optimizer)
    check = verify(workload, "torch", "training", steps=2, graph=from_model(exported, workload.name))
    assert check.faults == ()
    assert check.in_double < 1e-13


def test_onnxruntime_computes_the_optimizer_in_float64() -> None:
    workload, exported = made("adam")
    values = {**workload.example, **workload.initial_values("training", 0)}
    assert values["optimizer.step"].dtype == np.float64
    found = Evaluator(from_model(exported, workload.name)).step(values)
    expected = find_exporter("torch").reference(workload, "training", "float64").update(values, found.gradients)
    for name, value in expected.items():
        np.testing.assert_allclose(found.outputs[name], value, rtol=1e-12, atol=1e-15, err_msg=name)


def test_no_constant_was_rounded_to_float32() -> None:
    _, exported = made("adamw")
    constants = [numpy_helper.to_array(t) for t in exported.graph.initializer]
    numbers = {float(n) for c in constants if c.dtype == np.float64 for n in c.ravel()}
    assert {0.7, 0.1, 0.9, 0.999, 1e-8} <= numbers
    assert not [n for n in numbers if n != round(n, 12) and float(np.float32(n)) == n and abs(n) > 1e-6]
