"""The gradient of local response normalisation in standard ONNX.

With ``mean_i(v)`` the sum of v over the n channels around channel i, over n, and ``s_i = bias + alpha * mean_i(x^2)``:
``y_i = x_i * s_i^-beta``. Windows are symmetric: channel j is in the window of i exactly if i is in that of j. So
``dx_j = dy_j * s_j^-beta - 2 * alpha * beta * x_j * mean_j(dy * y / s)``.
"""

from __future__ import annotations

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import operands, static_shape

__all__ = ["channel_mean", "lrn_grad"]


def channel_mean(b: Builder, x: ir.Value, shape: list[int], size: int) -> ir.Value:
    """Mean over a window of channels, with zeros beyond the first and last: a pool in which channels are the depth.

    With a depth onnxruntime's CPU kernel takes a seventh of the time that it takes with channels as the height of a
    [N, 1, C, H * W] image, or of slices and their sum (64x64x55x55: 9 ms, 66 ms, 58 ms).
    """
    radius = size // 2
    mean = b.op(
        "AveragePool",
        b.reshape(x, shape[0], 1, *shape[1:]),
        kernel_shape=[size, 1, 1],
        strides=[1, 1, 1],
        pads=[radius, 0, 0, radius, 0, 0],
        count_include_pad=1,
    )
    return b.reshape(mean, *shape)


def lrn_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """LRNGrad: dy, x, y [N, C, H, W] -> dx [N, C, H, W]."""
    dy, x, y = operands(node)
    size = node.attributes["size"].as_int()
    alpha, beta, bias = (node.attributes[name].as_float() for name in ("alpha", "beta", "bias"))
    if size % 2 == 0:
        raise ValueError(f"a window of {size} channels has no middle; use an odd size")
    shape = static_shape(x)
    mean = channel_mean(b, b.op("Mul", x, x), shape, size)
    scale = b.op("Add", b.op("Mul", mean, b.number(alpha, x)), b.number(bias, x))
    direct = b.op("Mul", dy, b.op("Pow", scale, b.number(-beta, x)))
    shared = channel_mean(b, b.op("Div", b.op("Mul", dy, y), scale), shape, size)
    through = b.op("Mul", b.op("Mul", x, shared), b.number(2 * alpha * beta, x))
    return [b.op("Sub", direct, through)]
