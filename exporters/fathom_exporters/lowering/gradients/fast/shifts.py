"""Gradients of filters between convolutions by Winograd's algorithm, as one product of shifted tensors.

At stride 1 kernel element (i, j) of a filter reads the image i rows down and j columns to the right. The shift along
the rows can be made of dy in place of x. With the batch last and padding p above and q to the left of the image,

    X_j [c, h, w, n] = x [c, h, w + j - q, n]      an image of the size [H, OW], zero where there is none
    Y_i [o, h, w, n] = dy [o, h - i + p, w, n]     an output of the same size, zero where there is none
    dw [o, c, i, j] = sum over h, w, n of Y_i X_j

The product of all Y_i with all X_j has every element of the filter's gradient and nothing else. Of k by l kernel
elements it copies k + l tensors and not k l, and is k l times as large as a product for each element, which multiplies
faster. What comes from :mod:`.winograd` has its batch and channels last and is a matrix to be transposed.

The products are those of the definition up to the order of sums, apart from those with padding zeros, so that what is
zero there is zero here; the error in float32 is that of the direct forms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from fathom_exporters.lowering.values import known_shape
from fathom_exporters.lowering.window import Window

from .form import ProductForm

__all__ = ["Shifts", "filter_by_shifts"]

_ROWS = 40
"""Fewest positions over the batch, for each output channel, at which a gradient is one product of shifted tensors.
Measured by ``benchmarks/step_speed/filters.py`` on an AMD EPYC in turns, medians in ms on one thread and two, 3x3
between convolutions by Winograd's algorithm; *direct* is one product a kernel element of images with channels first:

======================  ============  ============  ============  =======
batch, channels, side   direct        with views    of shifted    taken
======================  ============  ============  ============  =======
8, 64 to 64, 224        843 and 754   322 and 221   239 and 166   shifted
8, 64 to 128, 112       300 and 268   114 and 79    101 and 71    shifted
8, 128 to 128, 112      498 and 415   221 and 143   177 and 120   shifted
8, 128 to 256, 56       148 and 113   88.8 and 52   81.8 and 51   shifted
8, 256 to 256, 56       271 and 197   177 and 101   153 and 92    shifted
2, 64 to 64, 112        23 and 22     17.8 and 13   14.3 and 9.3  shifted
2, 128 to 128, 56       14 and 12     12.3 and 8.3  10.3 and 7.5  shifted
4, 64 to 64, 32         3.4 and 6.2   2.6 and 3.0   2.0 and 2.2   shifted
32, 32 to 32, 28        11 and 11     7.1 and 5.3   4.5 and 7.9   shifted
8, 512 to 512, 28       163 and 103   143 and 81    145 and 82    views
8, 256 to 512, 28       92 and 55     73 and 41     77 and 45     views
2, 256 to 256, 28       11 and 8.3    10 and 6.1    10.3 and 6.9  views
4, 128 to 128, 16       2.6 and 3.0   2.0 and 2.2   1.9 and 2.2   views
8, 512 to 512, 14       40 and 26     36 and 21     40 and 26     views
4, 256 to 256, 8        2.6 and 2.4   1.9 and 1.6   3.3 and 3.5   views
======================  ============  ============  ============  ======="""

_MOST_BYTES = 2**30
"""Largest operands of the product, which a step does not keep."""


def filter_by_shifts(x: ir.Value, y: ir.Value, window: Window) -> bool:
    """Whether the gradient of a filter between convolutions by Winograd's algorithm is a product of shifted tensors.

    Args:
        x: The input, [N, C, H, W].
        y: The output, or its gradient, [N, O, OH, OW].
        window: Of the convolution.
    """
    x_shape, y_shape = known_shape(x), known_shape(y)
    if x_shape is None or y_shape is None or x.dtype is None or window.has_stride or window.group != 1:
        return False
    batch, channels_in, height, _ = x_shape
    _, channels, *outs = y_shape
    columns = window.kernel[0] * channels + window.kernel[1] * channels_in
    fits = x.dtype.itemsize * batch * height * outs[1] * columns <= _MOST_BYTES
    return fits and batch * math.prod(outs) >= _ROWS * channels


class Shifts(ProductForm):
    """The gradient of the filter of a convolution with two sides and stride 1, in one group."""

    def back_filter(self, dy: ir.Value, x: ir.Value) -> ir.Value:
        """The gradient of w: dy [N, O, OH, OW], x [N, C, H, W] -> dw [O, C, *kernel]."""
        b, window, (rows, columns) = self._b, self._window, self._window.kernel
        down, across = (
            [element * dilation - padding for element in range(elements)]
            for elements, dilation, padding in zip(window.kernel, window.dilations, window.starts, strict=True)
        )
        image, gradient = self._batch_last(x, self._in, self._size), self._batch_last(dy, self._out, self._outs)
        images = self._shifted(image, 2, self._size[1], across, self._outs[1])
        gradients = self._shifted(gradient, 1, self._outs[0], [-start for start in down], self._size[0])
        places = self._batch * self._size[0] * self._outs[1]
        operands = b.reshape(gradients, rows * self._out, places), b.reshape(images, columns * self._in, places)
        elements = b.reshape(b.op("Gemm", *operands, transB=1), rows, self._out, columns, self._in)
        return b.op("Transpose", elements, perm=[1, 3, 0, 2])

    def _batch_last(self, image: ir.Value, channels: int, size: Sequence[int]) -> ir.Value:
        """[N, channels, *size] as [channels, *size, N], by way of [*size, N, channels]."""
        b = self._b
        last = b.op("Transpose", image, perm=[2, 3, 0, 1])
        # as a matrix: onnxruntime moves the channels of an image with batch and channels first far more slowly
        matrix = b.reshape(last, self._batch * math.prod(size), channels)
        return b.reshape(b.op("Transpose", matrix, perm=[1, 0]), channels, *size, self._batch)

    def _shifted(self, image: ir.Value, axis: int, size: int, starts: Sequence[int], length: int) -> ir.Value:
        """The parts of an image from each of ``starts`` on, of a length along one axis, one after the other."""
        b = self._b
        before, after = max(0, -min(starts)), max(0, max(starts) + length - size)
        pads = [0] * 8
        pads[axis], pads[4 + axis] = before, after
        # one Pad that only adds: onnxruntime takes elements away in a Pad five times as slowly as in a Slice
        padded = b.op("Pad", image, b.ints(*pads)) if before or after else image
        parts = [
            b.slice(padded, [before + start], [before + start + length], [axis]) if start or length != size else image
            for start in starts
        ]
        return b.op("Concat", *parts, axis=0)
