"""Pooling at any rank: the largest, the mean and the norm of each window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fathom_onnx.workloads.contract import Array

from .define import operator
from .windows import place

__all__ = ["OPERATORS"]


def _max_pool(
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str | None = None,
    ceil_mode: int | None = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int | None = 0,
    strides: Sequence[int] | None = None,
    **_: Any,
) -> tuple[Array, Array]:
    windows = place(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    integer = np.issubdtype(x.dtype, np.integer)
    values = windows.of(x, np.iinfo(x.dtype).min if integer else -np.inf)
    flat = values.reshape(*values.shape[: x.ndim], -1)
    first = flat.argmax(-1)
    # the winner's place in the image, along each axis, and then in the whole tensor
    taps = np.unravel_index(first, windows.kernel)
    index = np.zeros(first.shape, np.int64)
    axes = range(len(windows.size))
    for axis in axes if not storage_order else reversed(axes):
        shape = [1] * first.ndim
        shape[2 + axis] = -1
        starts = (np.arange(windows.count[axis]) * windows.strides[axis] - windows.pads[axis][0]).reshape(shape)
        index = index * windows.size[axis] + starts + taps[axis] * windows.dilations[axis]
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * len(windows.size))
    return np.take_along_axis(flat, first[..., None], -1)[..., 0], index + planes * int(np.prod(windows.size))


def _average_pool(
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str | None = None,
    ceil_mode: int | None = 0,
    count_include_pad: int | None = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    **_: Any,
) -> Array:
    windows = place(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    axes = tuple(range(x.ndim, 2 * x.ndim - 2))
    mean: Array = windows.of(x).sum(axes) / windows.inside(bool(count_include_pad))
    return mean


def _lp_pool(
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str | None = None,
    ceil_mode: int | None = 0,
    dilations: Sequence[int] | None = None,
    p: int | None = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    **_: Any,
) -> Array:
    windows = place(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    order = p or 2
    norm: Array = (np.abs(windows.of(x)) ** order).sum(tuple(range(x.ndim, 2 * x.ndim - 2))) ** (1 / order)
    return norm


OPERATORS = (
    operator("MaxPool", _max_pool),
    operator("AveragePool", _average_pool),
    operator("LpPool", _lp_pool),
)
"""The evaluator's go through windows one by one, and disagree with onnxruntime where sizes are rounded up."""
