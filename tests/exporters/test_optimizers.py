"""Update rules and the treatment of gradients: each framework against numpy in float64."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch

from fathom_exporters.jax import optimizers as jax_optimizers
from fathom_exporters.tensorflow import optimizers as tensorflow_optimizers
from fathom_exporters.tensorflow.net import Net
from fathom_exporters.torch.built.optimizers import optimizer_of, slots_of
from fathom_exporters.torch.stepping import updated
from fathom_exporters.torch.stepping.gradients import treat
from fathom_exporters.torch.stepping.subject import Subject
from fathom_onnx.workloads.contract import (
    RATE,
    Adam,
    AdamW,
    GradientDescent,
    Gradients,
    Initialiser,
    Noise,
    RMSProp,
    Variable,
)

RNG = np.random.default_rng(0)
SHAPES = {"table.weight": (4, 3), "fc.bias": (5,)}
VALUES = {name: RNG.normal(size=shape) for name, shape in SHAPES.items()}
GRADIENTS = {name: RNG.normal(size=shape) * 10 for name, shape in SHAPES.items()}
NOISE = {f"{name}.gradient_noise": RNG.normal(size=shape) for name, shape in SHAPES.items()}


def with_torch(workload, values) -> dict[str, np.ndarray]:
    """By the optimizer that is recorded, through its twin."""
    workload = SimpleNamespace(
        **vars(workload), parameters=[Variable(name, shape, Initialiser.constant(0)) for name, shape in SHAPES.items()]
    )
    tensors = {name: torch.tensor(value) for name, value in values.items()}
    own = {name: torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for name, shape in SHAPES.items()}
    subject = Subject(
        model=torch.nn.Identity(),
        workload=workload,
        paths={},
        parameters=own,
        forward=None,
        loss=None,
        optimizer=optimizer_of(workload, own.values()),
        slots=slots_of(workload),
        options={(0, "lr"): RATE} if RATE in values else {},
    )
    leaves = {name: tensors[name].clone().requires_grad_(True) for name in SHAPES}

    def mark(_: dict[str, str]) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    gradients = {name: torch.tensor(gradient) for name, gradient in GRADIENTS.items()}
    treated = treat(workload.gradients, tensors, gradients, lambda scope, op: contextlib.nullcontext())
    for name, leaf in leaves.items():
        leaf.grad = treated[name]
    new = updated(subject, leaves, tensors, mark, recorded=True)
    return {name: value.numpy() for name, value in new.items()}


def with_tensorflow(workload, values) -> dict[str, np.ndarray]:
    workload = SimpleNamespace(**vars(workload), row_gradients={})
    tensors = {name: tf.constant(value) for name, value in values.items()}
    noise = {n: Noise(n, v.shape) for n, v in NOISE.items()}
    given = {n: tensors[n] for n in noise if n in tensors}
    net = Net(variables=tensors, mode="training", given_noise=given, noise=noise, phase="optimizer")
    new = tensorflow_optimizers.apply(net, workload, tensors, {n: tf.constant(g) for n, g in GRADIENTS.items()})
    return {name: value.numpy() for name, value in new.items()}


def with_jax(workload, values) -> dict[str, np.ndarray]:
    parameters = [Variable(name, shape, Initialiser.constant(0)) for name, shape in SHAPES.items()]
    workload = SimpleNamespace(**vars(workload), parameters=parameters)
    with jax.enable_x64(True):
        given = {name: jnp.asarray(value) for name, value in values.items()}
        gradients = {name: jnp.asarray(gradient) for name, gradient in GRADIENTS.items()}
        new = jax_optimizers.apply(workload, given, gradients, given.__getitem__)
        return {name: np.asarray(value) for name, value in new.items()}


APPLY = pytest.mark.parametrize("apply", [with_torch, with_tensorflow, with_jax], ids=["torch", "tensorflow", "jax"])


@APPLY
def test_plain_descent(apply) -> None:
    new = apply(SimpleNamespace(gradients=Gradients(), optimizer=GradientDescent(0.5)), VALUES)
    for name, value in VALUES.items():
        np.testing.assert_allclose(new[name], value - 0.5 * GRADIENTS[name], rtol=1e-12)


@APPLY
@pytest.mark.parametrize("rule", [GradientDescent(0.5), RMSProp(0.5), Adam(0.5), AdamW(0.5, weight_decay=0.1)])
def test_a_learning_rate_that_is_given_takes_the_place_of_the_rules_own(apply, rule) -> None:
    variables = [Variable(name, shape, Initialiser.constant(0)) for name, shape in SHAPES.items()]
    state = {v.name: np.full(v.shape, 0.25) for v in rule.variables(tuple(variables))}
    values = {**VALUES, **state, RATE: np.float64(0.125)}
    new = apply(SimpleNamespace(gradients=Gradients(), optimizer=rule), values)
    expected = apply(
        SimpleNamespace(gradients=Gradients(), optimizer=replace(rule, learning_rate=0.125)),
        {**VALUES, **state},
    )
    for name, value in expected.items():
        np.testing.assert_allclose(new[name], value, rtol=1e-12)
    assert any(np.abs(value - VALUES[name]).max() > 0.01 for name, value in new.items() if name in VALUES)


@APPLY
def test_rmsprop_has_epsilon_inside_the_root(apply) -> None:
    rule = RMSProp(1e-2)
    state = {f"{name}.rmsprop_v": np.full(shape, 0.25) for name, shape in SHAPES.items()}
    new = apply(SimpleNamespace(gradients=Gradients(), optimizer=rule), {**VALUES, **state})
    for name, value in VALUES.items():
        v = 0.95 * 0.25 + 0.05 * GRADIENTS[name] ** 2
        np.testing.assert_allclose(new[f"{name}.rmsprop_v"], v, rtol=1e-12)
        np.testing.assert_allclose(new[name], value - 1e-2 * GRADIENTS[name] / np.sqrt(v + 0.01), rtol=1e-12)


@APPLY
def test_global_norm_clipping_scales_all_alike_and_only_down(apply) -> None:
    norm = np.sqrt(sum((g**2).sum() for g in GRADIENTS.values()))
    for clip, scale in ((5.0, 5.0 / norm), (1e6, 1.0)):
        rule = SimpleNamespace(gradients=Gradients(clip_global_norm=clip), optimizer=GradientDescent(1.0))
        new = apply(rule, VALUES)
        for name, value in VALUES.items():
            np.testing.assert_allclose(new[name], value - scale * GRADIENTS[name], rtol=1e-12)


@APPLY
def test_clip_then_noise_then_zero_row(apply) -> None:
    gradients = Gradients(clip_norm=4.0, noise=0.1, zero_rows=(("table.weight", 0),))
    new = apply(SimpleNamespace(gradients=gradients, optimizer=GradientDescent(1.0)), {**VALUES, **NOISE})
    for name, value in VALUES.items():
        g = GRADIENTS[name]
        treated = g * min(1.0, 4.0 / np.sqrt((g**2).sum())) + 0.1 * NOISE[f"{name}.gradient_noise"]
        if name == "table.weight":
            treated[0] = 0
            np.testing.assert_array_equal(new[name][0], value[0])
        np.testing.assert_allclose(new[name], value - treated, rtol=1e-12)


@APPLY
@pytest.mark.parametrize(("rule", "kept"), [(Adam(1e-2), 1.0), (AdamW(1e-2, weight_decay=0.5), 1 - 1e-2 * 0.5)])
def test_adam(apply, rule, kept) -> None:
    state = {slot: np.full(SHAPES[n], 0.5) for n in SHAPES for slot in rule.slots(n)}
    state[rule.STEP] = np.array(3.0)
    new = apply(SimpleNamespace(gradients=Gradients(), optimizer=rule), {**VALUES, **state})
    assert float(new[rule.STEP]) == 4.0
    for name, value in VALUES.items():
        m = 0.9 * 0.5 + 0.1 * GRADIENTS[name]
        v = 0.999 * 0.5 + 0.001 * GRADIENTS[name] ** 2
        step = 1e-2 * (m / (1 - 0.9**4)) / (np.sqrt(v / (1 - 0.999**4)) + 1e-8)
        np.testing.assert_allclose(new[name], kept * value - step, rtol=1e-9)
