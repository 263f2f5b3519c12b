"""Steps of recipes beside PyTorch's own."""

from __future__ import annotations

from typing import Any

import numpy as np

import fathom_onnx
from fathom_exporters.torch.recipes import derive
from fathom_exporters.torch.recipes.reference import RecipeReference
from fathom_onnx.recipes import Recipe

__all__ = ["errors"]


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
