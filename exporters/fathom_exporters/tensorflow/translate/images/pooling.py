"""Pools with two or three sides, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fathom_exporters.tensorflow.translate.emit import Emit, Handler

from .channels import channels_first
from .separable import Matrix, along_sides
from .window import pool_window

__all__ = ["POOLING"]


def max_pool(e: Emit) -> None:
    """MaxPool(x)."""
    (x,) = e.inputs
    e.replace("MaxPool", x, **pool_window(e, e.shape(x), e.output_shape))


def max_pool_grad(e: Emit) -> None:
    """MaxPoolGrad(x, y, dy) -> dx."""
    x, y, dy = e.inputs
    image = e.shape(x)
    e.become(*e.private("MaxPoolGrad", dy, x, shapes=[image], **pool_window(e, image, e.shape(y))))


def avg_pool(e: Emit) -> None:
    """AvgPool(x): the mean of the elements of a window that are in the image."""
    (x,) = e.inputs
    window = pool_window(e, e.shape(x), e.output_shape)
    del window["dilations"]
    e.replace("AveragePool", x, count_include_pad=0, **window)


def _shares(size: int, out: int, kernel: int, stride: int, start: int) -> Matrix:
    """Along a side, the share [size, out] that each element has in the mean of each window."""
    shares = np.zeros((size, out))
    for index in range(out):
        first = index * stride - start
        inside = slice(max(first, 0), min(first + kernel, size))
        shares[inside, index] = 1 / max(inside.stop - inside.start, 1)
    return shares


def _repeated(e: Emit, dy: str, times: Sequence[int]) -> str:
    """``dy`` [N, C, *size] with each element repeated along each side."""
    shape = e.shape(dy)
    apart, whole = [*shape[:2]], [*shape[:2]]
    for size, count in zip(shape[2:], times, strict=True):
        apart += [size, 1]
        whole += [size, count]
    spread = e.op("Expand", e.reshape(dy, apart), e.ints(whole), shape=whole)
    return e.reshape(spread, [*shape[:2], *(s * t for s, t in zip(shape[2:], times, strict=True))])


def avg_pool_grad(e: Emit) -> None:
    """AvgPoolGrad(input sizes, dy) -> dx: an equal share of ``dy`` for each element of its window.

    Windows side by side repeat their share; others add theirs up, in a product along each side.
    """
    dy, image = e.inputs[1], e.output_shape
    out = e.shape(dy)[2:]
    window = pool_window(e, image, e.shape(dy))
    kernel, strides = window["kernel_shape"], window["strides"]
    if kernel == strides and [k * o for k, o in zip(kernel, out, strict=True)] == image[2:]:
        share = e.binary("Mul", dy, e.number(1 / np.prod(kernel), dy))
        e.become(_repeated(e, share, kernel))
        return
    starts = window["pads"][: len(out)]
    sides = zip(image[2:], out, kernel, strides, starts, strict=True)
    e.become(along_sides(e, dy, [_shares(*side) for side in sides]))


POOLING: dict[str, Handler] = {
    "AvgPool": channels_first(avg_pool, [0], [0]),
    "AvgPool3D": channels_first(avg_pool, [0], [0]),
    "AvgPool3DGrad": channels_first(avg_pool_grad, [1], [0]),
    "AvgPoolGrad": channels_first(avg_pool_grad, [1], [0]),
    "MaxPool": channels_first(max_pool, [0], [0]),
    "MaxPool3D": channels_first(max_pool, [0], [0]),
    "MaxPool3DGrad": channels_first(max_pool_grad, [0, 1, 2], [0]),
    "MaxPoolGrad": channels_first(max_pool_grad, [0, 1, 2], [0]),
}
"""TensorFlow operation to its handler."""
