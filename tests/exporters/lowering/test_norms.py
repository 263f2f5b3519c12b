"""Gradients of GELU, SiLU and normalisations over features and groups, beside PyTorch's and TensorFlow's in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F

from fathom_exporters.lowering.rules import RULES
from support.graphs.lowering import close, lowered

EPSILON = 1e-3


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def by_torch(function, dy: np.ndarray, *inputs: np.ndarray) -> list[np.ndarray]:
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    return [g.numpy() for g in torch.autograd.grad(function(*leaves), leaves, torch.tensor(dy))]


def by_tensorflow(function, dy: np.ndarray, *inputs: np.ndarray) -> list[np.ndarray]:
    leaves = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        y = function(*leaves)
    return [g.numpy() for g in tape.gradient(y, leaves, tf.constant(dy))]


POINTWISE = {
    "gelu": ("GeluGrad", {"tanh": 0}, F.gelu, tf.nn.gelu),
    "gelu by tanh": (
        "GeluGrad",
        {"tanh": 1},
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: tf.nn.gelu(x, approximate=True),
    ),
    "silu": ("SiluGrad", {}, F.silu, tf.nn.silu),
}


@pytest.mark.parametrize("form", RULES)
@pytest.mark.parametrize("case", POINTWISE)
def test_activations(case: str, form: str) -> None:
    op, attributes, of_torch, of_tensorflow = POINTWISE[case]
    x, dy = np.linspace(-6, 6, 60).reshape(3, 20), drawn(3, 20)
    (dx,) = lowered(op, {"dy": dy, "x": x}, [x.shape], form, **attributes)
    close(dx, by_torch(of_torch, dy, x)[0])
    close(dx, by_tensorflow(of_tensorflow, dy, x)[0])


@pytest.mark.parametrize(
    ("op", "attributes", "slope"),
    [("GeluGrad", {"tanh": 0}, 0.5), ("GeluGrad", {"tanh": 1}, 0.5), ("SiluGrad", {}, 0.5)],
)
def test_the_slope_at_zero_is_a_half(op: str, attributes: dict, slope: float) -> None:
    (dx,) = lowered(op, {"dy": np.full((1,), 3.0), "x": np.zeros((1,))}, [(1,)], **attributes)
    np.testing.assert_array_equal(dx, [3 * slope])


def statistics(rows: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    mean = rows.mean(axes, keepdims=True)
    return mean, 1 / np.sqrt(rows.var(axes, keepdims=True) + EPSILON)


def layer_norm_of_tensorflow(axes: list[int]):
    def layer_norm(x, scale, bias):
        mean, variance = tf.nn.moments(x, axes, keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, bias, scale, EPSILON)

    return layer_norm


@pytest.mark.parametrize("form", RULES)
@pytest.mark.parametrize(("shape", "features"), [((5, 6), 1), ((2, 3, 6), 1), ((2, 3, 4, 6), 2), ((7,), 1)])
def test_layer_norm(shape: tuple[int, ...], features: int, form: str) -> None:
    inner = shape[len(shape) - features :]
    x, dy, scale, bias = drawn(*shape) + 2, drawn(*shape, seed=1), drawn(*inner, seed=2), drawn(*inner, seed=3)
    axes = tuple(range(len(shape) - features, len(shape)))
    mean, inv_std = statistics(x, axes)
    inputs = {"dy": dy, "x": x, "scale": scale, "mean": mean, "inv_std": inv_std}
    found = lowered("LayerNormGrad", inputs, [shape, inner, inner], form)
    expected = by_torch(lambda x, s, b: F.layer_norm(x, inner, s, b, EPSILON), dy, x, scale, bias)
    for got, of_torch, of_tensorflow in zip(
        found, expected, by_tensorflow(layer_norm_of_tensorflow(list(axes)), dy, x, scale, bias), strict=True
    ):
        close(got, of_torch, 5e-6)
        close(got, of_tensorflow, 5e-6)


def group_norm_of_tensorflow(groups: int):
    def group_norm(x, scale, bias):
        n, c, *size = x.shape
        apart = tf.reshape(x, [n, groups, c // groups, *size])
        axes = list(range(2, len(apart.shape)))
        mean, variance = tf.nn.moments(apart, axes, keepdims=True)
        normal = tf.reshape((apart - mean) * tf.math.rsqrt(variance + EPSILON), x.shape)
        column = [c, *[1] * len(size)]
        return normal * tf.reshape(scale, column) + tf.reshape(bias, column)

    return group_norm


@pytest.mark.parametrize("form", RULES)
@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 6, 3, 4), 2), ((3, 6, 4), 3), ((2, 4, 3, 3), 4), ((2, 4, 3, 3), 1), ((5, 12), 3)]
)
def test_group_norm(shape: tuple[int, ...], groups: int, form: str) -> None:
    n, c = shape[:2]
    x, dy, scale, bias = drawn(*shape) + 2, drawn(*shape, seed=1), drawn(c, seed=2), drawn(c, seed=3)
    mean, inv_std = (s.reshape(n, groups) for s in statistics(x.reshape(n, groups, -1), (2,)))
    inputs = {"dy": dy, "x": x, "scale": scale, "mean": mean, "inv_std": inv_std}
    found = lowered("GroupNormGrad", inputs, [shape, (c,), (c,)], form)
    expected = by_torch(lambda x, s, b: F.group_norm(x, groups, s, b, EPSILON), dy, x, scale, bias)
    for got, of_torch, of_tensorflow in zip(
        found, expected, by_tensorflow(group_norm_of_tensorflow(groups), dy, x, scale, bias), strict=True
    ):
        close(got, of_torch, 5e-6)
        close(got, of_tensorflow, 5e-6)
