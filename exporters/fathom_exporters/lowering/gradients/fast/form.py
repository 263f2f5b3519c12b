"""What the forms of a convolution by products have in common: the sizes of its operands."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.window import Window

__all__ = ["ProductForm"]


class ProductForm:
    """The nodes of a convolution and its gradients as products, in one group, of images with any sides.

    Args:
        b: What builds them.
        window: Of the convolution.
        x_shape: [N, C, *size].
        y_shape: [N, O, *out].
    """

    def __init__(self, b: Builder, window: Window, x_shape: Sequence[int], y_shape: Sequence[int]) -> None:
        self._b, self._window = b, window
        self._batch, self._in, *self._size = x_shape
        self._out, *self._outs = y_shape[1:]
        self._elements = math.prod(window.kernel)
        self._positions = math.prod(self._outs)
        self._rows = self._batch * self._positions
