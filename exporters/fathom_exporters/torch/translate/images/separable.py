"""Linear maps of an image that act on each of its sides by itself: resampling and averages, with constant matrices.

Such a map is ``y = A x`` along a side, with one matrix [out, size] for each side, and its gradient is ``A^T dy`` along
each. The matrix is what the framework's own operation makes of the unit vectors, in float64, so that it has the
framework's arithmetic at the borders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from fathom_exporters.lowering.values import static_shape
from fathom_exporters.torch.translate.emit import array, ints, op, reshaped

__all__ = ["Matrix", "block_sums", "blocks", "each_side", "matrix_of"]

Matrix = np.ndarray[Any, np.dtype[np.float64]]
"""A linear map of one side, [out, size]."""


def matrix_of(function: Callable[[torch.Tensor], torch.Tensor], size: int) -> Matrix:
    """The matrix of a linear ``function`` of [N, 1, size]."""
    return np.asarray(function(torch.eye(size, dtype=torch.float64)[:, None]).reshape(size, -1)).T


def each_side(x: ir.Value, matrices: Sequence[Matrix]) -> ir.Value:
    """``x`` [.., *size] with the matrix of each of its last axes applied; what changes nothing is left out.

    The side that shrinks most comes first, since what follows then has less to multiply.
    """
    shape = static_shape(x)
    first = len(shape) - len(matrices)
    order = sorted(range(len(matrices)), key=lambda side: matrices[side].shape[0] / matrices[side].shape[1])
    for side in order:
        matrix, axis = matrices[side], first + side
        if matrix.shape[0] == matrix.shape[1] and (matrix == np.eye(len(matrix))).all():
            continue
        out = [*shape[:axis], matrix.shape[0], *shape[axis + 1 :]]
        after = math.prod(shape[axis + 1 :])
        if after == 1:
            made = op.MatMul(reshaped(x, shape[: axis + 1]), array(matrix.T, x))
        else:
            made = op.MatMul(array(matrix, x), reshaped(x, [math.prod(shape[:axis]), shape[axis], after]))
        made.type = x.type
        x, shape = reshaped(made, out), out
    return x


def _interleaved(shape: Sequence[int], factors: Sequence[int]) -> list[int]:
    return [n for pair in zip(shape, factors, strict=True) for n in pair]


def blocks(x: ir.Value, factors: Sequence[int]) -> ir.Value:
    """``x`` [.., *size] with each element repeated along its last axes, to [.., *(size * factors)]."""
    shape = static_shape(x)
    head, size = shape[: -len(factors)], shape[-len(factors) :]
    apart = reshaped(x, [*head, *_interleaved(size, [1] * len(size))])
    repeated = op.Expand(apart, ints(*head, *_interleaved(size, factors)))
    repeated.type = x.type
    return reshaped(repeated, [*head, *(n * f for n, f in zip(size, factors, strict=True))])


def block_sums(x: ir.Value, factors: Sequence[int]) -> ir.Value:
    """The sums of ``x`` [.., *(size * factors)] over the blocks of :func:`blocks`, [.., *size]."""
    shape = static_shape(x)
    head, size = shape[: -len(factors)], [n // f for n, f in zip(shape[-len(factors) :], factors, strict=True)]
    apart = reshaped(x, [*head, *_interleaved(size, factors)])
    axes = [len(head) + 1 + 2 * side for side, factor in enumerate(factors) if factor != 1]
    total = op.ReduceSum(apart, ints(*axes), keepdims=0)
    total.type = x.type
    return reshaped(total, [*head, *size])
