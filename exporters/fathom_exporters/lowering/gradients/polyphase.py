"""Gradients of strided windows in ops that every consumer of the graphs reads.

With a stride s the rows of an image fall into s *polyphase components*: row ``s * u + a`` is row u of component a, and
element i of a window touches component ``i * d mod s`` only, d being the dilation. So the gradient of a convolution for
its input is, for each component, a convolution at stride 1 of ``dy`` by the filter elements that touch it. With
g = gcd(d, s) these are every (s/g)-th, at a distance of d/g rows. A transposed convolution does the same, but
accelerator simulators skip it. DepthToSpace interleaves the components to one image.

Where ``dy`` has as many rows as a component, all components together do the multiplications of the gradient's
definition. Where it has fewer, since the convolution pads less, zeros around it are multiplied too: a 3x3 filter from
9x9 to 7x7 takes each element to 81 positions and not to 49. Such a convolution states the multiplications of the
definition in its metadata (:data:`fathom_onnx.graph.definition.MACS_BY_DEFINITION`). The form without zeros, one
product for all filter elements whose parts are shifted and added, was tried for deepq: it does 5 % fewer
multiplications in the whole graph, has 27 more nodes, and moves 94 MB more, 35 % of all bytes, since the parts are as
many times the image as the filter has elements.

Likewise the gradient of a maximum pool needs no indices: ``dy`` goes to the first element of the window that equals
the maximum.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import operands, static_shape
from fathom_exporters.lowering.window import Window
from fathom_onnx.graph.definition import MACS_BY_DEFINITION

__all__ = ["back_input", "max_pool_grad"]

_LOWEST = -(2**31)
"""The end of a slice that goes backwards to the first element."""


def _interleave(
    b: Builder, components: ir.Value, channels: int, strides: Sequence[int], size: Sequence[int]
) -> ir.Value:
    """[N, prod(strides) * C, *size], components in order, to the image [N, C, *(size * strides)]."""
    if math.prod(strides) == 1:
        return components
    rank = len(strides)
    if rank == 2 and strides[0] == strides[1]:
        return b.op("DepthToSpace", components, blocksize=strides[0], mode="DCR")
    separate = b.reshape(components, -1, *strides, channels, *size)
    pairs = [axis for side in range(rank) for axis in (2 + rank + side, 1 + side)]
    interleaved = b.op("Transpose", separate, perm=[0, 1 + rank, *pairs])
    return b.reshape(interleaved, -1, channels, *(n * s for n, s in zip(size, strides, strict=True)))


def _crop(b: Builder, x: ir.Value, start: Sequence[int], size: Sequence[int], whole: Sequence[int]) -> ir.Value:
    """What is from ``start`` to ``start + size`` along the sides of ``x``, which have ``whole``."""
    if not any(start) and list(size) == list(whole):
        return x
    return b.slice(x, list(start), [s + n for s, n in zip(start, size, strict=True)], list(range(2, 2 + len(size))))


class _Grid:
    """How an image's rows, and what there is along its other sides, fall into polyphase components.

    Row ``r = s * v + c`` of the image is row ``r + pad`` of the padded image, over which the windows slide: it is in
    component ``a = (c + pad) mod s``, whose first row that belongs to the image is ``first = (c + pad) div s``.

    Attributes:
        strides: Along each side.
        pads: At the start of each side.
        size: Of a component, along each side.
        covered: Of all components interleaved, at least the image's.
    """

    def __init__(self, window: Window, size: Sequence[int]) -> None:
        self.strides, self.pads = window.strides, window.starts
        self.size = [-(-n // s) for n, s in zip(size, window.strides, strict=True)]
        self.covered = [n * s for n, s in zip(self.size, window.strides, strict=True)]

    def first(self, residue: Sequence[int]) -> list[int]:
        """The first row and column that a component has of the image, by the residue of its rows and columns."""
        return [(c + p) // s for c, p, s in zip(residue, self.pads, self.strides, strict=True)]

    def component(self, residue: Sequence[int]) -> list[int]:
        """The component, a window element modulo the stride, of the image's rows and columns with a residue."""
        return [(c + p) % s for c, p, s in zip(residue, self.pads, self.strides, strict=True)]

    def residue(self, element: Sequence[int]) -> tuple[int, ...]:
        """The image's rows and columns, modulo the stride, that a window element touches."""
        return tuple((e - p) % s for e, p, s in zip(element, self.pads, self.strides, strict=True))

    def residues(self) -> Iterator[tuple[int, ...]]:
        """The residues in the order of the components."""
        return itertools.product(*(range(s) for s in self.strides))


def _touching(window: Window, axis: int, component: int) -> list[int]:
    """The filter elements along an axis that touch a component, in order."""
    stride, dilation = window.strides[axis], window.dilations[axis]
    return [e for e in range(window.kernel[axis]) if e * dilation % stride == component]


@dataclass(frozen=True)
class _Taps:
    """The filter elements of a component.

    Attributes:
        count: Their number along each side.
        apart: The rows of the component from one to the next, and likewise along the other sides.
        begin: The first row of the component in the image, counted from the one that the last element takes the first
            of ``dy`` to, negative where it comes later; likewise along the other sides.
    """

    count: Sequence[int]
    apart: Sequence[int]
    begin: Sequence[int]


def _correlate(
    b: Builder, dy: ir.Value, flipped: ir.Value, channels: int, taps: _Taps, grid: _Grid, group: int = 1
) -> ir.Value:
    """Convolution of ``dy`` by flipped filters to ``channels``, at the positions of a component that the image has."""
    batch, filters, *out = static_shape(dy)
    reach = [(t - 1) * d for t, d in zip(taps.count, taps.apart, strict=True)]
    end = [n - o - p + r for n, o, p, r in zip(grid.size, out, taps.begin, reach, strict=True)]
    size = [o + min(p, 0) + min(e, 0) for o, p, e in zip(out, taps.begin, end, strict=True)]
    if min(size) <= 0:
        return _total(b, [], (batch, channels, *grid.size))
    kept = _crop(b, dy, [max(-p, 0) for p in taps.begin], size, out)
    pads = [max(p, 0) for p in (*taps.begin, *end)]
    window = {"kernel_shape": list(taps.count), "strides": [1] * len(out), "dilations": list(taps.apart), "pads": pads}
    image = b.op("Conv", kept, flipped, **window, group=group)
    if math.prod(out) < math.prod(grid.size):
        products = batch * filters * channels // group * math.prod(taps.count)
        b.nodes[-1].metadata_props[MACS_BY_DEFINITION] = str(products * math.prod(out))
    return image


def _all_components(b: Builder, dy: ir.Value, w: ir.Value, window: Window, grid: _Grid) -> ir.Value:
    """One convolution whose output channels are the components: all have as many taps and the same first row."""
    filters, channels = static_shape(w)[:2]
    rank = window.rank
    taps = [k // s for k, s in zip(window.kernel, window.strides, strict=True)]
    separate = b.reshape(w, filters, channels, *(n for pair in zip(taps, window.strides, strict=True) for n in pair))
    of_strides, of_taps = range(3, 3 + 2 * rank, 2), range(2, 2 + 2 * rank, 2)
    by_component = b.op("Transpose", separate, perm=[*of_strides, 1, 0, *of_taps])
    outputs = math.prod(window.strides) * channels
    stacked = b.reshape(by_component, outputs, filters, *taps)
    if math.prod(taps) != 1:
        stacked = b.slice(stacked, [-1] * rank, [_LOWEST] * rank, window.sides, [-1] * rank)
    begin = [t - 1 - f for t, f in zip(taps, grid.first([0] * rank), strict=True)]
    return _correlate(b, dy, stacked, outputs, _Taps(taps, [1] * rank, begin), grid)


def _swapped(b: Builder, w: ir.Value, group: int) -> ir.Value:
    """The filter [O, C/group, *kernel] with channels in and out swapped within each group: [C, O/group, *kernel]."""
    filters, channels, *kernel = static_shape(w)
    sides = range(2, 2 + len(kernel))
    if group == 1:
        return b.op("Transpose", w, perm=[1, 0, *sides])
    of_groups = b.reshape(w, group, filters // group, channels, *kernel)
    swapped = b.op("Transpose", of_groups, perm=[0, 2, 1, *(side + 1 for side in sides)])
    return b.reshape(swapped, group * channels, filters // group, *kernel)


def _each_component(b: Builder, dy: ir.Value, w: ir.Value, window: Window, grid: _Grid) -> ir.Value:
    """One convolution for each component."""
    batch, channels = static_shape(dy)[0], static_shape(w)[1] * window.group
    swapped = _swapped(b, w, window.group)
    common = [math.gcd(d, s) for d, s in zip(window.dilations, window.strides, strict=True)]
    step = [s // g for s, g in zip(window.strides, common, strict=True)]
    images = []
    for residue in grid.residues():
        component = grid.component(residue)
        elements = [_touching(window, axis, c) for axis, c in enumerate(component)]
        if not all(elements):
            images.append(_total(b, [], (batch, channels, *grid.size)))
            continue
        last = [e[-1] for e in elements]
        flipped = swapped
        if math.prod(window.kernel) != 1:
            flipped = b.slice(swapped, last, [_LOWEST] * window.rank, window.sides, [-s for s in step])
        rows = [e * d // s for e, d, s in zip(last, window.dilations, window.strides, strict=True)]
        begin = [r - f for r, f in zip(rows, grid.first(residue), strict=True)]
        apart = [d // g for d, g in zip(window.dilations, common, strict=True)]
        taps = _Taps([len(e) for e in elements], apart, begin)
        images.append(_correlate(b, dy, flipped, channels, taps, grid, window.group))
    return images[0] if len(images) == 1 else b.op("Concat", *images, axis=1)


def back_input(b: Builder, node: ir.Node) -> list[ir.Value]:
    """Conv2DBackInput: dy [N, O, *out], w [O, C/group, *kernel] -> dx [N, C, *size], in convolutions only."""
    dy, w = operands(node)
    window = Window(node)
    size = list(node.attributes["input_shape"].as_ints())[2:]
    grid = _Grid(window, size)
    alike = all(k % s == p % s == 0 for k, s, p in zip(window.kernel, window.strides, window.starts, strict=True))
    plain = window.has_stride and all(d == 1 for d in window.dilations) and window.group == 1
    convolve = _all_components if alike and plain else _each_component
    components = convolve(b, dy, w, window, grid)
    image = _interleave(b, components, static_shape(w)[1] * window.group, window.strides, grid.size)
    return [_crop(b, image, [0] * window.rank, size, grid.covered)]


def _maximum(b: Builder, x: ir.Value, window: Window) -> ir.Value:
    """The MaxPool of ``x``: the forward pass's, if the graph has it."""
    for user, _ in x.uses():
        if user.op_type == "MaxPool" and not user.domain and window.is_of(user):
            return user.outputs[0]
    return b.op("MaxPool", x, **window.attributes)


def max_pool_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """MaxPoolGrad: dy [N, C, *out], x [N, C, *size] -> dx [N, C, *size], without indices and without a scatter.

    The elements of a window take ``dy`` in row-major order: each takes what is left of it where it equals the maximum,
    so that the first such element gets all, as in the frameworks and by MaxPool's own indices.
    """
    dy, x = operands(node)
    window = Window(node)
    batch, channels, *size = static_shape(x)
    out = static_shape(dy)[2:]
    y = _maximum(b, x, window)
    reach = window.extent(out)
    ends = [max(r - n - p, 0) for r, n, p in zip(reach, size, window.starts, strict=True)]
    padded = x
    if any(window.starts) or any(ends):
        lowest = b.constant(np.array(np.finfo(x.dtype.numpy()).min, x.dtype.numpy()) if x.dtype else np.array(0))
        padded = b.op("Pad", x, b.ints(0, 0, *window.starts, 0, 0, *ends), lowest)
    grid = _Grid(window, size)
    parts: dict[tuple[int, ...], list[ir.Value]] = defaultdict(list)
    elements = list(itertools.product(*(range(k) for k in window.kernel)))
    left = dy
    for element in elements:
        taken = left
        start = [e * d for e, d in zip(element, window.dilations, strict=True)]
        if element != elements[-1]:
            stop = [s + (o - 1) * t + 1 for s, o, t in zip(start, out, window.strides, strict=True)]
            view = b.slice(padded, start, stop, window.sides, window.strides)
            taken = b.op("Mul", left, b.op("Cast", b.op("Equal", view, y), to=x.dtype))
            left = b.op("Sub", left, taken)
        residue = grid.residue(start)
        shift = [a // s - f for a, s, f in zip(start, window.strides, grid.first(residue), strict=True)]
        parts[residue].append(_shifted(b, taken, shift, out, grid))
    images = [_total(b, parts.get(residue, []), (batch, channels, *grid.size)) for residue in grid.residues()]
    components = images[0] if len(images) == 1 else b.op("Concat", *images, axis=1)
    image = _interleave(b, components, channels, window.strides, grid.size)
    return [_crop(b, image, [0] * window.rank, size, grid.covered)]


def _shifted(b: Builder, part: ir.Value, shift: Sequence[int], out: Sequence[int], grid: _Grid) -> ir.Value:
    """A part at its position in a component, with zeros around it and without what is outside."""
    ends = [n - o - s for n, o, s in zip(grid.size, out, shift, strict=True)]
    kept = [o + min(s, 0) + min(e, 0) for o, s, e in zip(out, shift, ends, strict=True)]
    part = _crop(b, part, [max(-s, 0) for s in shift], kept, out)
    pads = [max(s, 0) for s in (*shift, *ends)]
    return b.op("Pad", part, b.ints(0, 0, *pads[: len(out)], 0, 0, *pads[len(out) :])) if any(pads) else part


def _total(b: Builder, parts: Sequence[ir.Value], shape: Sequence[int]) -> ir.Value:
    """The sum of a component's parts; without any, zeros."""
    if not parts:
        return b.op("ConstantOfShape", b.ints(*shape))
    return parts[0] if len(parts) == 1 else b.op("Sum", *parts)
