"""Linear maps of images along one side after another: a product with a constant matrix for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fathom_exporters.tensorflow.translate.emit import Emit

__all__ = ["Matrix", "along_sides"]

Matrix = npt.NDArray[np.float64]
"""[new size, old size] of a side."""


def along_sides(e: Emit, x: str, matrices: Sequence[Matrix]) -> str:
    """``x`` [N, C, *size] multiplied by a matrix along each side; an identity is left out."""
    for axis, matrix in enumerate(matrices, 2):
        if matrix.shape[0] == matrix.shape[1] and (matrix == np.eye(len(matrix))).all():
            continue
        x = _along(e, x, axis, matrix)
    return x


def _along(e: Emit, x: str, axis: int, matrix: Matrix) -> str:
    shape: list[int] = e.shape(x)
    rank, (new, old) = len(shape), matrix.shape
    result = [*shape[:axis], int(new), *shape[axis + 1 :]]
    if axis == rank - 1:
        return e.op("MatMul", x, e.number(matrix.T, x), shape=result)
    if axis == rank - 2:
        return e.op("MatMul", e.number(matrix, x), x, shape=result)
    after = math.prod(shape[axis + 1 :])
    flat = e.reshape(x, [*shape[:axis], int(old), after])
    made: Any = e.op("MatMul", e.number(matrix, x), flat, shape=[*shape[:axis], int(new), after])
    return e.reshape(made, result)
