"""The models in JAX compute what those in PyTorch compute: outputs, loss, new statistics and gradients in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fathom_exporters.jax.models import JAX
from fathom_exporters.torch.reference import TorchReference
from fathom_onnx.data import batches_for
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Mode, Workload

WORKLOADS = tuple(JAX.built_in)
QUICK = {"xla_backend_optimization_level": 0}
"""Options of XLA with which compiling takes least time."""


def drawn(spec: Workload, mode: Mode, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch, noise, and variables that are neither all 0 nor all 1, where parts of a model would not show."""
    rng = np.random.default_rng(seed)
    values = {name: np.asarray(value) for name, value in next(iter(batches_for(spec, mode, seed))).items()}
    for noise in spec.noise.get(mode, ()):
        values[noise.name] = (rng.normal if noise.distribution == "normal" else rng.random)(size=noise.shape)
    for name, value in spec.initial_values(mode, seed).items():
        moved = value + rng.normal(0, 0.05, value.shape)
        values[name] = np.abs(moved) if name.endswith("running_var") else moved
    return {name: value.astype(np.float64) if value.dtype.kind == "f" else value for name, value in values.items()}


def by_jax(spec: Workload, mode: Mode, values: dict[str, np.ndarray]):
    """Outputs or loss, new buffers, and gradients."""
    model = JAX.model(spec.name)
    parameters = {p.name: values[p.name] for p in spec.parameters}

    def run(parameters, given):
        variables = {v.name: given[v.name] for v in spec.variables(mode) if v.name in given}
        batch = {t.name: given[t.name] for t in spec.batch_inputs(mode)}
        outputs, new = model.forward(
            spec.config, {**variables, **parameters}, batch, given.__getitem__, mode == "training"
        )
        return (model.loss(spec.config, outputs, batch) if mode == "training" else outputs), new

    with jax.enable_x64(True):
        given = {name: jnp.asarray(value) for name, value in values.items()}
        if mode == "inference":
            outputs, new = jax.jit(run, compiler_options=QUICK)(parameters, given)
            return outputs, new, {}
        step = jax.jit(jax.value_and_grad(run, has_aux=True), compiler_options=QUICK)
        (loss, new), gradients = step(parameters, given)
        return {"loss": loss}, new, gradients


def close(actual, expected, name: str) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-10 * scale, err_msg=name)


@pytest.mark.parametrize("name", WORKLOADS)
def test_inference_is_pytorch_s(name) -> None:
    spec = workload(name, "tiny")
    values = drawn(spec, "inference")
    outputs, new, _ = by_jax(spec, "inference", values)
    assert not new
    expected = TorchReference(spec, "inference", "float64").step(values).outputs
    for output in spec.outputs:
        close(outputs[output.name], expected[output.name], output.name)


@pytest.mark.parametrize("name", WORKLOADS)
def test_training_is_pytorch_s(name) -> None:
    spec = workload(name, "tiny")
    values = drawn(spec, "training")
    outputs, new, gradients = by_jax(spec, "training", values)
    slots = {t.name: np.zeros(t.shape) for t in spec.interface("training", "input").inputs if t.name not in values}
    expected = TorchReference(spec, "training", "float64").step({**slots, **values})
    close(outputs["loss"], expected.outputs["loss"], "loss")
    assert set(new) == {b.name for b in spec.buffers}
    for buffer in spec.buffers:
        close(new[buffer.name], expected.outputs[buffer.next.name], buffer.name)
    assert set(gradients) == {p.name for p in spec.parameters}
    for parameter in spec.parameters:
        assert np.abs(expected.gradients[parameter.name]).max() > 0
        close(gradients[parameter.name], expected.gradients[parameter.name], parameter.name)
