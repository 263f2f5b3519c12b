"""Slices, borders, reversed and shifted axes, and their gradients."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fathom_exporters.lowering import DOMAIN

from .emit import Emit, Handler

__all__ = ["MOVES"]

_LOWEST = -(2**31)
"""The end of a slice that goes backwards to the first element."""
_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


class _Slice(NamedTuple):
    """A slice along every axis of its input, with all axes kept."""

    starts: list[int]
    sizes: list[int]
    steps: list[int]


def _strided(e: Emit, shape: Sequence[int], first: int) -> _Slice:
    """The slice of a tensor of ``shape`` that the constant inputs from ``first`` and the masks say."""
    begin, end, steps = ([int(v) for v in e.static(first + index)] for index in range(3))
    masks = {name: int(e.attribute(name, 0)) for name in _MASKS}

    def has(name: str, index: int) -> bool:
        return bool(masks[name] >> index & 1)

    stated = sum(not has("new_axis_mask", i) and not has("ellipsis_mask", i) for i in range(len(begin)))
    found = _Slice([], [], [])

    def add(start: int, size: int, step: int) -> None:
        found.starts.append(start)
        found.sizes.append(size)
        found.steps.append(step)

    for i in range(len(begin)):
        axis = len(found.starts)
        if has("ellipsis_mask", i):
            for size in shape[axis : axis + len(shape) - stated]:
                add(0, size, 1)
        elif has("new_axis_mask", i):
            continue
        elif has("shrink_axis_mask", i):
            add(begin[i] % shape[axis], 1, 1)
        else:
            chosen = range(shape[axis])[
                None if has("begin_mask", i) else begin[i] : None if has("end_mask", i) else end[i] : steps[i]
            ]
            add(chosen.start if chosen else 0, len(chosen), steps[i])
    for size in shape[len(found.starts) :]:
        add(0, size, 1)
    return found


def _cut(e: Emit, x: str, axis: int, start: int, size: int, step: int = 1) -> str:
    """``size`` elements of ``x`` along an axis from ``start``."""
    shape = e.shape(x)
    if (start, size, step) == (0, shape[axis], 1):
        return x
    end = start + size * step
    stop = end if end >= 0 else _LOWEST
    limits = [e.ints([start]), e.ints([stop]), e.ints([axis])]
    if step != 1:
        limits.append(e.ints([step]))
    return e.op("Slice", x, *limits, shape=[*shape[:axis], size, *shape[axis + 1 :]])


def _flip(e: Emit, x: str, axis: int) -> str:
    size = e.shape(x)[axis]
    return _cut(e, x, axis, size - 1, size, -1) if size > 1 else x


def strided_slice(e: Emit) -> None:
    """StridedSlice(x, begin, end, strides), in steps of either sign.

    tf2onnx's own handler writes the plain ones, and is wrong about an ellipsis or a step beside axes that come or go.
    """
    x, stated = e.inputs[0], e.static(3)
    added_far = e.attribute("ellipsis_mask", 0) and e.attribute("new_axis_mask", 0) and len(stated) > 2
    if not added_far and all(step == 1 for step in stated):
        e.stock()
        return
    found = _strided(e, e.shape(x), 1)
    rows = [
        (axis, start, size, step)
        for axis, (start, size, step) in enumerate(zip(*found, strict=True))
        if (start, size, step) != (0, e.shape(x)[axis], 1)
    ]
    if rows:
        axes, starts, sizes, steps = (list(column) for column in zip(*rows, strict=True))
        ends = [a + n * s for a, n, s in zip(starts, sizes, steps, strict=True)]
        ends = [end if end >= 0 else _LOWEST for end in ends]
        limits = [e.ints(starts), e.ints(ends), e.ints(axes)]
        if any(step != 1 for step in steps):
            limits.append(e.ints(steps))
        x = e.op("Slice", x, *limits, shape=found.sizes)
    e.become(e.reshape(x, e.output_shape) if e.output_shape != e.shape(x) else x)


def strided_slice_grad(e: Emit) -> None:
    """StridedSliceGrad(shape, begin, end, strides, dy): dy at its positions within zeros."""
    shape = [int(v) for v in e.static(0)]
    starts, sizes, steps = _strided(e, shape, 1)
    dy = e.reshape(e.inputs[4], sizes)
    for axis, step in enumerate(steps):
        count = sizes[axis]
        if step < 0 and count:
            dy = _flip(e, dy, axis)
            starts[axis] += (count - 1) * step
        if abs(step) > 1 and count > 1:
            dy = _spread(e, dy, axis, abs(step))
    e.replace("SliceGrad", dy, domain=DOMAIN, input_shape=shape, starts=starts)


def _spread(e: Emit, x: str, axis: int, step: int) -> str:
    """``x`` with ``step - 1`` zeros between its elements along an axis."""
    shape = e.shape(x)
    count, before, after = shape[axis], math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    rows = e.reshape(x, [before * count, 1, after])
    wide = e.op("Pad", rows, e.ints([0, 0, 0, 0, step - 1, 0]), shape=[before * count, step, after])
    whole = e.reshape(wide, [*shape[:axis], count * step, *shape[axis + 1 :]])
    return _cut(e, whole, axis, 0, (count - 1) * step + 1)


def reverse(e: Emit) -> None:
    """ReverseV2(x, axes)."""
    x, rank = e.inputs[0], len(e.output_shape)
    for axis in np.atleast_1d(e.static(1)):
        x = _flip(e, x, int(axis) % rank)
    e.become(x)


def roll(e: Emit) -> None:
    """Roll(x, shifts, axes)."""
    x = e.inputs[0]
    rank = len(e.output_shape)
    for shift, axis in zip(np.atleast_1d(e.static(1)), np.atleast_1d(e.static(2)), strict=True):
        axis = int(axis) % rank
        size = e.shape(x)[axis]
        split = size - int(shift) % size
        if split != size:
            parts = [_cut(e, x, axis, split, size - split), _cut(e, x, axis, 0, split)]
            x = e.op("Concat", *parts, shape=e.shape(x), axis=axis)
    e.become(x)


def _margins(e: Emit) -> list[tuple[int, int]]:
    return [(int(before), int(after)) for before, after in e.static(1)]


def _offset(e: Emit) -> int:
    """Elements at the edge that a mirrored border leaves out."""
    return 1 if e.attribute("mode") == "REFLECT" else 0


def mirror_pad(e: Emit) -> None:
    """MirrorPad(x, paddings): reflected, with or without the element at the edge."""
    x, margins = e.inputs[0], _margins(e)
    if _offset(e):
        pads = [before for before, _ in margins] + [after for _, after in margins]
        e.replace("Pad", x, e.ints(pads), mode="reflect")
        return
    for axis, (before, after) in enumerate(margins):
        shape = e.shape(x)
        size = shape[axis]
        parts = [_flip(e, _cut(e, x, axis, 0, before), axis)] if before else []
        parts.append(x)
        parts += [_flip(e, _cut(e, x, axis, size - after, after), axis)] if after else []
        if len(parts) > 1:
            whole = [*shape[:axis], before + size + after, *shape[axis + 1 :]]
            x = e.op("Concat", *parts, shape=whole, axis=axis)
    e.become(x)


def mirror_pad_grad(e: Emit) -> None:
    """MirrorPadGrad(dy, paddings): what the border mirrors is added to where it was taken from."""
    dy, margins, offset = e.inputs[0], _margins(e), _offset(e)
    for axis, (before, after) in enumerate(margins):
        size = e.shape(dy)[axis] - before - after
        total = _cut(e, dy, axis, before, size)
        rows = ((0, before, offset), (before + size, after, size - offset - after))
        for start, count, place in rows:
            if count:
                part = _flip(e, _cut(e, dy, axis, start, count), axis)
                total = e.binary("Add", total, _placed(e, part, axis, place, size))
        dy = total
    e.become(dy)


def _placed(e: Emit, part: str, axis: int, start: int, size: int) -> str:
    """``part`` from ``start`` on along an axis of ``size`` zeros."""
    shape = e.shape(part)
    rank, count = len(shape), shape[axis]
    pads = [0] * 2 * rank
    pads[axis], pads[rank + axis] = start, size - start - count
    return e.op("Pad", part, e.ints(pads), shape=[*shape[:axis], size, *shape[axis + 1 :]])


def blocks(to_batch: bool, e: Emit) -> None:
    """SpaceToBatchND(x, block, paddings) and BatchToSpaceND(x, block, crops)."""
    x = e.inputs[0]
    block = [int(n) for n in e.static(1)]
    margins = [(int(a), int(b)) for a, b in e.static(2)]
    sides, shape = len(block), e.shape(x)
    rest = shape[1 + sides :]
    if to_batch:
        pads = [0, *(a for a, _ in margins), *[0] * len(rest), 0, *(b for _, b in margins), *[0] * len(rest)]
        size = [n + a + b for n, (a, b) in zip(shape[1 : 1 + sides], margins, strict=True)]
        if any(pads):
            x = e.op("Pad", x, e.ints(pads), shape=[shape[0], *size, *rest])
        pairs = [n for side, b in zip(size, block, strict=True) for n in (side // b, b)]
        apart = e.reshape(x, [shape[0], *pairs, *rest])
        of_blocks, of_sides = range(2, 2 + 2 * sides, 2), range(1, 1 + 2 * sides, 2)
        perm = [*of_blocks, 0, *of_sides, *range(1 + 2 * sides, 1 + 2 * sides + len(rest))]
        e.become(e.reshape(e.transpose(apart, perm), e.output_shape))
        return
    batch = shape[0] // math.prod(block)
    apart = e.reshape(x, [*block, batch, *shape[1:]])
    pairs = [axis for side in range(sides) for axis in (sides + 1 + side, side)]
    perm = [sides, *pairs, *range(2 * sides + 1, 2 * sides + 1 + len(rest))]
    size = [n * b for n, b in zip(shape[1 : 1 + sides], block, strict=True)]
    x = e.reshape(e.transpose(apart, perm), [batch, *size, *rest])
    for axis, (n, (a, b)) in enumerate(zip(size, margins, strict=True), 1):
        x = _cut(e, x, axis, a, n - a - b)
    e.become(x)


def band(e: Emit) -> None:
    """MatrixBandPart(x, constant numbers of diagonals below and above)."""
    x = e.inputs[0]
    below, above = int(e.static(1)), int(e.static(2))
    rows, columns = np.indices(e.shape(x)[-2:])
    kept = ((below < 0) | (rows - columns <= below)) & ((above < 0) | (columns - rows <= above))
    e.replace("Where", e.constant(kept, np.bool_), x, e.number(0, x))


def cumprod(e: Emit) -> None:
    """Cumprod(x, axis): a product for each element of the axis."""
    x, rank = e.inputs[0], len(e.output_shape)
    axis = int(e.static(1)) % rank
    reverse, exclusive = bool(e.attribute("reverse", False)), bool(e.attribute("exclusive", False))
    size = e.shape(x)[axis]
    if size > _LONGEST:
        raise ValueError(f"a running product of {size} elements has no translation; add up logarithms")
    parts = [_cut(e, x, axis, index, 1) for index in range(size)]
    parts = parts[::-1] if reverse else parts
    ones = e.binary("Add", e.binary("Mul", parts[0], e.number(0, x)), e.number(1, x))
    running = [ones if exclusive else parts[0]]
    for part in parts[:-1] if exclusive else parts[1:]:
        running.append(e.binary("Mul", running[-1], part))
    running = running[::-1] if reverse else running
    e.become(e.op("Concat", *running, shape=e.shape(x), axis=axis) if size > 1 else running[0])


_LONGEST = 64
"""Elements of an axis up to which a running product is written out."""


MOVES: dict[str, Handler] = {
    "BatchToSpaceND": functools.partial(blocks, False),
    "Cumprod": cumprod,
    "MatrixBandPart": band,
    "MirrorPad": mirror_pad,
    "MirrorPadGrad": mirror_pad_grad,
    "ReverseV2": reverse,
    "Roll": roll,
    "SpaceToBatchND": functools.partial(blocks, True),
    "StridedSlice": strided_slice,
    "StridedSliceGrad": strided_slice_grad,
}
"""TensorFlow operation to its handler."""
