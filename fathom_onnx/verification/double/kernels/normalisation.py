"""Normalisations, with statistics in the type of their input."""

from __future__ import annotations

from typing import Any

import numpy as np

from fathom_onnx.workloads.contract import Array

from .define import operator

__all__ = ["OPERATORS"]


def _channels(values: Array, rank: int) -> Array:
    return values.reshape(1, -1, *[1] * (rank - 2))


def _layer(
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int | None = -1,
    epsilon: float | None = 1e-5,
    **_: Any,
) -> tuple[Array, Array, Array]:
    axes = tuple(range((-1 if axis is None else axis) % x.ndim, x.ndim))
    mean = x.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + (epsilon or 0))
    y = (x - mean) * inverse * scale
    return (y if bias is None else y + bias, mean, inverse)


def _root_mean_square(
    x: Array, scale: Array, *, axis: int | None = -1, epsilon: float | None = 1e-5, **_: Any
) -> Array:
    axes = tuple(range((-1 if axis is None else axis) % x.ndim, x.ndim))
    y: Array = x / np.sqrt((x * x).mean(axes, keepdims=True) + (epsilon or 0)) * scale
    return y


def _instance(x: Array, scale: Array, bias: Array, *, epsilon: float | None = 1e-5, **_: Any) -> Array:
    axes = tuple(range(2, x.ndim))
    apart = x - x.mean(axes, keepdims=True)
    y: Array = apart / np.sqrt((apart * apart).mean(axes, keepdims=True) + (epsilon or 0))
    return y * _channels(scale, x.ndim) + _channels(bias, x.ndim)


def _group(x: Array, scale: Array, bias: Array, *, num_groups: int, epsilon: float | None = 1e-5, **_: Any) -> Array:
    split = x.reshape(x.shape[0], num_groups, -1)
    apart = split - split.mean(2, keepdims=True)
    y = (apart / np.sqrt((apart * apart).mean(2, keepdims=True) + (epsilon or 0))).reshape(x.shape)
    if scale.size != x.shape[1]:  # one a group, as opset 18 has it
        scale, bias = (np.repeat(v, x.shape[1] // num_groups) for v in (scale, bias))
    made: Array = y * _channels(scale, x.ndim) + _channels(bias, x.ndim)
    return made


def _local_response(
    x: Array,
    *,
    size: int,
    alpha: float | None = 1e-4,
    beta: float | None = 0.75,
    bias: float | None = 1.0,
    **_: Any,
) -> Array:
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    squares = np.pad(x * x, [(0, 0), (before, after)] + [(0, 0)] * (x.ndim - 2))
    total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    y: Array = x / ((bias or 0) + (alpha or 0) / size * total) ** (0 if beta is None else beta)
    return y


OPERATORS = (
    operator("LayerNormalization", _layer),
    operator("RMSNormalization", _root_mean_square),
    operator("InstanceNormalization", _instance),
    operator("GroupNormalization", _group),
    operator("LRN", _local_response),
)
"""The evaluator computes some statistics in float32, and goes through the channels of LRN one by one."""
