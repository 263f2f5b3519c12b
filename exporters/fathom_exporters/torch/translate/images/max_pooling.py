"""Pools of the largest element, with one, two or three sides, forward and backward: aten operation to ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from fathom_exporters.lowering.values import static_shape
from fathom_exporters.torch.translate.emit import (
    array,
    element_type,
    gradient,
    ints,
    op,
    ops,
    reshaped,
    spread,
    window_attributes,
)

from .pool_windows import adaptive_windows, batched, equal_windows, like, windows_along

__all__ = ["MAX_POOLING"]

_aten = torch.ops.aten


def _max_window(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> dict[str, list[int]]:
    """A window's attributes. What ``ceil_mode`` adds is padding at the ends, which needs no attribute of its own."""
    sides = len(size)
    kernel = spread(kernel, sides)
    stride = spread(stride, sides) or kernel
    padding, dilation = spread(padding, sides, 0), spread(dilation, sides, 1)
    window = window_attributes(kernel, stride, padding, dilation)
    if ceil_mode:
        rows = list(zip(size, kernel, stride, padding, dilation, strict=True))
        out = [windows_along(*row, ceil_mode=True) for row in rows]
        reach = [(o - 1) * s + (k - 1) * d + 1 for o, (_, k, s, _, d) in zip(out, rows, strict=True)]
        window["pads"][sides:] = [max(r - n - p, 0) for r, n, p in zip(reach, size, padding, strict=True)]
    return window


def _bordered(x: ir.Value, window: dict[str, list[int]]) -> tuple[ir.Value, list[int], dict[str, list[int]]]:
    """Where a window has a border of its kernel's size or more, which onnxruntime refuses: the image with a border.

    Returns:
        The image, what its border adds at the start of each side, and the window as it is in that image.
    """
    sides = len(window["kernel_shape"])
    pads = window["pads"]
    if all(p < k for p, k in zip(pads, window["kernel_shape"] * 2, strict=True)):
        return x, [0] * sides, window
    starts, ends = pads[:sides], pads[sides:]
    size = static_shape(x)
    lowest = array(np.array(np.finfo(element_type(x)).min), x)
    image = op.Pad(x, ints(0, 0, *starts, 0, 0, *ends), lowest)
    whole = [n + p + q for n, p, q in zip(size[2:], starts, ends, strict=True)]
    image.shape, image.type = ir.Shape([*size[:2], *whole]), x.type
    return image, starts, {**window, "pads": [0] * 2 * sides}


def _in_channel(indices: ir.Value, size: Sequence[int], whole: Sequence[int], starts: Sequence[int]) -> ir.Value:
    """ONNX's flat indices into images of sides ``whole`` as aten's, into a channel of sides ``size``."""
    left = op.Mod(indices, op.Constant(value_int=math.prod(whole)))
    if list(size) == list(whole):
        return left
    place = None
    for side, n in enumerate(size):
        below = op.Constant(value_int=math.prod(whole[side + 1 :]))
        at = op.Sub(op.Div(left, below), op.Constant(value_int=starts[side]))
        left = op.Mod(left, below)
        place = at if place is None else op.Add(op.Mul(place, op.Constant(value_int=n)), at)
    assert place is not None
    return place


def _max_pool(sides: int) -> Callable[..., tuple[ir.Value, ir.Value]]:
    def max_pool(
        x: ir.Value,
        kernel: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (),
        dilation: Sequence[int] = (),
        ceil_mode: bool = False,
    ) -> tuple[ir.Value, ir.Value]:
        """max_pool2d_with_indices -> MaxPool with its indices, which aten counts in each channel by itself."""
        size = static_shape(x)[-sides:]
        window = _max_window(size, kernel, stride, padding, dilation, ceil_mode)
        image, starts, window = _bordered(batched(x, sides), window)
        y, indices = ops.MaxPool(image, **window, ceil_mode=0)
        place = _in_channel(indices, size, static_shape(image)[2:], starts)
        return like(y, x, sides), like(place, x, sides)

    return max_pool


def _max_pool_backward(sides: int) -> Callable[..., ir.Value]:
    def max_pool_backward(
        dy: ir.Value,
        x: ir.Value,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        ceil_mode: bool,
        indices: ir.Value,
    ) -> ir.Value:
        """max_pool2d_with_indices_backward -> MaxPoolGrad."""
        size = static_shape(x)[-sides:]
        window = _max_window(size, kernel, stride, padding, dilation, ceil_mode)
        image, starts, window = _bordered(batched(x, sides), window)
        dx = gradient.MaxPoolGrad(batched(dy, sides), image, **window)
        if static_shape(image)[2:] != size:
            dx.shape, dx.type = image.shape, image.type
            ends = [s + n for s, n in zip(starts, size, strict=True)]
            dx = op.Slice(dx, ints(*starts), ints(*ends), ints(*range(2, 2 + sides)))
        return like(dx, x, sides)

    return max_pool_backward


def _max_unpool(sides: int) -> Callable[..., ir.Value]:
    def max_unpool(x: ir.Value, indices: ir.Value, output_size: Sequence[int], *rest: Any) -> ir.Value:
        """max_unpool2d -> ScatterElements of each channel."""
        shape = static_shape(x)
        channels, count = math.prod(shape[:-sides]), math.prod(shape[-sides:])
        whole = op.ConstantOfShape(
            ints(channels, math.prod(output_size)), value=ir.tensor(np.zeros(1, element_type(x)))
        )
        rows = (op.Reshape(value, ints(channels, count)) for value in (indices, x))
        return op.Reshape(op.ScatterElements(whole, *rows, axis=1), ints(*shape[:-sides], *output_size))

    return max_unpool


# ---- windows that share a side's elements out


def _adaptive_max_pool(sides: int) -> Callable[..., tuple[ir.Value, ir.Value]]:
    def adaptive_max_pool(x: ir.Value, output_size: Sequence[int]) -> tuple[ir.Value, ir.Value]:
        """adaptive_max_pool2d -> MaxPool or, with windows that differ, their gathered elements' ArgMax.

        A window of fewer elements than the largest repeats its last one, which changes neither the largest element nor
        the first place that has it.
        """
        shape = static_shape(x)
        head, size, out = shape[:-sides], shape[-sides:], spread(output_size, sides)
        kernel = equal_windows(size, out)
        if kernel is not None:
            return _max_pool(sides)(x, kernel)
        channels, widest = math.prod(head), []
        windows, axis = reshaped(x, [channels, *size]), 1
        places = np.arange(math.prod(size)).reshape(size)
        for n, o in zip(size, out, strict=True):  # [channels, out, widest, ...] side by side
            ranges = adaptive_windows(n, o)
            widest.append(max(len(r) for r in ranges))
            picked = np.array([[r[min(i, len(r) - 1)] for i in range(widest[-1])] for r in ranges])
            windows = op.Gather(windows, op.Constant(value=ir.tensor(picked)), axis=axis)
            places = places.take(picked, axis=axis - 1)
            axis += 2
        outer, inner = range(0, 2 * sides, 2), range(1, 2 * sides, 2)
        rows, elements = math.prod(out), math.prod(widest)
        moved = op.Transpose(windows, perm=[0, *(a + 1 for a in outer), *(a + 1 for a in inner)])
        windows = op.Reshape(moved, ints(channels, rows, elements))
        places = places.transpose(*outer, *inner).reshape(1, rows, elements)
        first = op.ArgMax(windows, axis=2, keepdims=1)
        everywhere = op.Expand(op.Constant(value=ir.tensor(places)), ints(channels, rows, elements))
        indices = op.GatherElements(everywhere, first, axis=2)
        y = op.GatherElements(windows, first, axis=2)
        return op.Reshape(y, ints(*head, *out)), op.Reshape(indices, ints(*head, *out))

    return adaptive_max_pool


def _adaptive_max_pool_backward(sides: int) -> Callable[..., ir.Value]:
    def adaptive_max_pool_backward(dy: ir.Value, x: ir.Value, indices: ir.Value) -> ir.Value:
        """adaptive_max_pool2d_backward -> MaxPoolGrad or, with windows that overlap, dy added where indices point."""
        shape, out = static_shape(x), static_shape(dy)[-sides:]
        kernel = equal_windows(shape[-sides:], out)
        if kernel is not None:
            return _max_pool_backward(sides)(dy, x, kernel, kernel, [], [], False, indices)
        channels, size = math.prod(shape[:-sides]), math.prod(shape[-sides:])
        zeros = op.ConstantOfShape(ints(channels, size), value=ir.tensor(np.zeros(1, element_type(x))))
        rows = (op.Reshape(value, ints(channels, math.prod(out))) for value in (indices, dy))
        return op.Reshape(op.ScatterElements(zeros, *rows, axis=1, reduction="add"), ints(*shape))

    return adaptive_max_pool_backward


MAX_POOLING: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten.max_pool2d_with_indices.default: _max_pool(2),
    _aten.max_pool3d_with_indices.default: _max_pool(3),
    _aten.max_pool2d_with_indices_backward.default: _max_pool_backward(2),
    _aten.max_pool3d_with_indices_backward.default: _max_pool_backward(3),
    _aten.max_unpool2d.default: _max_unpool(2),
    _aten.max_unpool3d.default: _max_unpool(3),
    _aten.adaptive_max_pool2d.default: _adaptive_max_pool(2),
    _aten.adaptive_max_pool3d.default: _adaptive_max_pool(3),
    _aten.adaptive_max_pool2d_backward.default: _adaptive_max_pool_backward(2),
    _aten.adaptive_max_pool3d_backward.default: _adaptive_max_pool_backward(3),
}
"""aten operation of pools of the largest element to the function that writes it in ONNX."""
