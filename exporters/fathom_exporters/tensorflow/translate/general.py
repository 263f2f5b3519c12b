"""Products, sums, movement and random draws that tf2onnx lacks or writes less plainly."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from .emit import Emit, Handler

__all__ = ["GENERAL"]


def matmul(e: Emit) -> None:
    """MatMul(a, b) with either transposed: one Gemm and no Transpose."""
    a, b = e.inputs
    flip_a, flip_b = bool(e.attribute("transpose_a", False)), bool(e.attribute("transpose_b", False))
    if flip_a or flip_b:
        e.replace("Gemm", a, b, transA=int(flip_a), transB=int(flip_b))
    else:
        e.replace("MatMul", a, b)


def _channel_axis(e: Emit, rank: int) -> int:
    return 1 if e.attribute("data_format", "NHWC") == "NCHW" else rank - 1


def bias_add(e: Emit) -> None:
    """BiasAdd(x, b): x + b, b along the channels."""
    x, b = e.inputs
    rank = len(e.shape(x))
    after = rank - 1 - _channel_axis(e, rank)
    e.replace("Add", x, e.reshape(b, [*e.shape(b), *[1] * after]) if after else b)


def bias_add_grad(e: Emit) -> None:
    """BiasAddGrad(dy): the sum over all but the channels."""
    (dy,) = e.inputs
    rank = len(e.shape(dy))
    axes = [axis for axis in range(rank) if axis != _channel_axis(e, rank)]
    e.replace("ReduceSum", dy, e.ints(axes), keepdims=0)


def reduction(op_type: str, e: Emit) -> None:
    """A reduction over constant axes. Over no axes it is the input, where ONNX takes no axes for all."""
    x = e.inputs[0]
    rank = len(e.shape(x))
    axes = sorted({int(axis) % rank for axis in np.atleast_1d(e.static(1))}) if rank else []
    keep = bool(e.attribute("keep_dims", False))
    if not axes:
        e.become(x)
    elif op_type == "ReduceMean" and rank == 4 and axes == [2, 3]:
        # the form of a global average pool that simulators read
        shape = e.shape(x)
        pooled = e.op("GlobalAveragePool", x, shape=[*shape[:2], 1, 1])
        if keep:
            e.become(pooled)
        else:
            e.replace("Flatten", pooled, axis=1)
    else:
        e.replace(op_type, x, e.ints(axes), keepdims=int(keep))


_SUMMANDS = 8
"""Largest number of tensors that one node adds. An unrolled recurrence adds a gradient of its weights for every time
step; for one Sum of them all onnxruntime would keep them all in memory."""


def add_n(e: Emit) -> None:
    """AddN: the sum of tensors of one shape, a few at a time."""
    head, rest = e.inputs[:1], e.inputs[1:]
    while len(rest) >= _SUMMANDS:
        group, rest = [*head, *rest[: _SUMMANDS - 1]], rest[_SUMMANDS - 1 :]
        head = [e.op("Sum", *group, shape=e.output_shape)]
    summands = [*head, *rest]
    if len(summands) == 1:
        e.become(summands[0])
    else:
        e.replace("Add" if len(summands) == 2 else "Sum", *summands)


def reshape(e: Emit) -> None:
    """Reshape, ExpandDims and Squeeze: the shape of the output is static."""
    e.replace("Reshape", e.inputs[0], e.ints(e.output_shape))


def transpose(e: Emit) -> None:
    """Transpose(x, constant permutation)."""
    e.replace("Transpose", e.inputs[0], perm=[int(axis) for axis in e.static(1)])


def tile(e: Emit) -> None:
    """Tile(x, constant multiples)."""
    e.replace("Tile", e.inputs[0], e.ints([int(n) for n in e.static(1)]))


def broadcast_to(e: Emit) -> None:
    """BroadcastTo(x, shape)."""
    e.replace("Expand", e.inputs[0], e.ints(e.output_shape))


def select(rows: bool, e: Emit) -> None:
    """Select(c, x, y); in the older form (``rows``) a vector c chooses whole rows."""
    c, x, y = e.inputs
    after = len(e.output_shape) - 1
    if rows and after and len(e.shape(c)) == 1:
        c = e.reshape(c, [*e.shape(c), *[1] * after])
    e.replace("Where", c, x, y)


def random(op_type: str, e: Emit) -> None:
    """A random draw without a seed: onnxruntime takes the session's, and draws other numbers for every node."""
    if not e.output_shape:
        raise ValueError("onnxruntime draws no scalars; draw a tensor of shape [1]")
    e.replace(op_type, shape=e.output_shape, dtype=e.output_dtype)


def logical_reduction(op_type: str, e: Emit) -> None:
    """Any(x, axes) and All(x, axes): the largest and the smallest of whole numbers."""
    x = e.cast(e.inputs[0], TensorProto.INT32)
    rank = len(e.shape(x))
    axes = sorted({int(axis) % rank for axis in np.atleast_1d(e.static(1))}) if rank else []
    if axes:
        keep = int(bool(e.attribute("keep_dims", False)))
        x = e.op(op_type, x, e.ints(axes), shape=e.output_shape, keepdims=keep)
    e.become(e.cast(x, TensorProto.BOOL))


def half_squares(e: Emit) -> None:
    """L2Loss(x): half the sum of the squares."""
    (x,) = e.inputs
    total = e.op("ReduceSumSquare", x, e.ints(list(range(len(e.shape(x))))), shape=[], keepdims=0)
    e.replace("Mul", total, e.number(0.5, x))


class _Diagonal(NamedTuple):
    """One diagonal of matrices: its number, above the main one where positive, and its length."""

    number: int
    length: int

    @property
    def row(self) -> int:
        """Row of its first element."""
        return max(-self.number, 0)

    @property
    def column(self) -> int:
        """Column of its first element."""
        return max(self.number, 0)

    def mask(self, rows: int, columns: int) -> npt.NDArray[np.bool_]:
        """Where it is in a matrix."""
        return np.eye(rows, columns, self.number, dtype=np.bool_)


def _diagonal(e: Emit, index: int, rows: int, columns: int) -> _Diagonal:
    """The diagonal that a constant input names, the main one where there is none.

    Raises:
        ValueError: There are several.
    """
    numbers = {int(n) for n in np.atleast_1d(e.static(index))} if len(e.inputs) > index else {0}
    if len(numbers) > 1:
        raise ValueError("several diagonals at once have no translation; multiply by a mask")
    number = numbers.pop()
    return _Diagonal(number, int(np.eye(rows, columns, number).sum()))


def _placed(e: Emit, x: str, diagonal: _Diagonal, shape: list[int]) -> str:
    """Matrices of ``shape`` with diagonals x, and zeros elsewhere."""
    size = diagonal.length
    square = [*shape[:-2], size, size]
    eye = e.constant(np.eye(size), np.bool_)
    made = e.op("Where", eye, e.reshape(x, [*shape[:-2], size, 1]), e.number(0, x), shape=square, dtype=e.dtype(x))
    if square == shape:
        return made
    before = [0] * (len(shape) - 2) + [diagonal.row, diagonal.column]
    after = [n - m - b for n, m, b in zip(shape, square, before, strict=True)]
    return e.op("Pad", made, e.ints([*before, *after]), shape=shape)


def matrix_diag(e: Emit) -> None:
    """MatrixDiagV3(x, constant number): matrices with the diagonals x, and zeros elsewhere."""
    x, shape = e.inputs[0], e.output_shape
    e.become(_placed(e, x, _diagonal(e, 1, *shape[-2:]), shape))


def matrix_diag_part(e: Emit) -> None:
    """MatrixDiagPartV3(x, constant number): diagonals of matrices."""
    x, shape = e.inputs[0], e.shape(e.inputs[0])
    diagonal = _diagonal(e, 1, *shape[-2:])
    kept = e.op("Where", e.constant(diagonal.mask(*shape[-2:]), np.bool_), x, e.number(0, x), shape=shape,
                dtype=e.dtype(x))  # fmt: skip
    columns = diagonal.column, diagonal.column + diagonal.length
    summed = e.op("ReduceSum", kept, e.ints([len(shape) - 2]), shape=[*shape[:-2], shape[-1]], keepdims=0)
    if columns == (0, shape[-1]):
        e.become(summed)
    else:
        e.replace("Slice", summed, *(e.ints([n]) for n in (*columns, len(shape) - 2)))


def matrix_set_diag(e: Emit) -> None:
    """MatrixSetDiagV3(x, diagonal, constant number)."""
    x, values = e.inputs[:2]
    shape = e.shape(x)
    diagonal = _diagonal(e, 2, *shape[-2:])
    mask = e.constant(diagonal.mask(*shape[-2:]), np.bool_)
    e.replace("Where", mask, _placed(e, values, diagonal, shape), x)


def cross_entropy(e: Emit) -> None:
    """SoftmaxCrossEntropyWithLogits(logits, labels) -> loss [N], dlogits [N, C]."""
    logits, labels = e.inputs
    shape = e.shape(logits)
    e.become(*e.private("CrossEntropy", logits, labels, shapes=[shape[:1], shape]))


GENERAL: dict[str, Handler] = {
    "AddN": add_n,
    "All": functools.partial(logical_reduction, "ReduceMin"),
    "Any": functools.partial(logical_reduction, "ReduceMax"),
    "BiasAdd": bias_add,
    "BiasAddGrad": bias_add_grad,
    "BroadcastTo": broadcast_to,
    "CheckNumerics": reshape,
    "EnsureShape": reshape,
    "ExpandDims": reshape,
    "L2Loss": half_squares,
    "MatMul": matmul,
    "MatrixDiagPartV3": matrix_diag_part,
    "MatrixDiagV3": matrix_diag,
    "MatrixSetDiagV3": matrix_set_diag,
    "Max": functools.partial(reduction, "ReduceMax"),
    "Mean": functools.partial(reduction, "ReduceMean"),
    "Min": functools.partial(reduction, "ReduceMin"),
    "Prod": functools.partial(reduction, "ReduceProd"),
    "RandomStandardNormal": functools.partial(random, "RandomNormal"),
    "RandomUniform": functools.partial(random, "RandomUniform"),
    "Reshape": reshape,
    "Select": functools.partial(select, True),
    "SelectV2": functools.partial(select, False),
    "SoftmaxCrossEntropyWithLogits": cross_entropy,
    "Squeeze": reshape,
    "Sum": functools.partial(reduction, "ReduceSum"),
    "Tile": tile,
    "Transpose": transpose,
}
"""TensorFlow operation to its handler."""
