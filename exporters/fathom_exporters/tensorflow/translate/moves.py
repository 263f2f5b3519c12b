"""Borders, reversed and shifted axes, and their gradients."""

from __future__ import annotations

import functools
import math

import numpy as np

from .emit import Emit, Handler
from .slices import cut, flip

__all__ = ["MOVES"]


def reverse(e: Emit) -> None:
    """ReverseV2(x, axes)."""
    x, rank = e.inputs[0], len(e.output_shape)
    for axis in np.atleast_1d(e.static(1)):
        x = flip(e, x, int(axis) % rank)
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
            parts = [cut(e, x, axis, split, size - split), cut(e, x, axis, 0, split)]
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
        parts = [flip(e, cut(e, x, axis, 0, before), axis)] if before else []
        parts.append(x)
        parts += [flip(e, cut(e, x, axis, size - after, after), axis)] if after else []
        if len(parts) > 1:
            whole = [*shape[:axis], before + size + after, *shape[axis + 1 :]]
            x = e.op("Concat", *parts, shape=whole, axis=axis)
    e.become(x)


def mirror_pad_grad(e: Emit) -> None:
    """MirrorPadGrad(dy, paddings): what the border mirrors is added to where it was taken from."""
    dy, margins, offset = e.inputs[0], _margins(e), _offset(e)
    for axis, (before, after) in enumerate(margins):
        size = e.shape(dy)[axis] - before - after
        total = cut(e, dy, axis, before, size)
        rows = ((0, before, offset), (before + size, after, size - offset - after))
        for start, count, place in rows:
            if count:
                part = flip(e, cut(e, dy, axis, start, count), axis)
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
        x = cut(e, x, axis, a, n - a - b)
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
    parts = [cut(e, x, axis, index, 1) for index in range(size)]
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
}
"""TensorFlow operation to its handler."""
