"""Pools of the mean, with one, two or three sides, forward and backward: aten operation to ONNX."""

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
    op,
    spread,
)

from .pool_windows import adaptive_windows, batched, equal_windows, like, windows_along
from .separable import Matrix, blocks, each_side

__all__ = ["AVERAGE_POOLING"]

_aten = torch.ops.aten


def _shared(dy: ir.Value, kernel: Sequence[int]) -> ir.Value:
    """Each element of ``dy`` shared among the elements of its window; windows are side by side."""
    share = op.Mul(dy, array(np.array(1 / math.prod(kernel)), dy))
    share.shape, share.type = dy.shape, dy.type
    return blocks(share, kernel)


def _average_matrices(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> list[Matrix]:
    """An average pool along each side. Its divisor is a product over the sides, as the elements of a window are."""
    matrices = []
    for n, k, s, p in zip(size, kernel, stride, padding, strict=True):
        matrix = np.zeros((windows_along(n, k, s, p, 1, ceil_mode), n))
        for row in range(len(matrix)):
            start = row * s - p
            first, last = max(start, 0), min(start + k, n)
            counted = min(start + k, n + p) - start if count_include_pad else last - first
            if last > first:
                matrix[row, first:last] = 1 if divisor is not None else 1 / counted
        matrices.append(matrix)
    if divisor is not None:
        matrices[0] /= divisor
    return matrices


def _avg_pool(sides: int) -> Callable[..., ir.Value]:
    def avg_pool(
        x: ir.Value,
        kernel: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> ir.Value:
        """avg_pool2d -> AveragePool.

        ONNX and its readers count the elements of windows beyond the padding in ways of their own. So these windows are
        padded with zeros, all elements are counted, and a factor for each output corrects the count.
        """
        kernel = spread(kernel, sides)
        stride, padding = spread(stride, sides) or kernel, spread(padding, sides, 0)
        size = static_shape(x)[-sides:]
        matrices = _average_matrices(size, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)
        out = [len(matrix) for matrix in matrices]
        beyond = [
            max((o - 1) * s + k - n - p, 0) for o, s, k, n, p in zip(out, stride, kernel, size, padding, strict=True)
        ]
        plain = not ceil_mode and divisor_override is None
        pads = [*padding, *(padding if plain else beyond)]
        window = {"kernel_shape": kernel, "strides": stride, "pads": pads, "ceil_mode": 0}
        counted = int(count_include_pad or not plain)
        y = op.AveragePool(batched(x, sides), **window, count_include_pad=counted)
        if not plain:
            factors = np.ones([1] * sides)
            for side, (matrix, k) in enumerate(zip(matrices, kernel, strict=True)):
                along = matrix.max(axis=1) * k
                factors = factors * along.reshape([-1 if axis == side else 1 for axis in range(sides)])
            if np.abs(factors - 1).max() > 1e-12:
                y = op.Mul(y, array(factors, x))
        return like(y, x, sides)

    return avg_pool


def _avg_pool_backward(sides: int) -> Callable[..., ir.Value]:
    def avg_pool_backward(
        dy: ir.Value,
        x: ir.Value,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> ir.Value:
        """avg_pool2d_backward -> AveragePool at stride 1, repeated elements for windows side by side, or products."""
        kernel = spread(kernel, sides)
        stride, padding = spread(stride, sides) or kernel, spread(padding, sides, 0)
        size = static_shape(x)[-sides:]
        whole = divisor_override is None and (count_include_pad or not any(padding))
        if whole and stride == [1] * sides:
            # each input element is in as many windows as a window has elements, those past the border included
            beyond = [k - 1 - p for k, p in zip(kernel, padding, strict=True)]
            window = {"kernel_shape": kernel, "strides": stride, "pads": beyond * 2}
            return like(op.AveragePool(batched(dy, sides), **window, count_include_pad=1), x, sides)
        if whole and stride == kernel and not any(padding) and equal_windows(size, static_shape(dy)[-sides:]) == kernel:
            return _shared(dy, kernel)
        matrices = _average_matrices(size, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)
        return each_side(dy, [matrix.T for matrix in matrices])

    return avg_pool_backward


# ---- windows that share a side's elements out


def _adaptive_matrices(size: Sequence[int], out: Sequence[int]) -> list[Matrix]:
    matrices = []
    for n, o in zip(size, out, strict=True):
        matrix = np.zeros((o, n))
        for row, window in enumerate(adaptive_windows(n, o)):
            matrix[row, window] = 1 / len(window)
        matrices.append(matrix)
    return matrices


def _adaptive_avg_pool(sides: int) -> Callable[..., ir.Value]:
    def adaptive_avg_pool(x: ir.Value, output_size: Sequence[int]) -> ir.Value:
        """_adaptive_avg_pool2d -> AveragePool or, with windows that differ, products with constant matrices."""
        size, out = static_shape(x)[-sides:], spread(output_size, sides)
        kernel = equal_windows(size, out)
        if kernel is None:
            return each_side(x, _adaptive_matrices(size, out))
        return like(op.AveragePool(batched(x, sides), kernel_shape=kernel, strides=kernel), x, sides)

    return adaptive_avg_pool


def _adaptive_avg_pool_backward(sides: int) -> Callable[..., ir.Value]:
    def adaptive_avg_pool_backward(dy: ir.Value, x: ir.Value) -> ir.Value:
        """_adaptive_avg_pool2d_backward -> repeated elements, or products with constant matrices."""
        size, out = static_shape(x)[-sides:], static_shape(dy)[-sides:]
        kernel = equal_windows(size, out)
        if kernel is None:
            return each_side(dy, [matrix.T for matrix in _adaptive_matrices(size, out)])
        return _shared(dy, kernel)

    return adaptive_avg_pool_backward


AVERAGE_POOLING: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten._adaptive_avg_pool2d.default: _adaptive_avg_pool(2),
    _aten._adaptive_avg_pool3d.default: _adaptive_avg_pool(3),
    _aten._adaptive_avg_pool2d_backward.default: _adaptive_avg_pool_backward(2),
    _aten._adaptive_avg_pool3d_backward.default: _adaptive_avg_pool_backward(3),
    _aten.avg_pool2d.default: _avg_pool(2),
    _aten.avg_pool3d.default: _avg_pool(3),
    _aten.avg_pool2d_backward.default: _avg_pool_backward(2),
    _aten.avg_pool3d_backward.default: _avg_pool_backward(3),
}
"""aten operation of pools of the mean to the function that writes it in ONNX."""
