"""Convolutions and transposed convolutions with any number of sides, forward and backward: aten operation to ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch

from fathom_exporters.lowering.values import static_shape
from fathom_exporters.torch.translate.emit import gradient, ints, op, spread, window_attributes

__all__ = ["CONVOLUTION", "unrequested"]

_aten = torch.ops.aten


def unrequested() -> ir.Value:
    """A stand-in for an output that ``output_mask`` does not request; nothing uses it."""
    return op.Constant(value_float=0.0)


def _window(
    w: ir.Value, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> dict[str, Any]:
    """The attributes of a convolution by ``w``."""
    kernel = static_shape(w)[2:]
    numbers = (spread(values, len(kernel)) for values in (stride, padding, dilation))
    return {**window_attributes(kernel, *numbers), "group": groups}


def convolution(
    x: ir.Value,
    w: ir.Value,
    bias: ir.Value | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> ir.Value:
    """Convolution -> Conv or ConvTranspose."""
    window = _window(w, stride, padding, dilation, groups)
    if not transposed:
        return op.Conv(x, w, bias, **window)
    sides = len(window["kernel_shape"])
    more, ends = spread(output_padding, sides), window["pads"][sides:]
    if any(m >= s for m, s in zip(more, window["strides"], strict=True)):
        # readers take less output padding than a stride; with a dilation it may be more: less is removed at the end
        window["pads"][sides:] = [max(e - m, 0) for e, m in zip(ends, more, strict=True)]
        more = [max(m - e, 0) for e, m in zip(ends, more, strict=True)]
        if any(m >= s for m, s in zip(more, window["strides"], strict=True)):
            raise ValueError("output_padding of a stride or more than the padding has no form in ONNX; use less")
    return op.ConvTranspose(x, w, bias, output_padding=more, **window)


def convolution_backward(
    dy: ir.Value,
    x: ir.Value,
    w: ir.Value,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """The gradients of a convolution for its input, filter and bias -> Conv2DBackInput, Conv2DBackFilter, ReduceSum.

    A transposed convolution is the input gradient of a convolution from ``y`` to ``x``. So the gradient for its input
    is that convolution, Conv, and the gradient for its filter is that convolution's, with ``x`` and ``dy`` swapped.
    """
    window = _window(w, stride, padding, dilation, groups)
    dx = dw = unrequested()
    if output_mask[0] and transposed:
        dx = _forward(dy, w, window, static_shape(x)[2:])
    elif output_mask[0]:
        dx = gradient.Conv2DBackInput(dy, w, **window, input_shape=static_shape(x))
    if output_mask[1]:
        dw = gradient.Conv2DBackFilter(*((x, dy) if transposed else (dy, x)), **window)
    axes = op.Constant(value_ints=[0, *range(2, len(static_shape(dy)))])
    db = op.ReduceSum(dy, axes, keepdims=0) if output_mask[2] else unrequested()
    return dx, dw, db


def _forward(image: ir.Value, w: ir.Value, window: dict[str, Any], out: Sequence[int]) -> ir.Value:
    """The convolution whose input gradient a transposed convolution is, at ``out`` positions.

    Output padding adds rows at the end of the image that not every window reaches: they are no padding, or cut off.
    """
    size, rank = static_shape(image)[2:], len(out)
    rows, channels = static_shape(image)[0], static_shape(w)[0]
    sides = zip(out, window["strides"], window["kernel_shape"], window["dilations"], strict=True)
    reach = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in sides]
    starts = window["pads"][:rank]
    ends = [r - n - p for r, n, p in zip(reach, size, starts, strict=True)]
    if min(ends) < 0:
        kept = [n + min(e, 0) for n, e in zip(size, ends, strict=True)]
        if min(kept) <= 0:  # no output shows what the input reaches
            return op.Expand(op.CastLike(op.Constant(value_float=0.0), image), ints(rows, channels, *out))
        image = op.Slice(image, ints(*[0] * rank), ints(*kept), ints(*range(2, 2 + rank)))
    return op.Conv(image, w, **{**window, "pads": [*starts, *(max(e, 0) for e in ends)]})


CONVOLUTION: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten.convolution.default: convolution,
    _aten.convolution_backward.default: convolution_backward,
}
"""aten operation of convolutions to the function that writes it in ONNX."""
