"""Windows that slide over an image, or over any axes: their largest, their sums, and the gradients of these."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .emit import Emit
from .moves import pad
from .registry import Equation, Rule, UnknownError
from .values import Value, dtype_of, shape_of

__all__ = ["WINDOWS"]


def _of_image(p: Any, rank: int) -> bool:
    """Whether a window is of the sides of images [N, C, *size] alone, without gaps in the image."""
    dimensions, strides, padding = p["window_dimensions"], p["window_strides"], p["padding"]
    gaps = p.get("base_dilation") or [1] * rank
    return (
        3 <= rank <= 5
        and tuple(dimensions[:2]) == tuple(strides[:2]) == (1, 1)
        and all(tuple(side) == (0, 0) for side in padding[:2])
        and all(gap == 1 for gap in gaps)
        and all(min(side) >= 0 and max(side) < length for side, length in zip(padding[2:], dimensions[2:], strict=True))
    )


def _window(p: Any) -> dict[str, Any]:
    low, high = zip(*p["padding"], strict=True)
    dilations = list(p.get("window_dilation") or [1] * len(low))
    return {
        "kernel_shape": list(p["window_dimensions"][2:]),
        "strides": list(p["window_strides"][2:]),
        "dilations": dilations[2:],
        "pads": [*low[2:], *high[2:]],
    }


def _each_axis(e: Emit, q: Equation, filler: float, join: Callable[[Sequence[Value]], Value]) -> Value:
    """Windows of any axes, one axis after the other: the elements of each window are slices of the padded tensor."""
    p, x = q.params, q.given[0]
    rank = len(q.shape)
    gaps = p.get("base_dilation") or [1] * rank
    apart = p.get("window_dilation") or [1] * rank
    borders = [(int(low), int(high), int(gap) - 1) for (low, high), gap in zip(p["padding"], gaps, strict=True)]
    if any(any(border) for border in borders):
        x = pad(e, x, e.number(filler, x), borders)
    for axis, (length, stride, step) in enumerate(zip(p["window_dimensions"], p["window_strides"], apart, strict=True)):
        if length == stride == 1:
            continue
        size = list(shape_of(x))
        count = (size[axis] - (length - 1) * step - 1) // stride + 1
        parts = []
        for number in range(length):
            starts, ends, steps = [0] * rank, list(size), [1] * rank
            starts[axis], steps[axis] = number * step, stride
            ends[axis] = number * step + (count - 1) * stride + 1
            parts.append(e.slice(x, starts, ends, steps))
        x = join(parts) if len(parts) > 1 else parts[0]
    return x


def _joined(e: Emit, q: Equation, op_type: str) -> Callable[[Sequence[Value]], Value]:
    return lambda parts: e.node(op_type, *parts, shape=shape_of(parts[0]), dtype=q.dtype)


def _largest(e: Emit, q: Equation) -> Value:
    if _of_image(q.params, len(q.shape)):
        return e.node("MaxPool", q.given[0], shape=q.shape, dtype=q.dtype, **_window(q.params))
    return _each_axis(e, q, -math.inf, _joined(e, q, "Max"))


def _smallest(e: Emit, q: Equation) -> Value:
    return _each_axis(e, q, math.inf, _joined(e, q, "Min"))


def _sum(e: Emit, q: Equation) -> Value:
    """A mean of each window times its elements, where it is of an image; else sums of slices."""
    if e.in_backward:
        e.op = "AvgPoolGrad"
    window = _window(q.params)
    if _of_image(q.params, len(q.shape)) and not e.in_backward and set(window["dilations"]) == {1}:
        window.pop("dilations")
        mean = e.node("AveragePool", q.given[0], count_include_pad=1, shape=q.shape, dtype=q.dtype, **window)
        return e.pointwise("Mul", mean, e.number(math.prod(window["kernel_shape"]), mean))
    return _each_axis(e, q, 0, _joined(e, q, "Sum"))


def _max_pool_gradient(e: Emit, q: Equation) -> Value:
    """The gradient of the largest of each window: the first largest element takes it."""
    p = q.params
    dy, x = q.given[0], q.given[1]
    if getattr(p["select_prim"], "name", "") != "ge" or not _of_image(p, len(q.shape)):
        raise UnknownError("no translation of it but for the largest of windows of images")
    e.op = "MaxPoolGrad"
    return e.gradient("MaxPoolGrad", dy, x, shape=q.shape, dtype=dtype_of(x), **_window(p))


WINDOWS: dict[str, Rule] = {
    "reduce_window_max": _largest,
    "reduce_window_min": _smallest,
    "reduce_window_sum": _sum,
    "select_and_scatter_add": _max_pool_gradient,
}
"""Primitive to its rule."""
