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


def _order(p: Any, rank: int) -> list[int] | None:
    """The axes of images as [N, C, *size], where a window is of their sides alone, without gaps; None where it is not.

    Images are [N, C, *size] or [N, *size, C].
    """
    dimensions, strides, padding = p["window_dimensions"], p["window_strides"], p["padding"]
    if not 3 <= rank <= 5 or any(gap != 1 for gap in p.get("base_dilation") or ()):
        return None

    def alone(axis: int) -> bool:
        return dimensions[axis] == strides[axis] == 1 and tuple(padding[axis]) == (0, 0)

    sides = [axis for axis in range(1, rank) if not alone(axis)]
    if not alone(0) or any(min(padding[axis]) < 0 or max(padding[axis]) >= dimensions[axis] for axis in sides):
        return None
    if alone(1):
        return list(range(rank))
    return [0, rank - 1, *range(1, rank - 1)] if alone(rank - 1) else None


def _window(p: Any, order: Sequence[int]) -> dict[str, Any]:
    """The window over the sides of images as attributes."""
    sides = order[2:]
    low, high = zip(*(p["padding"][axis] for axis in sides), strict=True)
    dilations = p.get("window_dilation") or [1] * len(order)
    return {
        "kernel_shape": [p["window_dimensions"][axis] for axis in sides],
        "strides": [p["window_strides"][axis] for axis in sides],
        "dilations": [dilations[axis] for axis in sides],
        "pads": [*low, *high],
    }


def _of_images(e: Emit, q: Equation, order: Sequence[int], write: Callable[..., Value], *given: Value) -> Value:
    """What is written of images [N, C, *size], with the axes of the equation."""
    op, e.op = e.op, "Transpose"
    images = [e.transpose(x, order) for x in given]
    e.op = op
    made = write(*images, shape=[q.shape[axis] for axis in order])
    e.op = "Transpose"
    result: Value = e.transpose(made, sorted(range(len(order)), key=lambda axis: order[axis]))
    e.op = op
    return result


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
    order = _order(q.params, len(q.shape))
    if order is None:
        return _each_axis(e, q, -math.inf, _joined(e, q, "Max"))
    window = _window(q.params, order)

    def write(x: Value, shape: Sequence[int]) -> Value:
        return e.node("MaxPool", x, shape=shape, dtype=q.dtype, **window)

    return _of_images(e, q, order, write, q.given[0])


def _smallest(e: Emit, q: Equation) -> Value:
    return _each_axis(e, q, math.inf, _joined(e, q, "Min"))


def _sum(e: Emit, q: Equation) -> Value:
    """A mean of each window times its elements, where it is of an image; else sums of slices."""
    if e.in_backward:
        e.op = "AvgPoolGrad"
    order = _order(q.params, len(q.shape))
    if order is None or e.in_backward or set(_window(q.params, order)["dilations"]) != {1}:
        return _each_axis(e, q, 0, _joined(e, q, "Sum"))
    window = _window(q.params, order)
    window.pop("dilations")

    def write(x: Value, shape: Sequence[int]) -> Value:
        mean = e.node("AveragePool", x, count_include_pad=1, shape=shape, dtype=q.dtype, **window)
        return e.pointwise("Mul", mean, e.number(math.prod(window["kernel_shape"]), mean))

    return _of_images(e, q, order, write, q.given[0])


def _max_pool_gradient(e: Emit, q: Equation) -> Value:
    """The gradient of the largest of each window: the first largest element takes it."""
    order = _order(q.params, len(q.shape))
    if getattr(q.params["select_prim"], "name", "") != "ge" or order is None:
        raise UnknownError("no translation of it but for the largest of windows of images")
    e.op = "MaxPoolGrad"
    window = _window(q.params, order)

    def write(dy: Value, x: Value, shape: Sequence[int]) -> Value:
        return e.gradient("MaxPoolGrad", dy, x, shape=shape, dtype=dtype_of(x), **window)

    return _of_images(e, q, order, write, *q.given[:2])


WINDOWS: dict[str, Rule] = {
    "reduce_window_max": _largest,
    "reduce_window_min": _smallest,
    "reduce_window_sum": _sum,
    "select_and_scatter_add": _max_pool_gradient,
}
"""Primitive to its rule."""
