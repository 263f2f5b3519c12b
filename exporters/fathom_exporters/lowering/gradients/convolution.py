"""Convolution gradients in standard ONNX.

With ``y[n,o,p,q] = sum_{c,i,j} x[n,c,p*s+i*d-pad,q*s+j*d-pad] * w[o,c,i,j]``:

* the filter gradient is a convolution of ``x`` by ``dy`` with batch and channel swapped and with stride and dilation
  exchanged; for a small kernel and enough channels, one matrix product of ``dy`` with a shifted view of ``x`` for each
  kernel element does the same multiplications faster;
* the input gradient is, at stride 1, a convolution of ``dy`` by the flipped filter with in and out channels swapped;
  at any other stride, for few positions, and where the input is larger than the output, a transposed convolution.

Each form does exactly the multiplications of the gradient's definition, apart from those with padding zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    elements = window.kernel[0] * window.kernel[1]
    if elements == 1:
        return True
    limit = _MATMUL_KERNEL["dense" if window.strides == [1, 1] else "strided"]
    return channels_in >= _MATMUL_CHANNELS and elements <= limit


_FLIP_POSITIONS = 512
"""Fewest output positions (N * OH * OW) for which the filter is flipped for the input gradient at stride 1. To flip it
costs a fixed time for each of its elements, which only many positions repay. Measured with onnxruntime on one thread,
flipped against transposed convolution in ms: 512 channels at 16x7x7 92 and 99, at 4x2x2 14.5 and 5.3; 256 channels at
4x4x4 7.3 and 1.6; 64 channels at 4x16x16 1.2 and 1.1, at 16x56x56 48 and 50.

An input larger than the output (a convolution without padding) is reached from zeros around ``dy``, with which the
flipped form multiplies as well: 64 channels from 9x9 to 7x7 at batch 32 it takes 4.1 ms, transposed convolution 2.3."""


def _fit_input(
    b: Builder, x: ir.Value, window: Window, size: list[int], reach: list[int]
) -> tuple[ir.Value, list[int]]:
    """``x`` [.., H, W] without the rows and columns at its end that no window reaches, and the missing end padding."""
    missing = [reach[i] - size[i] - window.pads[i] for i in range(2)]
    if min(missing) < 0:
        ends = [size[i] + min(missing[i], 0) for i in range(2)]
        x = b.slice(x, [0, 0], ends, [2, 3])
    return x, [max(m, 0) for m in missing]


def _by_matmul(b: Builder, node: ir.Node, dy: ir.Value, x: ir.Value) -> ir.Value:
    window = Window(node)
    batch, channels_in, *size = static_shape(x)
    _, channels, *out = static_shape(dy)
    reach = window.extent(out)
    top, left = window.pads[:2]
    rows = batch * out[0] * out[1]
    # channels first, so that each shifted view is a matrix [C, N*OH*OW] without another transpose
    dy_matrix = b.reshape(b.op("Transpose", dy, perm=[1, 0, 2, 3]), channels, rows)
    view = b.op("Transpose", x, perm=[1, 0, 2, 3])
    end = [max(reach[0] - size[0] - top, 0), max(reach[1] - size[1] - left, 0)]
    if top or left or any(end):
        view = b.op("Pad", view, b.ints(0, 0, top, left, 0, 0, *end))
    products = []
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            start = [i * window.dilations[0], j * window.dilations[1]]
            stop = [start[a] + (out[a] - 1) * window.strides[a] + 1 for a in range(2)]
            shifted = view
            if window.kernel != [1, 1] or stop != size or window.strides != [1, 1]:
                shifted = b.slice(view, start, stop, [2, 3], window.strides)
            matrix = b.reshape(shifted, channels_in, rows)
            products.append(b.op("Gemm", dy_matrix, matrix, transB=1))
    if len(products) == 1:
        return b.reshape(products[0], channels, channels_in, 1, 1)
    taps = [b.reshape(p, channels, channels_in, 1) for p in products]
    return b.reshape(b.op("Concat", *taps, axis=2), channels, channels_in, *window.kernel)


def _by_convolution(b: Builder, node: ir.Node, dy: ir.Value, x: ir.Value) -> ir.Value:
    window = Window(node)
    size, out = static_shape(x)[2:], static_shape(dy)[2:]
    swapped, end = _fit_input(b, b.op("Transpose", x, perm=[1, 0, 2, 3]), window, size, window.extent(out))
    gradient = b.op(
        "Conv",
        swapped,
        b.op("Transpose", dy, perm=[1, 0, 2, 3]),
        kernel_shape=out,
        strides=window.dilations,
        dilations=window.strides,
        pads=[*window.pads[:2], *end],
        group=1,
    )
    return b.op("Transpose", gradient, perm=[1, 0, 2, 3])


def back_filter(b: Builder, node: ir.Node) -> list[ir.Value]:
    """Conv2DBackFilter: dy [N, O, OH, OW], x [N, C, H, W] -> dw [O, C/group, kh, kw]."""
    dy, x = operands(node)
    window = Window(node)
    if window.group != 1:
        raise ValueError("the filter gradient of a grouped convolution has no lowering yet; use group 1")
    form = _by_matmul if _products_are_faster(window, static_shape(x)[1]) else _by_convolution
    return [form(b, node, dy, x)]


def back_input(b: Builder, node: ir.Node) -> list[ir.Value]:
    """Conv2DBackInput: dy [N, O, OH, OW], w [O, C/group, kh, kw] -> dx [N, C, H, W]."""
    dy, w = operands(node)
    window = Window(node)
    size = list(node.attributes["input_shape"].as_ints())[2:]
    batch, _, *out = static_shape(dy)
    reach = window.extent(out)
    margin = [(k - 1) * d for k, d in zip(window.kernel, window.dilations, strict=True)]
    pads = [margin[0] - window.pads[0], margin[1] - window.pads[1]]
    pads += [size[i] - reach[i] + window.pads[i] + margin[i] for i in range(2)]
    many = window.kernel == [1, 1] or batch * out[0] * out[1] >= _FLIP_POSITIONS
    kept = size[0] * size[1] <= out[0] * out[1]
    if window.strides == [1, 1] and window.group == 1 and min(pads) >= 0 and many and kept:
        flipped = w
        if window.kernel != [1, 1]:
            lowest = -(2**31)
            flipped = b.slice(w, [-1, -1], [lowest, lowest], [2, 3], [-1, -1])
        swapped = b.op("Transpose", flipped, perm=[1, 0, 2, 3])
        attributes = {"kernel_shape": window.kernel, "strides": [1, 1], "dilations": window.dilations, "group": 1}
        return [b.op("Conv", dy, swapped, pads=pads, **attributes)]
    beyond = [size[i] - (reach[i] - window.pads[i] - window.pads[i + 2]) for i in range(2)]
    # rows at the end that no window reaches have no gradient: less end padding or, beyond that, output padding
    end = [window.pads[i + 2] - beyond[i] for i in range(2)]
    return [transposed(b, node, [*window.pads[:2], *(max(e, 0) for e in end)], [max(-e, 0) for e in end])]


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
