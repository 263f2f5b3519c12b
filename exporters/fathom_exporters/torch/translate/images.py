"""Convolution, pooling and batch normalisation, forward and backward: aten operation to ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch

from fathom_exporters.lowering.values import static_shape

from .emit import gradient, gradients, op, ops, window_attributes

__all__ = ["IMAGES"]

_aten = torch.ops.aten


def _unrequested() -> ir.Value:
    """A stand-in for an output that ``output_mask`` does not request; nothing uses it."""
    return op.Constant(value_float=0.0)


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
    window = window_attributes(static_shape(w)[2:], stride, padding, dilation)
    if transposed:
        return op.ConvTranspose(x, w, bias, output_padding=list(output_padding), **window, group=groups)
    return op.Conv(x, w, bias, **window, group=groups)


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
    """The gradients of a convolution for its input, filter and bias -> Conv2DBackInput, Conv2DBackFilter, ReduceSum."""
    if transposed:
        raise ValueError("the gradient of a transposed convolution has no canonical op")
    window: dict[str, Any] = {**window_attributes(static_shape(w)[2:], stride, padding, dilation), "group": groups}
    dx = gradient.Conv2DBackInput(dy, w, **window, input_shape=static_shape(x)) if output_mask[0] else _unrequested()
    dw = gradient.Conv2DBackFilter(dy, x, **window) if output_mask[1] else _unrequested()
    axes = op.Constant(value_ints=[0, *range(2, len(static_shape(dy)))])
    db = op.ReduceSum(dy, axes, keepdims=0) if output_mask[2] else _unrequested()
    return dx, dw, db


def max_pool(
    x: ir.Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> tuple[ir.Value, ...]:
    """max_pool2d_with_indices -> MaxPool with its indices."""
    return ops.MaxPool(x, **window_attributes(kernel, stride, padding, dilation), ceil_mode=int(ceil_mode))


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
    if ceil_mode:
        raise ValueError("the gradient of a max pool with ceil_mode has no canonical op")
    return gradient.MaxPoolGrad(dy, x, **window_attributes(kernel, stride, padding, dilation))


def avg_pool3d_backward(
    dy: ir.Value,
    x: ir.Value,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> ir.Value:
    """The gradient of a 3-d average pool at stride 1 -> AveragePool of ``dy``."""
    if list(stride) != [1, 1, 1] or any(padding) or ceil_mode or divisor_override is not None:
        raise ValueError("the gradient of a 3-d average pool has a translation at stride 1 without padding only")
    # each input element is in as many windows as a window has elements, those with zeros beyond the border included
    beyond = [side - 1 for side in kernel]
    return op.AveragePool(dy, kernel_shape=list(kernel), strides=[1, 1, 1], pads=beyond * 2, count_include_pad=1)


def _scale_and_bias(x: ir.Value, scale: ir.Value | None, bias: ir.Value | None) -> tuple[ir.Value, ir.Value]:
    """Scale and bias of a normalisation; without them, ones and zeros."""
    channels = static_shape(x)[1]
    return (
        scale or op.Constant(value_floats=[1.0] * channels),
        bias or op.Constant(value_floats=[0.0] * channels),
    )


def batch_norm(
    x: ir.Value,
    scale: ir.Value | None,
    bias: ir.Value | None,
    mean: ir.Value,
    var: ir.Value,
    training: bool,
    momentum: float,
    epsilon: float,
) -> tuple[ir.Value, ...]:
    """Batch normalisation by the batch's own statistics -> BatchNormTraining and the new running statistics."""
    y, batch_mean, inv_std, batch_var = _by_batch(x, scale, bias, epsilon)
    batch, _, *sides = static_shape(x)
    count = batch * math.prod(sides)
    if momentum == 1:  # nothing of the old statistics is left
        return y, batch_mean, inv_std, batch_mean, op.Mul(batch_var, op.Constant(value_float=count / (count - 1)))
    old = op.Constant(value_float=1 - momentum)
    # the running variance is the unbiased one
    unbiased = op.Constant(value_float=momentum * count / (count - 1))
    new_mean = op.Add(op.Mul(mean, old), op.Mul(batch_mean, op.Constant(value_float=momentum)))
    new_var = op.Add(op.Mul(var, old), op.Mul(batch_var, unbiased))
    return y, batch_mean, inv_std, new_mean, new_var


def _by_batch(
    x: ir.Value, scale: ir.Value | None, bias: ir.Value | None, epsilon: float
) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
    """y, and the batch's mean, inverse standard deviation and population variance."""
    y, mean, var, inv_std = gradients.BatchNormTraining(x, *_scale_and_bias(x, scale, bias), epsilon=epsilon)
    return y, mean, inv_std, var


def batch_norm_without_statistics(
    x: ir.Value, scale: ir.Value | None, bias: ir.Value | None, training: bool, momentum: float, epsilon: float
) -> tuple[ir.Value, ...]:
    """Batch normalisation by the batch's own statistics that keeps none -> BatchNormTraining."""
    return _by_batch(x, scale, bias, epsilon)[:3]


def batch_norm_backward(
    dy: ir.Value,
    x: ir.Value,
    scale: ir.Value | None,
    running_mean: ir.Value,
    running_var: ir.Value,
    mean: ir.Value,
    inv_std: ir.Value,
    train: bool,
    epsilon: float,
    output_mask: Sequence[bool],
) -> tuple[ir.Value, ...]:
    """native_batch_norm_backward -> BatchNormGrad."""
    if not train:
        raise ValueError("the gradient of a batch normalisation by its running statistics has no canonical op")
    return gradients.BatchNormGrad(dy, x, _scale_and_bias(x, scale, None)[0], mean, inv_std)


IMAGES: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten.convolution.default: convolution,
    _aten.convolution_backward.default: convolution_backward,
    _aten.max_pool2d_with_indices.default: max_pool,
    _aten.max_pool2d_with_indices_backward.default: max_pool_backward,
    _aten.avg_pool3d_backward.default: avg_pool3d_backward,
    _aten._native_batch_norm_legit_functional.default: batch_norm,
    _aten._native_batch_norm_legit.no_stats: batch_norm_without_statistics,
    _aten.native_batch_norm_backward.default: batch_norm_backward,
}
"""aten operation on images to the function that writes it in ONNX."""
