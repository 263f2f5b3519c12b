"""Gradients of strided windows in ops that every consumer of the graphs reads.

With a stride s the rows of an image fall into s *phases*: row ``s * u + a`` is row u of phase a, and an element i of a
window touches phase ``i mod s`` only. So the gradient of a strided convolution for its input is, phase by phase, a
plain convolution of ``dy`` by the filter elements of that phase, and what all phases multiply together is what the
gradient's definition multiplies; a transposed convolution does the same, but accelerator simulators skip it. Likewise
the gradient of a maximum pool needs no indices: ``dy`` goes to the first element of the window that equals the
maximum. The phases are woven into one image by DepthToSpace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder, Window
from fathom_exporters.lowering.values import operands, static_shape

from . import convolution

__all__ = ["back_input", "max_pool_grad"]

_LOWEST = -(2**31)
"""The end of a slice that runs backwards to the first element."""


def _weave(b: Builder, phases: ir.Value, channels: int, strides: Sequence[int], size: Sequence[int]) -> ir.Value:
    """[N, sh * sw * C, U, V], phases in order, to [N, C, U * sh, V * sw]."""
    if list(strides) == [1, 1]:
        return phases
    if strides[0] == strides[1]:
        return b.op("DepthToSpace", phases, blocksize=strides[0], mode="DCR")
    apart = b.reshape(phases, -1, *strides, channels, *size)
    woven = b.op("Transpose", apart, perm=[0, 3, 4, 1, 5, 2])
    return b.reshape(woven, -1, channels, size[0] * strides[0], size[1] * strides[1])


def _crop(b: Builder, x: ir.Value, start: Sequence[int], size: Sequence[int], held: Sequence[int]) -> ir.Value:
    """Rows and columns ``start`` to ``start + size`` of ``x``, which holds ``held`` of them."""
    if not any(start) and list(size) == list(held):
        return x
    return b.slice(x, list(start), [s + n for s, n in zip(start, size, strict=True)], [2, 3])


class _Grid:
    """How an image's rows and columns fall into phases.

    Row ``r = s * v + c`` lies at ``r + pad`` under the windows: in phase ``a = (c + pad) mod s``, where the first row
    that the image needs is ``first = (c + pad) div s``.
    """

    def __init__(self, window: Window, size: Sequence[int]) -> None:
        self.strides, self.pads = window.strides, window.pads[:2]
        self.size = [-(-n // s) for n, s in zip(size, window.strides, strict=True)]
        self.held = [n * s for n, s in zip(self.size, window.strides, strict=True)]

    def first(self, place: Sequence[int]) -> list[int]:
        """First row and column of the phase that holds the image's rows and columns ``place`` modulo the stride."""
        return [(c + p) // s for c, p, s in zip(place, self.pads, self.strides, strict=True)]

    def phase(self, place: Sequence[int]) -> list[int]:
        """The window element, modulo the stride, that touches ``place``."""
        return [(c + p) % s for c, p, s in zip(place, self.pads, self.strides, strict=True)]

    def place(self, element: Sequence[int]) -> tuple[int, int]:
        """The image's rows and columns, modulo the stride, that a window element touches."""
        row, column = ((e - p) % s for e, p, s in zip(element, self.pads, self.strides, strict=True))
        return row, column


def _taps(kernel: int, stride: int, phase: int) -> int:
    """Window elements that touch a phase."""
    return max(-(-(kernel - phase) // stride), 0)


def _correlate(
    b: Builder, dy: ir.Value, flipped: ir.Value, taps: Sequence[int], first: Sequence[int], grid: _Grid
) -> ir.Value:
    """Convolution of ``dy`` by flipped filters, at the positions of a phase that the image needs."""
    out = static_shape(dy)[2:]
    begin = [t - 1 - f for t, f in zip(taps, first, strict=True)]
    end = [n - o - p + t - 1 for n, o, p, t in zip(grid.size, out, begin, taps, strict=True)]
    kept = _crop(
        b,
        dy,
        [max(-p, 0) for p in begin],
        [o + min(p, 0) + min(e, 0) for o, p, e in zip(out, begin, end, strict=True)],
        out,
    )
    pads = [max(p, 0) for p in (*begin, *end)]
    return b.op("Conv", kept, flipped, kernel_shape=list(taps), strides=[1, 1], dilations=[1, 1], pads=pads, group=1)


def _all_phases(b: Builder, dy: ir.Value, w: ir.Value, window: Window, grid: _Grid) -> ir.Value:
    """One convolution whose output channels are the phases: all have as many filter elements and begin alike."""
    filters, channels = static_shape(w)[:2]
    taps = [k // s for k, s in zip(window.kernel, window.strides, strict=True)]
    apart = b.reshape(w, filters, channels, taps[0], window.strides[0], taps[1], window.strides[1])
    by_phase = b.op("Transpose", apart, perm=[3, 5, 1, 0, 2, 4])
    stacked = b.reshape(by_phase, window.strides[0] * window.strides[1] * channels, filters, *taps)
    if taps != [1, 1]:
        stacked = b.slice(stacked, [-1, -1], [_LOWEST, _LOWEST], [2, 3], [-1, -1])
    return _correlate(b, dy, stacked, taps, grid.first((0, 0)), grid)


def _each_phase(b: Builder, dy: ir.Value, w: ir.Value, window: Window, grid: _Grid) -> ir.Value:
    """A convolution for each phase."""
    batch, channels = static_shape(dy)[0], static_shape(w)[1]
    swapped = b.op("Transpose", w, perm=[1, 0, 2, 3])
    images = []
    for row in range(window.strides[0]):
        for column in range(window.strides[1]):
            phase = grid.phase((row, column))
            taps = [_taps(k, s, p) for k, s, p in zip(window.kernel, window.strides, phase, strict=True)]
            if min(taps) == 0:
                images.append(b.op("ConstantOfShape", b.ints(batch, channels, *grid.size)))
                continue
            last = [p + s * (t - 1) for p, s, t in zip(phase, window.strides, taps, strict=True)]
            steps = [-s for s in window.strides]
            part = swapped
            if window.kernel != [1, 1]:
                part = b.slice(swapped, last, [_LOWEST, _LOWEST], [2, 3], steps)
            images.append(_correlate(b, dy, part, taps, grid.first((row, column)), grid))
    return images[0] if len(images) == 1 else b.op("Concat", *images, axis=1)


def back_input(b: Builder, node: ir.Node) -> list[ir.Value]:
    """Conv2DBackInput: dy [N, O, OH, OW], w [O, C, kh, kw] -> dx [N, C, H, W], in convolutions only.

    A grouped or dilated convolution with a stride keeps its transposed convolution.
    """
    dy, w = operands(node)
    window = Window(node)
    size = list(node.attributes["input_shape"].as_ints())[2:]
    if window.group != 1 or (window.dilations != [1, 1]):
        return convolution.back_input(b, node)
    grid = _Grid(window, size)
    alike = all(k % s == p % s == 0 for k, s, p in zip(window.kernel, window.strides, window.pads[:2], strict=True))
    phases = (_all_phases if alike and window.strides != [1, 1] else _each_phase)(b, dy, w, window, grid)
    image = _weave(b, phases, static_shape(w)[1], window.strides, grid.size)
    return [_crop(b, image, (0, 0), size, grid.held)]


def _maximum(b: Builder, x: ir.Value, window: Window) -> ir.Value:
    """The MaxPool of ``x``: the forward pass's own, where the graph has it."""
    for user, _ in x.uses():
        if user.op_type == "MaxPool" and not user.domain and window.of(user):
            return user.outputs[0]
    return b.op("MaxPool", x, **window.attributes)


def max_pool_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """MaxPoolGrad: dy [N, C, OH, OW], x [N, C, H, W] -> dx [N, C, H, W], without indices and without a scatter.

    What is left of ``dy`` meets the elements of each window in their order: the first that equals the maximum takes
    it, as frameworks and MaxPool's own indices have it.
    """
    dy, x = operands(node)
    window = Window(node)
    batch, channels, *size = static_shape(x)
    out = static_shape(dy)[2:]
    y = _maximum(b, x, window)
    reach = window.extent(out)
    ends = [max(r - n - p, 0) for r, n, p in zip(reach, size, window.pads[:2], strict=True)]
    padded = x
    if any(window.pads[:2]) or any(ends):
        lowest = b.constant(np.array(np.finfo(x.dtype.numpy()).min, x.dtype.numpy()) if x.dtype else np.array(0))
        padded = b.op("Pad", x, b.ints(0, 0, *window.pads[:2], 0, 0, *ends), lowest)
    grid = _Grid(window, size)
    parts: dict[tuple[int, int], list[ir.Value]] = defaultdict(list)
    places = [(i, j) for i in range(window.kernel[0]) for j in range(window.kernel[1])]
    left = dy
    for place in places:
        taken = left
        if place != places[-1]:
            start = [p * d for p, d in zip(place, window.dilations, strict=True)]
            stop = [s + (o - 1) * t + 1 for s, o, t in zip(start, out, window.strides, strict=True)]
            element = b.slice(padded, start, stop, [2, 3], window.strides)
            taken = b.op("Mul", left, b.op("Cast", b.op("Equal", element, y), to=x.dtype))
            left = b.op("Sub", left, taken)
        at = [p * d for p, d in zip(place, window.dilations, strict=True)]
        held = grid.place(at)
        shift = [a // s - f for a, s, f in zip(at, window.strides, grid.first(held), strict=True)]
        parts[held].append(_place(b, taken, shift, out, grid))
    images = [
        _total(b, parts.get((row, column), []), (batch, channels, *grid.size))
        for row in range(window.strides[0])
        for column in range(window.strides[1])
    ]
    phases = images[0] if len(images) == 1 else b.op("Concat", *images, axis=1)
    image = _weave(b, phases, channels, window.strides, grid.size)
    return [_crop(b, image, (0, 0), size, grid.held)]


def _place(b: Builder, part: ir.Value, shift: Sequence[int], out: Sequence[int], grid: _Grid) -> ir.Value:
    """A part at its place in a phase: zeros around it, and nothing of what lies outside."""
    ends = [n - o - s for n, o, s in zip(grid.size, out, shift, strict=True)]
    kept = [o + min(s, 0) + min(e, 0) for o, s, e in zip(out, shift, ends, strict=True)]
    part = _crop(b, part, [max(-s, 0) for s in shift], kept, out)
    pads = [max(s, 0) for s in (*shift, *ends)]
    return b.op("Pad", part, b.ints(0, 0, *pads[:2], 0, 0, *pads[2:])) if any(pads) else part


def _total(b: Builder, parts: Sequence[ir.Value], shape: Sequence[int]) -> ir.Value:
    if not parts:
        return b.op("ConstantOfShape", b.ints(*shape))
    return parts[0] if len(parts) == 1 else b.op("Sum", *parts)
