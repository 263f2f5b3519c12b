"""Convolutions over small images and both of their gradients, each as one product over the whole batch.

The *patches* of an image are the inputs of its windows: element e of the window at output position p is the input at
one place, or padding. With the constant matrix S [H W, P K] of ones where place h is element e of the window at p,
else zero, of P positions and K elements, an image's patches are ``x S`` for x [C, H W], and what is at its places is
added up by the transposed one. Over the batch, with ``R(x)`` the patches as [N P, C K] and dy, y as [N P, O]:

    y = R(x) w'                    w as [O, C K]
    dw = dy' R(x)                  shared R(x)
    dx = R*(dy w)                  R* the adjoint of R: exact, since the convolution is linear in x

Each is one product with N P rows, where onnxruntime's kernels make one an image with P columns, and read the filter
anew for each. No element of the gradient of a filter is copied. The products with S are a dense one of H W P K
multiplications a channel for K C H W additions by definition, which small images can afford; its zeros add exact zeros,
and the rest is the definition up to the order of sums: what is zero there is zero here. The error in float32 is 2e-7 to
5e-7 of the largest value, that of the direct forms.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering.values import known_shape
from fathom_exporters.lowering.window import Window

from .form import ProductForm

__all__ = ["PATCHES", "Patches", "by_patches"]

PATCHES = {"positions": 16, "places": 0.25}
"""Where the products are over the patches of the whole batch (:mod:`.patches`): the most positions of an output, and
the most places of an input for each output channel, of which the part is that the products with S take. Measured on one
thread of a busy machine in turns, minima in ms of forward and both gradients in the direct forms, and the ratio to it:

========================================  ======  =======  ====  =======
batch, channels, side, kernel and stride  direct  patches  F(2)  taken
========================================  ======  =======  ====  =======
4, 512 to 512, 2, 3x3                     13.1    0.26     0.60  patches
4, 256 to 512, 4, 3x3/2                   6.7     0.27           patches
4, 256 to 512, 4, 1x1/2                   0.44    0.34           patches
2, 512 to 512, 4, 3x3                     10.5    0.49     0.81  patches
4, 256 to 256, 4, 3x3                     3.85    0.59     0.62  patches
4, 128 to 256, 8, 3x3/2                   1.95    0.68           patches
4, 128 to 256, 8, 1x1/2                   0.16    0.71           patches
2, 256 to 512, 8, 3x3                     18.5    0.58     0.37  F(2)
8, 512 to 512, 7, 3x3                     132     0.80     0.63  F(2)
2, 512 to 512, 8, 3x3                     41.5    0.98     0.77  F(2)
4, 64 to 128, 16, 1x1/2                   0.17    1.24           direct
4, 64 to 128, 16, 3x3/2                   1.57    1.43           direct
4, 128 to 128, 8, 3x3                     2.3     1.27     0.64  F(2)
4, 64 to 64, 16, 3x3                      2.58    5.8      0.78  F(2)
========================================  ======  =======  ====  ======="""


def by_patches(x: ir.Value, y: ir.Value, window: Window) -> bool:
    """Whether a convolution and its gradients are products over patches.

    Args:
        x: The input, or its gradient.
        y: The output, or its gradient.
        window: Of the convolution.
    """
    x_shape, y_shape = known_shape(x), known_shape(y)
    if window.group != 1 or x_shape is None or y_shape is None or x.dtype != ir.DataType.FLOAT:
        return False
    places, positions = math.prod(x_shape[2:]), math.prod(y_shape[2:])
    return positions <= PATCHES["positions"] and places <= PATCHES["places"] * y_shape[1]


class Patches(ProductForm):
    """A convolution and both gradients by products with patches."""

    def _places(self) -> ir.Value:
        """S, [H W, P K]."""
        size, window = self._size, self._window
        places = np.zeros((math.prod(size), self._positions, self._elements), np.float32)
        for p, position in enumerate(itertools.product(*map(range, self._outs))):
            for e, element in enumerate(itertools.product(*map(range, window.kernel))):
                of = zip(position, window.strides, element, window.dilations, window.starts, strict=True)
                place = [o * s + i * d - pad for o, s, i, d, pad in of]
                if all(0 <= at < n for at, n in zip(place, size, strict=True)):
                    places[np.ravel_multi_index(place, size), p, e] = 1
        return self._b.constant(places.reshape(len(places), -1))

    def _patches(self, x: ir.Value) -> ir.Value:
        """R(x), [N P, C K]."""
        b, parts = self._b, (self._positions, self._elements)
        at = b.op("MatMul", b.reshape(x, self._batch * self._in, math.prod(self._size)), self._places())
        moved = b.op("Transpose", b.reshape(at, self._batch, self._in, *parts), perm=[0, 2, 1, 3])
        return b.reshape(moved, self._rows, self._in * self._elements)

    def _last(self, dy: ir.Value) -> ir.Value:
        """[N, O, *out] with channels last, [N P, O]."""
        moved = self._b.op("Transpose", dy, perm=[0, *self._window.sides, 1])
        return self._b.reshape(moved, self._rows, self._out)

    def _matrix(self, w: ir.Value) -> ir.Value:
        return self._b.reshape(w, self._out, self._in * self._elements)

    def forward(self, x: ir.Value, w: ir.Value, bias: ir.Value | None = None) -> ir.Value:
        """The output: x [N, C, *size], w [O, C, *kernel], perhaps bias [O] -> y [N, O, *out]."""
        b = self._b
        operands = [self._patches(x), self._matrix(w), *([] if bias is None else [bias])]
        y = b.reshape(b.op("Gemm", *operands, transB=1), self._batch, *self._outs, self._out)
        rank = len(self._outs)
        return b.op("Transpose", y, perm=[0, rank + 1, *range(1, rank + 1)])

    def back_input(self, dy: ir.Value, w: ir.Value) -> ir.Value:
        """The gradient of x: dy [N, O, *out], w [O, C, *kernel] -> dx [N, C, *size]."""
        b = self._b
        of_patches = b.op("Gemm", self._last(dy), self._matrix(w))
        parts = b.reshape(of_patches, self._batch, self._positions, self._in, self._elements)
        moved = b.reshape(b.op("Transpose", parts, perm=[0, 2, 1, 3]), self._batch * self._in, -1)
        dx = b.op("Gemm", moved, self._places(), transB=1)
        return b.reshape(dx, self._batch, self._in, *self._size)

    def back_filter(self, dy: ir.Value, x: ir.Value) -> ir.Value:
        """The gradient of w: dy [N, O, *out], x [N, C, *size] -> dw [O, C, *kernel]."""
        dw = self._b.op("Gemm", self._last(dy), self._patches(x), transA=1)
        return self._b.reshape(dw, self._out, self._in, *self._window.kernel)
