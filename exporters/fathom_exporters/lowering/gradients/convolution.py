"""Convolution gradients in standard ONNX.

With ``y[n,o,p,q] = sum_{c,i,j} x[n,c,p*s+i*d-pad,q*s+j*d-pad] * w[o,c,i,j]``:

* the filter gradient is a convolution of ``x`` by ``dy`` with batch and channel swapped and with stride and dilation
  exchanged; for a small kernel and enough channels, one matrix product of ``dy`` with a shifted view of ``x`` for each
  kernel element does the same multiplications faster. In ``group`` groups it is the same convolution with the batch
  among the channels of each group;
* the input gradient is, at stride 1, a convolution of ``dy`` by the flipped filter with in and out channels swapped;
  at any other stride, for few positions, and where the input is larger than the output, a transposed convolution.

Each form does exactly the multiplications of the gradient's definition, apart from those with padding zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import operands, static_shape
from fathom_exporters.lowering.window import Window

__all__ = ["back_filter", "back_input", "transposed"]

_MATMUL_CHANNELS = 16
_MATMUL_KERNEL = {"dense": 25, "strided": 9}
"""Fewest input channels, and most kernel elements without and with a stride, at which the filter gradient is one
matrix product a kernel element. Measured with onnxruntime on one thread of a CPU, as products and as a convolution:

=================================  ========  ===========
kernel, channels, image, batch     products  convolution
=================================  ========  ===========
3x3, 64 to 64, 224, 2              199 ms    335 ms
3x3, 512 to 512, 14, 8             91 ms     155 ms
3x3, 3 to 64, 224, 4               96 ms     54 ms
3x3/2, 64 to 128, 56, 16           37 ms     48 ms
4x4/2, 64 to 64, 28, 16            12 ms     9 ms
5x5, 64 to 192, 27, 64             385 ms    528 ms
5x5, 16 to 64, 32, 16              13 ms     18 ms
5x5, 3 to 64, 64, 16               33 ms     16 ms
5x5/2, 64 to 64, 28, 16            18 ms     14 ms
7x7/2, 3 to 64, 224, 16            308 ms    86 ms
11x11/4, 3 to 64, 224, 64          833 ms    150 ms
=================================  ========  ===========

A product has the channels as its short side and a convolution the kernel elements; a stride scatters what a product
reads. A 1x1 kernel needs no view at all and is always a product."""


def _products_are_faster(window: Window, channels_in: int) -> bool:
    if window.group != 1:
        return False
    elements = math.prod(window.kernel)
    if elements == 1:
        return True
    limit = _MATMUL_KERNEL["strided" if window.has_stride else "dense"]
    return channels_in >= _MATMUL_CHANNELS and elements <= limit


_FLIP_POSITIONS = 512
"""Fewest output positions (N * OH * OW) for which the filter is flipped for the input gradient at stride 1. To flip it
costs a fixed time for each of its elements, which only many positions repay. Measured with onnxruntime on one thread,
flipped against transposed convolution in ms: 512 channels at 16x7x7 92 and 99, at 4x2x2 14.5 and 5.3; 256 channels at
4x4x4 7.3 and 1.6; 64 channels at 4x16x16 1.2 and 1.1, at 16x56x56 48 and 50.

An input larger than the output (a convolution without padding) is reached from zeros around ``dy``, with which the
flipped form multiplies as well: 64 channels from 9x9 to 7x7 at batch 32 it takes 4.1 ms, transposed convolution 2.3."""


def _fit_input(
    b: Builder, x: ir.Value, window: Window, size: list[int], out: Sequence[int]
) -> tuple[ir.Value, list[int]]:
    """``x`` [.., .., *size] without what no window reaches at the end of its sides, and the missing end padding."""
    missing = window.missing(size, out)
    if min(missing) < 0:
        ends = [s + min(m, 0) for s, m in zip(size, missing, strict=True)]
        x = b.slice(x, [0] * window.rank, ends, window.sides)
    return x, [max(m, 0) for m in missing]


def _views(b: Builder, x: ir.Value, window: Window, out: Sequence[int]) -> Iterator[ir.Value]:
    """What each kernel element reads at all positions [N, *out], as [C, N*OH*OW]."""
    batch, channels, *size = static_shape(x)
    # channels first, so that each shifted view is a matrix [C, N*OH*OW] without another transpose
    view = b.op("Transpose", x, perm=[1, 0, *window.sides])
    end = [max(m, 0) for m in window.missing(size, out)]
    if any(window.starts) or any(end):
        view = b.op("Pad", view, b.ints(0, 0, *window.starts, 0, 0, *end))
    one = math.prod(window.kernel) == 1
    for start, stop in window.reads(out):
        shifted = view
        if not one or stop != size or window.has_stride:
            shifted = b.slice(view, start, stop, window.sides, window.strides)
        yield b.reshape(shifted, channels, batch * math.prod(out))


def _channels_first(b: Builder, dy: ir.Value) -> ir.Value:
    """[N, O, OH, OW] as [O, N*OH*OW]."""
    batch, channels, *out = static_shape(dy)
    moved = b.op("Transpose", dy, perm=[1, 0, *range(2, 2 + len(out))])
    return b.reshape(moved, channels, batch * math.prod(out))


def _by_matmul(b: Builder, node: ir.Node, dy: ir.Value, x: ir.Value) -> ir.Value:
    window = Window(node)
    channels_in, (channels, *out) = static_shape(x)[1], static_shape(dy)[1:]
    dy_matrix = _channels_first(b, dy)
    products = [b.op("Gemm", dy_matrix, matrix, transB=1) for matrix in _views(b, x, window, out)]
    if len(products) == 1:
        return b.reshape(products[0], channels, channels_in, *window.kernel)
    taps = [b.reshape(p, channels, channels_in, 1) for p in products]
    return b.reshape(b.op("Concat", *taps, axis=2), channels, channels_in, *window.kernel)


def _by_convolution(b: Builder, node: ir.Node, dy: ir.Value, x: ir.Value) -> ir.Value:
    window = Window(node)
    batch, channels, *size = static_shape(x)
    out, group = static_shape(dy)[2:], window.group
    swap = [1, 0, *window.sides]
    if group == 1:
        images = b.op("Transpose", x, perm=swap)
    else:  # [C/group, group * N, ...]: the batch is among the channels of each group
        of_groups = b.reshape(x, batch, group, channels // group, *size)
        by_group = b.op("Transpose", of_groups, perm=[2, 1, 0, *(side + 1 for side in window.sides)])
        images = b.reshape(by_group, channels // group, group * batch, *size)
    images, end = _fit_input(b, images, window, size, out)
    gradient = b.op(
        "Conv",
        images,
        b.op("Transpose", dy, perm=swap),
        kernel_shape=out,
        strides=window.dilations,
        dilations=window.strides,
        pads=[*window.starts, *end],
        group=group,
    )
    return b.op("Transpose", gradient, perm=swap)


def back_filter(b: Builder, node: ir.Node) -> list[ir.Value]:
    """Conv2DBackFilter: dy [N, O, *out], x [N, C, *size] -> dw [O, C/group, *kernel]."""
    dy, x = operands(node)
    window = Window(node)
    reach = window.extent(static_shape(dy)[2:])
    if any(r <= p for r, p in zip(reach, window.starts, strict=True)):  # windows in the padding only
        return [b.op("ConstantOfShape", b.ints(*static_shape(node.outputs[0])))]
    form = _by_matmul if _products_are_faster(window, static_shape(x)[1]) else _by_convolution
    return [form(b, node, dy, x)]


def back_input(b: Builder, node: ir.Node, may_flip: bool = True) -> list[ir.Value]:
    """Conv2DBackInput: dy [N, O, *out], w [O, C/group, *kernel] -> dx [N, C, *size].

    ``may_flip`` says whether it may be a convolution by the flipped filter.
    """
    dy, w = operands(node)
    window = Window(node)
    size = list(node.attributes["input_shape"].as_ints())[2:]
    batch, _, *out = static_shape(dy)
    reach = window.extent(out)
    margin = [(k - 1) * d for k, d in zip(window.kernel, window.dilations, strict=True)]
    pads = [m - p for m, p in zip(margin, window.starts, strict=True)]
    pads += [s - r + p + m for s, r, p, m in zip(size, reach, window.starts, margin, strict=True)]
    one = math.prod(window.kernel) == 1
    many = one or (may_flip and batch * math.prod(out) >= _FLIP_POSITIONS)
    kept = math.prod(size) <= math.prod(out)
    if not window.has_stride and window.group == 1 and min(pads) >= 0 and many and kept:
        flipped = w
        if not one:
            back, lowest = [-1] * window.rank, [-(2**31)] * window.rank
            flipped = b.slice(w, back, lowest, window.sides, back)
        swapped = b.op("Transpose", flipped, perm=[1, 0, *window.sides])
        attributes = {"kernel_shape": window.kernel, "strides": window.strides, "dilations": window.dilations}
        return [b.op("Conv", dy, swapped, pads=pads, **attributes, group=1)]
    # rows at the end that no window reaches have no gradient: less end padding or, beyond that, output padding
    end = window.missing(size, out)
    return [transposed(b, node, [*window.starts, *(max(e, 0) for e in end)], [max(-e, 0) for e in end])]


def transposed(b: Builder, node: ir.Node, pads: Sequence[int], output_padding: Sequence[int]) -> ir.Value:
    """Conv2DBackInput as one transposed convolution with the forward one's window, at any stride."""
    dy, w = operands(node)
    window = Window(node)
    return b.op(
        "ConvTranspose",
        dy,
        w,
        kernel_shape=window.kernel,
        strides=window.strides,
        dilations=window.dilations,
        group=window.group,
        pads=list(pads),
        output_padding=list(output_padding),
    )
