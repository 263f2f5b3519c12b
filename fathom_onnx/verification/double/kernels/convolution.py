"""Convolution and its transpose at any rank, stride, dilation and number of groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fathom_onnx.workloads.contract import Array

from .define import operator
from .windows import Windows, place

__all__ = ["OPERATORS"]

_CHUNK = 1 << 24
"""Elements of windows that are copied at a time for a matrix product (128 MiB)."""


def _convolve(x: Array, w: Array, groups: int, windows: Windows) -> Array:
    """Products of the filters [M, C/G, *kernel] with the windows of x [N, C, *size]: [N, M, *count]."""
    values = windows.of(x)
    n, filters = x.shape[0], w.shape[0]
    positions, taps = int(np.prod(windows.count)), int(np.prod(w.shape[1:]))
    matrices = w.reshape(groups, filters // groups, taps)
    made = np.empty((n, filters, positions), x.dtype)
    chunk = max(1, _CHUNK // max(1, x.shape[1] * positions * int(np.prod(windows.kernel))))
    rank = len(windows.count)
    # [n, G, C/G, *count, *kernel] to [n, G, C/G, *kernel, *count]
    order = (0, 1, 2, *range(3 + rank, 3 + 2 * rank), *range(3, 3 + rank))
    for start in range(0, n, chunk):
        part = values[start : start + chunk]
        grouped = part.reshape(part.shape[0], groups, -1, *part.shape[2:]) if groups > 1 else part[:, None]
        columns = grouped.transpose(order).reshape(part.shape[0], groups, taps, positions)
        made[start : start + chunk] = (matrices @ columns).reshape(part.shape[0], filters, positions)
    return made.reshape(n, filters, *windows.count)


def _with_bias(y: Array, bias: Array | None) -> Array:
    return y if bias is None else y + bias.reshape(-1, *[1] * (y.ndim - 2))


def _conv(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    auto_pad: str | None = None,
    dilations: Sequence[int] | None = None,
    group: int | None = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    **_: Any,
) -> Array:
    windows = place(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    return _with_bias(_convolve(x, w, group or 1, windows), bias)


def _conv_transpose(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    auto_pad: str | None = None,
    dilations: Sequence[int] | None = None,
    group: int | None = 1,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    **_: Any,
) -> Array:
    rank, groups = x.ndim - 2, group or 1
    steps, spread = strides or [1] * rank, dilations or [1] * rank
    further = output_padding or [0] * rank
    sides = []
    for i in range(rank):
        reach = (w.shape[2 + i] - 1) * spread[i] + 1
        full = (x.shape[2 + i] - 1) * steps[i] + reach + further[i]
        before, after = (pads[i], pads[rank + i]) if pads else (0, 0)
        if output_shape or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            size = output_shape[len(output_shape) - rank + i] if output_shape else x.shape[2 + i] * steps[i]
            total = max(full - size, 0)
            small, large = total // 2, total - total // 2
            before, after = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        # a convolution of what lies apart by the stride, padded so that every product is in it, and then cropped
        sides.append((reach - 1 - before, reach - 1 - after + further[i]))
    apart = np.zeros((*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], steps, strict=True))), x.dtype)
    apart[(slice(None), slice(None), *(slice(None, None, s) for s in steps))] = x
    # [C, M/G, *kernel] to [M, C/G, *kernel], mirrored
    split = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]).swapaxes(1, 2)
    filters = np.flip(split.reshape(groups * w.shape[1], -1, *w.shape[2:]), tuple(range(2, 2 + rank)))
    flat = [a for a, _ in sides] + [b for _, b in sides]
    windows = place(apart.shape[2:], w.shape[2:], None, spread, flat)
    return _with_bias(_convolve(apart, np.ascontiguousarray(filters), groups, windows), bias)


OPERATORS = (operator("Conv", _conv), operator("ConvTranspose", _conv_transpose))
"""Conv: the evaluator's goes through windows one by one. ConvTranspose: its has no groups."""
