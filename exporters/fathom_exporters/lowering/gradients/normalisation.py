"""Batch normalisation with the batch's own statistics, and its gradient, in standard ONNX.

The statistics are written in reductions: BatchNormalization in training mode uses the population variance for the
running statistics, can overwrite its input buffers on the CPU provider and is refused by the CUDA provider at this
opset. Only the pass that scales and shifts is a BatchNormalization in inference mode, ``x * a + b`` in one sweep.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import operands, static_shape

__all__ = ["batch_norm_grad", "batch_norm_training", "scale_shift"]


def scale_shift(b: Builder, x: ir.Value, scale: ir.Value, shift: ir.Value, channels: int) -> ir.Value:
    """``x * scale + shift`` per channel in one sweep: batch normalisation by mean 0 and variance 1."""
    zeros = b.constant(np.zeros(channels, dtype=np.float32))
    ones = b.constant(np.ones(channels, dtype=np.float32))
    return b.op("BatchNormalization", x, scale, shift, zeros, ones, epsilon=0.0)


def batch_norm_training(b: Builder, node: ir.Node) -> list[ir.Value]:
    """BatchNormTraining: x [N, C, H, W], scale, bias [C] -> y, mean, var (population), inv_std [C]."""
    x, scale, bias = operands(node)
    epsilon = node.attributes["epsilon"].as_float()
    channels = static_shape(x)[1]
    axes = b.ints(0, *range(2, len(static_shape(x))))
    mean = b.op("ReduceMean", x, axes, keepdims=1)
    # two passes: the mean of squares minus the square of the mean cancels in float32
    centred = b.op("Sub", x, mean)
    var = b.op("ReduceMean", b.op("Mul", centred, centred), axes, keepdims=0)
    inv_std = b.op("Reciprocal", b.op("Sqrt", b.op("Add", var, b.number(epsilon, x))))
    y = scale_shift(b, centred, b.op("Mul", inv_std, scale), bias, channels)
    return [y, b.reshape(mean, channels), var, inv_std]


def batch_norm_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """BatchNormGrad: dy, x [N, C, H, W], scale, mean, inv_std [C] -> dx, dscale, dbias.

    With ``xhat = (x - mean) * inv_std`` and n elements a channel: ``dbias = sum(dy)``, ``dscale = sum(dy * xhat)``,
    ``dx = scale * inv_std * (dy - dbias / n - xhat * dscale / n)`` (Ioffe and Szegedy 2015, section 3).
    """
    dy, x, scale, mean, inv_std = operands(node)
    shape = static_shape(x)
    channels, axes = shape[1], (0, *range(2, len(shape)))
    share = b.number(channels / math.prod(shape), x)
    xhat = scale_shift(b, x, inv_std, b.op("Neg", b.op("Mul", mean, inv_std)), channels)
    dbias = b.reduce_sum(dy, *axes)
    dscale = b.reduce_sum(b.op("Mul", dy, xhat), *axes)
    factor = b.op("Mul", scale, inv_std)
    per_channel = b.reshape(factor, 1, channels, *[1] * (len(shape) - 2))
    minus = b.op("Neg", b.op("Mul", factor, share))
    correction = scale_shift(b, xhat, b.op("Mul", minus, dscale), b.op("Mul", minus, dbias), channels)
    return [b.op("Add", b.op("Mul", dy, per_channel), correction), dscale, dbias]
