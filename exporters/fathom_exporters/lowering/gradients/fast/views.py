"""Convolutions and the gradients of their filters as one product with shifted views of the image.

Element e of the kernel reads, over all output positions p, a view ``x_e`` of the image. With the batch last, ``x`` as
[C, *size, N], a view is [C, P N] and is copied in runs of N elements at least, which a stride does not scatter. With
the views of each channel side by side, X [C K, P N], and y, dy as [O, P N]:

    y = w X             w as [O, C K]
    dw = dy X'          shared X, which is made once

No element of the filter or of its gradient is copied, and what comes from :mod:`.winograd`, with its batch and channels
last, is a matrix to be transposed. The products are those of the definition up to the order of sums, apart from those
with padding zeros, so that what is zero there is zero here; the error in float32 is that of the direct forms.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from fathom_exporters.lowering.values import known_shape, static_shape
from fathom_exporters.lowering.window import Window

from .form import ProductForm

__all__ = ["Views", "filter_by_views", "forward_by_views"]

VIEWS = {"channels": 16, "elements": 25, "positions": 100, "rows": 16}
"""Where products are with views: the fewest input channels and the most kernel elements; the most positions of an
output up to which the forward pass is one, and its filter's gradient with it; and beyond, the most positions over the
batch for each output channel up to which the gradient alone is one. Measured on one thread in turns, ms of forward and
both gradients in the direct forms, and the ratio to it where the gradient of the filter is a product with views, and
where the forward pass is too:

================================================  ======  ========  ====  ==========
batch, channels, side, kernel, stride, padding    direct  gradient  both  taken
================================================  ======  ========  ====  ==========
4, 512 to 512, 2, 3x3                             7.33    0.84      0.68  (patches)
2, 512 to 512, 4, 3x3                             6.22    0.70      0.67  (patches)
2, 512 to 512, 8, 3x3                             11.6    0.85      0.84  both
4, 256 to 256, 8, 3x3                             5.45    0.93      0.91  both
4, 64 to 128, 16, 3x3/2                           0.85    0.92      0.87  both
8, 192 to 384, 7, 3x3                             10.1    0.95      0.88  both
8, 512 to 512, 7, 3x3                             35.2    0.96      0.90  both
32, 64 to 64, 9, 3x3, no padding                  3.01    0.97      0.85  both
32, 32 to 64, 20, 4x4/2, no padding               4.37    0.97      0.88  both
2, 384 to 256, 13, 3x3                            9.79    0.98      0.99  gradient
8, 64 to 192, 15, 5x5                             18.7    1.02      1.01  gradient
2, 512 to 512, 28, 3x3                            103     1.02      1.02  gradient
8, 256 to 256, 14, 3x3                            28.4    1.03      1.03  gradient
32, 64 to 128, 28, 3x3/2                          20.5    0.98      0.94  direct
8, 64 to 64, 56, 3x3/2                            12.8    1.04      1.01  direct
8, 128 to 128, 28, 3x3                            28.7    1.10      1.14  direct
16, 32 to 32, 28, 5x5                             14.9    1.27      1.39  direct
2, 64 to 64, 112, 3x3                             31.6    1.22      1.35  direct
================================================  ======  ========  ====  ==========

There x and dy are images; between convolutions by Winograd's algorithm or with views they are matrices already, and
the gradient costs less: in the middle of the table it gains in a whole step what it loses alone."""

_MOST_BYTES = 2**28
"""Largest X, which a step keeps from the forward to the backward pass where both read it."""


def _rows(y: ir.Value) -> int:
    batch, _, *out = static_shape(y)
    return batch * math.prod(out)


def _can_be_views(x: ir.Value, y: ir.Value, window: Window) -> bool:
    shape = known_shape(x)
    if window.group != 1 or shape is None or known_shape(y) is None or x.dtype is None:
        return False
    channels, elements = shape[1], math.prod(window.kernel)
    fits = x.dtype.itemsize * channels * elements * _rows(y) <= _MOST_BYTES
    return fits and channels >= VIEWS["channels"] and elements <= VIEWS["elements"]


def forward_by_views(x: ir.Value, y: ir.Value, window: Window) -> bool:
    """Whether a convolution whose filter has a gradient, and that gradient, are products with the same views.

    Args:
        x: The input.
        y: The output, or its gradient.
        window: Of the convolution.
    """
    return _can_be_views(x, y, window) and math.prod(static_shape(y)[2:]) <= VIEWS["positions"]


def filter_by_views(x: ir.Value, y: ir.Value, window: Window, channels_last: bool = False) -> bool:
    """Whether the gradient of a filter is a product with views.

    Args:
        x: The input.
        y: The output, or its gradient.
        window: Of the convolution.
        channels_last: Whether x and the gradient of y are between convolutions by Winograd's algorithm, with batch and
            channels last. The direct form, which wants the channels first, was never faster there.
    """
    few = channels_last or forward_by_views(x, y, window)
    return _can_be_views(x, y, window) and (few or _rows(y) <= VIEWS["rows"] * static_shape(y)[1])


class Views(ProductForm):
    """A convolution and the gradient of its filter by products with views."""

    def _batch_last(self, x: ir.Value) -> ir.Value:
        """[N, C, *size] as [C, *size, N]."""
        return self._b.op("Transpose", x, perm=[1, *self._window.sides, 0])

    def _views(self, x: ir.Value) -> list[ir.Value]:
        """What each kernel element reads, [C, P N]."""
        b, window, outs = self._b, self._window, self._outs
        image = self._batch_last(x)
        end = [max(m, 0) for m in window.missing(self._size, outs)]
        size = [p + n + e for p, n, e in zip(window.starts, self._size, end, strict=True)]
        if size != self._size:
            image = b.op("Pad", image, b.ints(0, *window.starts, 0, 0, *end, 0))
        views = []
        for start, stop in window.reads(outs):
            whole = not any(start) and stop == size and not window.has_stride
            sides = range(1, 1 + window.rank)
            view = image if whole else b.slice(image, start, stop, sides, window.strides)
            views.append(b.reshape(view, self._in, self._rows))
        return views

    def _joined(self, x: ir.Value) -> ir.Value:
        """X, [C K, P N]."""
        b, views = self._b, self._views(x)
        if len(views) == 1:
            return views[0]
        parts = [b.reshape(view, self._in, 1, self._rows) for view in views]
        return b.reshape(b.op("Concat", *parts, axis=1), self._in * self._elements, self._rows)

    def forward(self, x: ir.Value, w: ir.Value, bias: ir.Value | None = None) -> ir.Value:
        """The output: x [N, C, *size], w [O, C, *kernel], perhaps bias [O] -> y [N, O, *out]."""
        b, rank = self._b, self._window.rank
        operands = [b.reshape(w, self._out, self._in * self._elements), self._joined(x)]
        operands += [] if bias is None else [b.reshape(bias, self._out, 1)]
        y = b.reshape(b.op("Gemm", *operands), self._out, *self._outs, self._batch)
        return b.op("Transpose", y, perm=[rank + 1, *range(rank + 1)])

    def back_filter(self, dy: ir.Value, x: ir.Value) -> ir.Value:
        """The gradient of w: dy [N, O, *out], x [N, C, *size] -> dw [O, C, *kernel]."""
        b = self._b
        matrix = b.reshape(self._batch_last(dy), self._out, self._rows)
        dw = b.op("Gemm", matrix, self._joined(x), transB=1)
        return b.reshape(dw, self._out, self._in, *self._window.kernel)
