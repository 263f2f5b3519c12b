"""Normalisation over batches, groups and layers, forward and backward, at any rank: aten operation to ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from fathom_exporters.lowering.values import static_shape
from fathom_exporters.torch.translate.emit import array, gradients, ints, op, ops

__all__ = ["NORMALISATION"]

_aten = torch.ops.aten


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
    if not training:
        return *frozen_batch_norm(x, scale, bias, mean, var, momentum, epsilon), mean, var
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
    if not training:
        raise ValueError("a batch normalisation in evaluation without running statistics has no statistics")
    return _by_batch(x, scale, bias, epsilon)[:3]


def frozen_batch_norm(
    x: ir.Value,
    scale: ir.Value | None,
    bias: ir.Value | None,
    mean: ir.Value,
    var: ir.Value,
    momentum: float,
    epsilon: float,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Batch normalisation by the running statistics -> BatchNormalization, and empty statistics of the batch."""
    none = op.Constant(value=ir.tensor(np.zeros(0, np.float32)))
    return op.BatchNormalization(x, *_scale_and_bias(x, scale, bias), mean, var, epsilon=epsilon), none, none


def batch_norm_backward(
    dy: ir.Value,
    x: ir.Value,
    scale: ir.Value | None,
    running_mean: ir.Value | None,
    running_var: ir.Value | None,
    mean: ir.Value | None,
    inv_std: ir.Value | None,
    train: bool,
    epsilon: float,
    output_mask: Sequence[bool],
) -> tuple[ir.Value, ...]:
    """native_batch_norm_backward -> BatchNormGrad; by the running statistics, products and sums."""
    if train:
        return gradients.BatchNormGrad(dy, x, _scale_and_bias(x, scale, None)[0], mean, inv_std)
    if running_mean is None or running_var is None:
        raise ValueError("a batch normalisation in evaluation without running statistics has no statistics")
    shape = static_shape(x)
    channels, axes = shape[1], ints(0, *range(2, len(shape)))
    column = [1, channels, *[1] * (len(shape) - 2)]
    inverse = op.Reciprocal(op.Sqrt(op.Add(running_var, array(np.array(epsilon), x))))
    factor = inverse if scale is None else op.Mul(scale, inverse)
    dx = op.Mul(dy, op.Reshape(factor, ints(*column)))
    centred = op.Sub(x, op.Reshape(running_mean, ints(*column)))
    dscale = op.Mul(op.ReduceSum(op.Mul(dy, centred), axes, keepdims=0), inverse)
    return dx, dscale, op.ReduceSum(dy, axes, keepdims=0)


def layer_norm(
    x: ir.Value,
    normalized_shape: Sequence[int],
    scale: ir.Value | None = None,
    bias: ir.Value | None = None,
    eps: float = 1e-5,
) -> Sequence[ir.Value]:
    """native_layer_norm -> LayerNormalization; in float64, whose statistics that has in float32, means and products.

    Also the mean and the inverse standard deviation, with axes of one element.
    """
    axis = -len(normalized_shape)
    if x.dtype != ir.DataType.DOUBLE:
        if scale is None:
            ones = op.Expand(op.Constant(value_floats=[1.0]), op.Shape(x, start=axis))
            scale = op.CastLike(ones, x)
        return ops.LayerNormalization(x, scale, bias, axis=axis, epsilon=eps)
    axes = ints(*range(axis, 0))
    mean = op.ReduceMean(x, axes, keepdims=1)
    centred = op.Sub(x, mean)
    var = op.ReduceMean(op.Mul(centred, centred), axes, keepdims=1)
    inv_std = op.Reciprocal(op.Sqrt(op.Add(var, array(np.array(eps), x))))
    y = op.Mul(centred, inv_std)
    y = y if scale is None else op.Mul(y, scale)
    return (y if bias is None else op.Add(y, bias)), mean, inv_std


def group_norm(
    x: ir.Value,
    scale: ir.Value | None,
    bias: ir.Value | None,
    batch: int,
    channels: int,
    elements: int,
    groups: int,
    epsilon: float,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """native_group_norm -> means, products and sums; also the mean and the inverse standard deviation [N, groups]."""
    rows = op.Reshape(x, ints(batch, groups, -1))
    axes = ints(2)
    mean = op.ReduceMean(rows, axes, keepdims=1)
    centred = op.Sub(rows, mean)
    var = op.ReduceMean(op.Mul(centred, centred), axes, keepdims=1)
    inv_std = op.Reciprocal(op.Sqrt(op.Add(var, array(np.array(epsilon), x))))
    y = op.Mul(centred, inv_std)
    if scale is not None or bias is not None:
        y = op.Reshape(y, ints(batch, channels, elements))
    if scale is not None:
        y = op.Mul(y, op.Reshape(scale, ints(channels, 1)))
    if bias is not None:
        y = op.Add(y, op.Reshape(bias, ints(channels, 1)))
    of_groups = ints(batch, groups)
    return op.Reshape(y, ints(*static_shape(x))), op.Reshape(mean, of_groups), op.Reshape(inv_std, of_groups)


def group_norm_backward(
    dy: ir.Value,
    x: ir.Value,
    mean: ir.Value,
    inv_std: ir.Value,
    scale: ir.Value | None,
    batch: int,
    channels: int,
    elements: int,
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[ir.Value, ...]:
    """native_group_norm_backward -> GroupNormGrad."""
    return gradients.GroupNormGrad(dy, x, _scale_and_bias(x, scale, None)[0], mean, inv_std)


def layer_norm_backward(
    dy: ir.Value,
    x: ir.Value,
    features: Sequence[int],
    mean: ir.Value,
    inv_std: ir.Value,
    scale: ir.Value | None,
    bias: ir.Value | None,
    output_mask: Sequence[bool],
) -> tuple[ir.Value, ...]:
    """native_layer_norm_backward -> LayerNormGrad."""
    if scale is None:
        scale = array(np.ones(features), x)
        scale.shape, scale.type = ir.Shape(features), x.type  # the exporter knows these of recorded values only
    return gradients.LayerNormGrad(dy, x, scale, mean, inv_std)


NORMALISATION: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten._native_batch_norm_legit_functional.default: batch_norm,
    _aten._native_batch_norm_legit.no_stats: batch_norm_without_statistics,
    _aten._native_batch_norm_legit_no_training.default: frozen_batch_norm,
    _aten.native_batch_norm_backward.default: batch_norm_backward,
    _aten.native_layer_norm.default: layer_norm,
    _aten.native_group_norm.default: group_norm,
    _aten.native_group_norm_backward.default: group_norm_backward,
    _aten.native_layer_norm_backward.default: layer_norm_backward,
}
"""aten operation of normalisation to the function that writes it in ONNX."""
