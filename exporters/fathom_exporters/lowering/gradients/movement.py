"""Gradients of gathers and slices in standard ONNX.

Rows are added by ScatterElements, which takes an index for each element and adds rows of one number in turn on every
provider. onnxruntime's CPU ScatterND, which takes an index for each row, adds them on several threads without a lock.
Another form without a race, in which each row is written with the sum of all rows of its number (a product with the
matrix of equal numbers), costs the square of the rows. In ms, on one thread of a busy machine, minima of nine (n rows
of 16 to V of a table; *dense* is the update by a gradient as large as the table; *in place* is with the table's buffer
bound as the result's, as :class:`fathom_onnx.runtime.stepper.Stepper` does):

=============  ======  ===============  ============  ==================  =====================
n, V           dense   ScatterElements  in place      ScatterND in place  equal rows in place
=============  ======  ===============  ============  ==================  =====================
128, 1000      0.018   0.013            0.011         0.005               0.020
128, 1000000   113     30               0.12          0.10                0.14
4096, 100000   8.5     1.7              0.50          0.094               61
=============  ======  ===============  ============  ==================  =====================
"""

from __future__ import annotations

import math

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import operands, static_shape

__all__ = ["gather_grad", "scatter_add", "slice_grad"]


def _rows_added(b: Builder, x: ir.Value, dy: ir.Value, indices: ir.Value) -> ir.Value:
    """X [rows, width] with the elements of dy added in the rows that the indices name."""
    count, width = math.prod(static_shape(indices)), math.prod(static_shape(dy)[len(static_shape(indices)) :])
    elements = b.op("Expand", b.reshape(indices, count, 1), b.ints(count, width))
    return b.op("ScatterElements", x, elements, b.reshape(dy, count, width), axis=0, reduction="add")


def gather_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """GatherGrad: dy [*index shape, *row], indices -> dw [rows, *row]."""
    dy, indices = operands(node)
    row = static_shape(dy)[len(static_shape(indices)) :]
    rows = node.attributes["rows"].as_int()
    added = _rows_added(b, b.op("ConstantOfShape", b.ints(rows, math.prod(row))), dy, indices)
    return [added if len(row) == 1 else b.reshape(added, rows, *row)]


def scatter_add(b: Builder, node: ir.Node) -> list[ir.Value]:
    """ScatterAdd: x [rows, *row], dy [*index shape, *row], indices -> x with the rows of dy added."""
    x, dy, indices = operands(node)
    shape = static_shape(x)
    if len(shape) == 2:
        return [_rows_added(b, x, dy, indices)]
    flat = b.reshape(x, shape[0], math.prod(shape[1:]))
    return [b.reshape(_rows_added(b, flat, dy, indices), *shape)]


def slice_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """SliceGrad: dy -> dx [input_shape], zero outside the slice."""
    (dy,) = operands(node)
    starts = list(node.attributes["starts"].as_ints())
    size = list(node.attributes["input_shape"].as_ints())
    ends = [s - start - d for s, start, d in zip(size, starts, static_shape(dy), strict=True)]
    return [b.op("Pad", dy, b.ints(*starts, *ends))]
