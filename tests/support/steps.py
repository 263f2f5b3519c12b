"""Steps of recipes beside PyTorch's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fathom_onnx
from fathom_exporters.torch.recipes import derive
from fathom_exporters.torch.recipes.reference import RecipeReference
from fathom_onnx.errors import ExportError
from fathom_onnx.recipes import Recipe

__all__ = ["cross_entropy", "errors", "refused", "rows"]


def errors(recipe: Recipe, steps: int = 1) -> tuple[float, Any]:
    """The largest error of any output beside PyTorch's own float64 step, relative to the tensor's largest value."""
    workload = derive(recipe)
    graph = fathom_onnx.export_step(
        recipe.model,
        recipe.batch,
        recipe.loss,
        recipe.optimizer,
        noise="input",
        accumulate=recipe.accumulate,
        specialise=recipe.specialise,
    )
    random = np.random.default_rng(0)
    noise = {n.name: random.random(n.shape).astype(np.float32) for n in workload.noise["training"]}
    state = workload.initial_values("training", 0)
    worst = 0.0
    for _ in range(steps):
        expected = RecipeReference(workload, "training", "float64").step({**workload.example, **state, **noise})
        found = fathom_onnx.run_step(graph, {**workload.example, **noise}, state)
        for name, value in expected.outputs.items():
            scale = float(np.abs(value).max()) or 1.0
            worst = max(worst, float(np.abs(found[name] - value).max()) / scale)
        state = {n: found.get(f"{n}.next", v) for n, v in state.items()}
    return worst, graph


def cross_entropy(outputs: Tensor, batch: Any) -> Tensor:
    """The loss of the second part of a batch."""
    return F.cross_entropy(outputs, batch[1])


def rows(width: int = 4, count: int = 6) -> tuple[Tensor, Tensor]:
    """A batch of rows and their classes, of which there are three."""
    return torch.randn(count, width), torch.randint(0, 3, (count,))


def refused(model: nn.Module, batch: Any, loss: Any = cross_entropy, optimizer: Any = None, **options: Any) -> str:
    """The one line with which a step's export is refused."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ExportError) as told:
        fathom_onnx.export_step(model, batch, loss, optimizer, **options)
    assert "\n" not in str(told.value)
    return str(told.value)
