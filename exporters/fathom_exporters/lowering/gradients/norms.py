"""Gradients of normalisations over features and over groups of channels, in standard ONNX.

Both normalise rows of n elements by their own mean and standard deviation, ``xhat = (x - mean) * inv_std``, and then
scale and shift: ``y = xhat * scale + bias`` (Ba et al. 2016, section 3; Wu and He 2018, section 3). With
``g = dy * scale``, mean and standard deviation being functions of the row,

    dx = inv_std * (g - mean(g) - xhat * mean(g * xhat)),

means over the row, and ``dscale = sum(dy * xhat)``, ``dbias = sum(dy)`` over all that shares an element of the scale.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import operands, static_shape

__all__ = ["group_norm_grad", "layer_norm_grad"]


def _dx(b: Builder, g: ir.Value, xhat: ir.Value, inv_std: ir.Value, axes: ir.Value) -> ir.Value:
    """``inv_std * (g - mean(g) - xhat * mean(g * xhat))``, means along ``axes``."""
    along = b.op("ReduceMean", b.op("Mul", g, xhat), axes, keepdims=1)
    centred = b.op("Sub", g, b.op("ReduceMean", g, axes, keepdims=1))
    return b.op("Mul", b.op("Sub", centred, b.op("Mul", xhat, along)), inv_std)


def layer_norm_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """LayerNormGrad: dy, x [*rows, *features], scale [*features], mean, inv_std [*rows, 1, ..] -> dx, dscale, dbias."""
    dy, x, scale, mean, inv_std = operands(node)
    rank, features = len(static_shape(x)), len(static_shape(scale))
    xhat = b.op("Mul", b.op("Sub", x, mean), inv_std)
    dx = _dx(b, b.op("Mul", dy, scale), xhat, inv_std, b.ints(*range(rank - features, rank)))
    rows = range(rank - features)
    product = b.op("Mul", dy, xhat)
    if not rows:  # one row: there is nothing to sum, and a sum over no axes would be one over all
        return [dx, product, b.op("Identity", dy)]
    return [dx, b.reduce_sum(product, *rows), b.reduce_sum(dy, *rows)]


def group_norm_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """GroupNormGrad: dy, x [N, C, *size], scale [C], mean, inv_std [N, groups] -> dx, dscale, dbias."""
    dy, x, scale, mean, inv_std = operands(node)
    whole = static_shape(x)
    batch, channels, pixels = whole[0], whole[1], math.prod(whole[2:])
    groups = static_shape(mean)[1]
    rows = [batch, groups, channels // groups * pixels]
    inverse = b.reshape(inv_std, batch, groups, 1)
    centred = b.op("Sub", b.reshape(x, *rows), b.reshape(mean, batch, groups, 1))
    xhat = b.op("Mul", centred, inverse)
    by_channel = b.reshape(dy, batch, channels, pixels)
    g = b.reshape(b.op("Mul", by_channel, b.reshape(scale, channels, 1)), *rows)
    dx = b.reshape(_dx(b, g, xhat, inverse, b.ints(2)), *whole)
    product = b.op("Mul", by_channel, b.reshape(xhat, batch, channels, pixels))
    return [dx, b.reduce_sum(product, 0, 2), b.reduce_sum(by_channel, 0, 2)]
