"""Convolutions as the product of their unrolled windows (im2col) with their filters."""

from __future__ import annotations

import math

from fathom_onnx.analysis.cost.call import Call

from .product import Form, MatrixProduct

__all__ = ["convolution", "depthwise", "transposed"]


def convolution(weights: int = 1, channels_last: bool = False) -> Form:
    """A convolution whose filters are input ``weights``: [O, I / group, *kernel], or with the channels last."""

    def form(call: Call) -> tuple[MatrixProduct, ...]:
        group = call.integer("group", 1)
        output = call.result()
        filters = output[-1 if channels_last else 1]
        positions = math.prod(output[:-1]) if channels_last else output[0] * math.prod(output[2:])
        return (MatrixProduct(positions, filters // group, math.prod(call.shape(weights)[1:]), group),)

    return form


def depthwise(call: Call) -> tuple[MatrixProduct, ...]:
    """A convolution of each channel with a filter of its own, [C, 1, kernel]."""
    filters = call.shape(1)
    return (MatrixProduct(call.output_elements() // filters[0], 1, math.prod(filters[1:]), filters[0]),)


def transposed(weights: int = 1) -> Form:
    """A transposed convolution whose filters are input ``weights``: [I, O / group, *kernel]."""

    def form(call: Call) -> tuple[MatrixProduct, ...]:
        group = call.integer("group", 1)
        image, filters = call.shape(0), call.shape(weights)
        positions = image[0] * math.prod(image[2:])
        return (MatrixProduct(positions, math.prod(filters[1:]), image[1] // group, group),)

    return form
