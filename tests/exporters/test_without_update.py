"""A framework's own step without its optimizer: the loss, gradients and statistics of the whole step, and no more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from fathom_onnx.data import batches_for
from fathom_onnx.exporting import Reference, ReferenceInParts, find_exporter, read_recipe
from fathom_onnx.recipes import Recipe
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Array, Workload

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
optax = pytest.importorskip("optax")


def check(reference: Reference, spec: Workload, values: Mapping[str, Array], unread: set[str]) -> None:
    """The step without its update is that with it, from the same values but those that are not read."""
    assert isinstance(reference, ReferenceInParts)
    whole = reference.step(values)
    kept = {Workload.LOSS, *(buffer.next.name for buffer in spec.buffers)}
    assert kept < whole.outputs.keys()
    ended = reference.before_update({name: value for name, value in values.items() if name not in unread})
    assert ended.outputs.keys() == kept
    assert ended.gradients.keys() == whole.gradients.keys() != set()
    pairs = [(ended.outputs[name], whole.outputs[name]) for name in kept]
    pairs += [(ended.gradients[name], value) for name, value in whole.gradients.items()]
    for got, want in pairs:
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-14)
    again = reference.step(values)  # nothing of the other kind of step stays behind
    for name, value in whole.outputs.items():
        np.testing.assert_array_equal(again.outputs[name], value)


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
@pytest.mark.parametrize("name", ["residual", "autoenc"])
def test_of_a_workload(name: str, framework: str) -> None:
    spec = workload(name, "tiny")
    values = spec.initial_values("training", 0) | next(batches_for(spec, "training", 0, noise="input"))
    reference = find_exporter(framework).reference(spec, "training", "float64")
    check(reference, spec, values, {slot.name for slot in spec.slots})


def of_recipe(framework: str, recipe: Recipe) -> None:
    spec = read_recipe(recipe)
    values = spec.initial_values("training", 0) | next(batches_for(spec, "training", 0, noise="input"))
    assert spec.buffers
    check(find_exporter(framework).reference(spec, "training", "float64"), spec, values, set())


def test_of_a_module_with_running_statistics() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    batch = torch.randn(5, 4), torch.randn(5, 3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    of_recipe("torch", Recipe(model, batch, lambda made, given: (made - given[1]).square().mean(), optimizer))


def test_of_a_function_with_state() -> None:
    def centred(params, state, batch):
        mean = 0.9 * state["mean"] + 0.1 * batch.mean()
        return jnp.square(params["w"] * batch - mean).mean(), {"mean": mean}

    batch, start = np.arange(4, dtype="float32"), {"mean": jnp.float32(0.5)}
    of_recipe("jax", Recipe({"w": jnp.float32(2)}, batch, centred, optax.adam(0.1), state=start))
