"""Winograd's algorithm for 3x3 convolutions and both of their gradients, written as matrix products.

Of one dimension first. ``F(m, 3)`` (Winograd 1980; Lavin and Gray 2016) computes m outputs of a filter of 3 elements
with ``t = m + 2`` multiplications instead of 3 m: ``y = A' [(G w) * (B' x)]`` for a piece x of t inputs, where ``*`` is
elementwise and the matrices A [t, m], G [t, 3], B [t, t] are constant. In two dimensions each matrix is applied to
rows and to columns, so that a tile of m x m outputs takes t^2 products for each pair of channels instead of 9 m^2: 4 /
9 of them with F(2), 1 / 4 with F(4).

Over all tiles of an image at once B' and A' are banded matrices ``Bb`` [t T, H] and ``Ab`` [t T, OH] for T tiles along
a side; padding is in ``Bb``, whose columns for rows outside of the image are not there. With the batch and channels
last, ``x`` [H, W, N C]:

    V = Bb x Bb'         as [t^2, P, C], P = T T N tiles
    U = (G w G')         as [t^2, O, C], one product by the Kronecker square of G
    M[e] = V[e] U[e]'    t^2 products [P, C] by [C, O]
    y = Ab' M Ab         as [OH, OW, N O]

It is linear in x and in w, so the gradients are its adjoints, step by step backwards, and exact:

    dM = Ab dy Ab'       shared by both gradients
    dU[e] = dM[e]' V[e]  and dw = G' dU G
    dV[e] = dM[e] U[e]   and dx = Bb' dV Bb

V, U and dM appear in two of the three each; clean-up merges equal nodes, so that they are computed once.

The banded matrices are multiplied as dense ones. Where a side has many tiles it is cut into groups of tiles, whose
rows are dense matrices of their own; groups overlap in the input by 2, which a Gather copies.

The error of F(2) is that of a direct convolution; that of F(4) depends on its points, see :data:`POINTS`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.polynomial import polynomial

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.tags import NOT_FOLDED

__all__ = ["POINTS", "Winograd", "matrices"]

Matrix = np.ndarray[Any, Any]

POINTS: dict[int, tuple[float, ...]] = {2: (0, 1, -1), 4: (0, 0.75, -0.75, 1.5, -1.5)}
"""m to the finite points of F(m, 3); one at infinity is added. Error of the output and the gradients of input and
filter in float32, the largest against the largest value, with 64 channels; that of F(2) is 1.5e-7 to 4e-7:

======================  =================================
points of F(4)          output, input, filter
======================  =================================
1, -1, 2, -2            2.3e-6, 3.2e-6, 3.4e-6
1, -1, 0.5, -2          1.1e-6, 9.8e-7, 1.7e-6
0.75, -0.75, 1.5, -1.5  6.5e-7, 6.6e-7, 8.9e-7
======================  ================================="""


@functools.cache
def matrices(tile: int) -> tuple[Matrix, Matrix, Matrix]:
    """``B'`` [t, t], G [t, 3] and ``A'`` [m, t] of F(m, 3) for m of 2 or 4, t = m + 2."""
    b, numerators, a, denominators = _parts(tile)
    return b, numerators / denominators[:, np.newaxis], a


@functools.cache
def _parts(tile: int) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """The matrices by Cook and Toom, G as numerators [t, 3] and denominators [t]: all are exact in float32.

    A polynomial product is known by its values at t points p: ``A'`` has their powers, G the values of the filter over
    ``prod(p - q)`` of the other points q, ``B'`` the coefficients of ``prod(x - q)``. What belongs to a point is
    scaled by powers of two, which round nothing, to have about the same size in all three.
    """
    points = POINTS[tile]
    size = len(points) + 1
    b, g, a, over = np.zeros((size, size)), np.zeros((size, 3)), np.zeros((tile, size)), np.ones(size)
    for row, point in enumerate(points):
        others = [other for other in points if other != point]
        b[row, :-1] = polynomial.polyfromroots(others)
        g[row] = point ** np.arange(3)
        over[row] = np.prod([point - other for other in others])
        a[:, row] = point ** np.arange(tile)
    b[-1] = polynomial.polyfromroots(points)
    g[-1, -1] = a[-1, -1] = 1
    norms = np.array([np.linalg.norm(part, axis=1) for part in (b, g / over[:, np.newaxis], a.T)])
    scales = 2.0 ** np.round(np.log2(norms.prod(0) ** (1 / 3) / norms))
    return b * scales[0][:, np.newaxis], g * scales[1][:, np.newaxis], a / (scales[0] * scales[1]), over


class _Side:
    """The banded matrices of one side of an image, over all of its tiles.

    Attributes:
        size, out: Elements of the side of the input and of the output.
        tiles: Tiles along the side.
        groups: Groups that the tiles are cut into; rows are in the order group, element of the tile, tile in the group.
        into: ``Bb`` [t T, size].
        out_of: ``Ab'`` [out, t T].
    """

    def __init__(self, tile: int, size: int, out: int, start: int, groups: int) -> None:
        b, _, a = matrices(tile)
        elements = tile + 2
        self.size, self.out, self.tiles, self.groups = size, out, -(-out // tile), groups
        self.per_group = self.tiles // groups
        into = np.zeros((groups, elements, self.per_group, size))
        out_of = np.zeros((out, groups, elements, self.per_group))
        for number in range(self.tiles):
            group, place = divmod(number, self.per_group)
            for k in range(elements):
                row = number * tile - start + k
                if 0 <= row < size:
                    into[group, :, place, row] += b[:, k]
            for k in range(tile):
                if number * tile + k < out:
                    out_of[number * tile + k, group, :, place] = a[k]
        self.into = into.reshape(-1, size)
        self.out_of = out_of.reshape(out, -1)


def _dense_parts(matrix: Matrix, groups: int) -> tuple[Matrix, Matrix]:
    """The columns [groups, k] that each group of rows has, and the matrices [groups, rows / groups, k] of these."""
    parts = matrix.reshape(groups, -1, matrix.shape[1])
    used = [np.flatnonzero(np.abs(part).sum(0)) for part in parts]
    width = max(u[-1] - u[0] + 1 for u in used)
    columns = []
    for u in used:  # a run of columns of the same length for each, within the matrix
        start = min(u[0], matrix.shape[1] - width)
        columns.append(np.arange(start, start + width))
    chosen = np.stack(columns)
    return chosen, np.stack([part[:, of] for part, of in zip(parts, chosen, strict=True)])


class Winograd:
    """The nodes of a convolution and its gradients by F(m, 3), stride 1 and one group.

    Args:
        b: What builds them.
        tile: m, 2 or 4.
        x_shape: [N, C, H, W].
        y_shape: [N, O, OH, OW].
        starts: Padding at the start of each side.
        groups: Groups of tiles along each side; they divide the tiles.
    """

    def __init__(
        self,
        b: Builder,
        tile: int,
        x_shape: Sequence[int],
        y_shape: Sequence[int],
        starts: Sequence[int],
        groups: Sequence[int] = (1, 1),
    ) -> None:
        self._b = b
        self._batch, self._in, *sizes = x_shape
        self._out = y_shape[1]
        self._elements = tile + 2
        self._sides = [_Side(tile, *sides) for sides in zip(sizes, y_shape[2:], starts, groups, strict=True)]
        self._tile = tile

    @cached_property
    def _tiles(self) -> int:
        return self._sides[0].tiles * self._sides[1].tiles * self._batch

    def _last(self, x: ir.Value, channels: int, sides: Sequence[int]) -> ir.Value:
        """[N, C, H, W] with batch and channels last, [H, W N C]."""
        moved = self._b.op("Transpose", x, perm=[2, 3, 0, 1])
        return self._b.reshape(moved, sides[0], sides[1] * self._batch * channels)

    def _first(self, x: ir.Value) -> ir.Value:
        return self._b.op("Transpose", x, perm=[2, 3, 0, 1])

    def _applied(self, matrix: Matrix, x: ir.Value, lead: int, rest: int, groups: int) -> ir.Value:
        """``matrix`` [rows, k] by every one of ``lead`` matrices x [k, rest], as [lead, rows, rest]."""
        b = self._b
        rows, size = matrix.shape
        if groups == 1 or rows % groups:
            constant = b.constant(matrix.astype(np.float32))
            shape = [size, rest] if lead == 1 else [lead, size, rest]
            return b.op("MatMul", constant, b.reshape(x, *shape))
        columns, parts = _dense_parts(matrix, groups)
        x = b.reshape(x, lead, size, rest)
        if columns.size != size or (columns.reshape(-1) != np.arange(size)).any():
            x = b.op("Gather", x, b.constant(columns.reshape(-1).astype(np.int64)), axis=1)
        x = b.reshape(x, lead, groups, columns.shape[1], rest)
        same = parts[0] if (parts == parts[0]).all() else parts
        return b.op("MatMul", b.constant(same.astype(np.float32)), x)

    def _both(self, first: Matrix, second: Matrix, x: ir.Value, channels: int) -> ir.Value:
        """``first`` by the rows and ``second`` by the columns of x [H, W, N C]; the side that shrinks is first."""
        height, width, each = first.shape[1], second.shape[1], self._batch * channels
        groups = [side.groups for side in self._sides]
        if first.shape[0] > height:
            x = self._applied(first, x, 1, width * each, groups[0])
            return self._applied(second, x, first.shape[0], each, groups[1])
        x = self._applied(second, x, height, each, groups[1])
        return self._applied(first, x, 1, second.shape[0] * each, groups[0])

    def _tiled(self, x: ir.Value, channels: int) -> ir.Value:
        """[(group, element, tile) of rows, the same of columns, N C] as [elements^2, P, C]."""
        b, e, (rows, columns) = self._b, self._elements, self._sides
        last = columns.per_group * self._batch * channels
        if rows.groups == columns.groups == 1:
            moved = b.op("Transpose", b.reshape(x, e, rows.per_group, e, last), perm=[0, 2, 1, 3])
        else:
            parts = b.reshape(x, rows.groups, e, rows.per_group, columns.groups, e, last)
            moved = b.op("Transpose", parts, perm=[1, 4, 0, 2, 3, 5])
        return b.reshape(moved, e * e, self._tiles, channels)

    def _untiled(self, x: ir.Value, channels: int) -> ir.Value:
        """The inverse of :meth:`_tiled`."""
        b, e, (rows, columns) = self._b, self._elements, self._sides
        last = columns.per_group * self._batch * channels
        if rows.groups == columns.groups == 1:
            return b.op("Transpose", b.reshape(x, e, e, rows.per_group, last), perm=[0, 2, 1, 3])
        parts = b.reshape(x, e, e, rows.groups, rows.per_group, columns.groups, last)
        return b.op("Transpose", parts, perm=[2, 0, 3, 4, 1, 5])

    def _v(self, x: ir.Value) -> ir.Value:
        rows, columns = self._sides
        moved = self._last(x, self._in, [rows.size, columns.size])
        return self._tiled(self._both(rows.into, columns.into, moved, self._in), self._in)

    def _square(self) -> ir.Value:
        """The Kronecker square of G, [t^2, 9], as a quotient: as a constant of float32 it would not be exact."""
        b = self._b
        _, numerators, _, denominators = _parts(self._tile)
        over = b.constant(np.kron(denominators, denominators).reshape(-1, 1).astype(np.float32))
        quotient = b.op("Div", b.constant(np.kron(numerators, numerators).astype(np.float32)), over)
        b.nodes[-1].metadata_props[NOT_FOLDED] = "1"
        return quotient

    def _u(self, w: ir.Value) -> ir.Value:
        b, e = self._b, self._elements
        product = b.op("Gemm", self._square(), b.reshape(w, self._out * self._in, 9), transB=1)
        return b.reshape(product, e * e, self._out, self._in)

    def _dm(self, dy: ir.Value) -> ir.Value:
        rows, columns = self._sides
        moved = self._last(dy, self._out, [rows.out, columns.out])
        return self._tiled(self._both(rows.out_of.T, columns.out_of.T, moved, self._out), self._out)

    def forward(
        self, x: ir.Value, w: ir.Value, bias: ir.Value | None = None, factor: ir.Value | None = None
    ) -> ir.Value:
        """The output: x [N, C, H, W], w [O, C, 3, 3], perhaps bias [O] -> y [N, O, OH, OW].

        ``factor`` [N, 1, OH, OW] multiplies the output before the bias is added.
        """
        b, (rows, columns) = self._b, self._sides
        m = b.op("MatMul", self._v(x), b.op("Transpose", self._u(w), perm=[0, 2, 1]))
        y = self._both(rows.out_of, columns.out_of, self._untiled(m, self._out), self._out)
        y = b.reshape(y, rows.out, columns.out, self._batch, self._out)
        if factor is not None:
            y = b.op("Mul", y, self._first(factor))
        return self._first(y if bias is None else b.op("Add", y, bias))

    def back_input(self, dy: ir.Value, w: ir.Value) -> ir.Value:
        """The gradient of x: dy [N, O, OH, OW], w [O, C, 3, 3] -> dx [N, C, H, W]."""
        b, (rows, columns) = self._b, self._sides
        dv = b.op("MatMul", self._dm(dy), self._u(w))
        dx = self._both(rows.into.T, columns.into.T, self._untiled(dv, self._in), self._in)
        return self._first(b.reshape(dx, rows.size, columns.size, self._batch, self._in))

    def back_filter(self, dy: ir.Value, x: ir.Value) -> ir.Value:
        """The gradient of w: dy [N, O, OH, OW], x [N, C, H, W] -> dw [O, C, 3, 3]."""
        b, e = self._b, self._elements
        du = b.op("MatMul", b.op("Transpose", self._dm(dy), perm=[0, 2, 1]), self._v(x))
        dw = b.op("Gemm", b.reshape(du, e * e, self._out * self._in), self._square(), transA=1)
        return b.reshape(dw, self._out, self._in, 3, 3)
