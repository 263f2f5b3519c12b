"""Slices by numbers, or from where a tensor says, in steps of either sign, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from fathom_exporters.lowering import DOMAIN

from .emit import Emit, Handler

__all__ = ["SLICES", "cut", "flip"]

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


def cut(e: Emit, x: str, axis: int, start: int, size: int, step: int = 1) -> str:
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


def flip(e: Emit, x: str, axis: int) -> str:
    """``x`` with an axis in reverse."""
    size = e.shape(x)[axis]
    return cut(e, x, axis, size - 1, size, -1) if size > 1 else x


def _is_static(e: Emit, index: int) -> bool:
    try:
        e.static(index)
    except ValueError:
        return False
    return True


def _chosen(e: Emit, shape: Sequence[int], first: int) -> list[tuple[int, str]]:
    """Axes of which one element is taken, and the tensor [1] of its number, where a tensor says which.

    Raises:
        ValueError: More than one element of an axis is taken from where a tensor says.
    """
    begin = e.cast(e.inputs[first], TensorProto.INT64)
    masks = {name: int(e.attribute(name, 0)) for name in _MASKS}
    count = e.shape(begin)[0]

    def has(name: str, index: int) -> bool:
        return bool(masks[name] >> index & 1)

    stated = sum(not has("new_axis_mask", i) and not has("ellipsis_mask", i) for i in range(count))
    chosen, axis = [], 0
    for i in range(count):
        if has("ellipsis_mask", i):
            axis += len(shape) - stated
        elif has("shrink_axis_mask", i):
            chosen.append((axis, e.op("Slice", begin, e.ints([i]), e.ints([i + 1]), shape=[1])))
            axis += 1
        elif not has("new_axis_mask", i):
            if not (has("begin_mask", i) and has("end_mask", i)):
                raise ValueError(
                    "a slice of several elements from where a tensor says has no translation; use tf.gather"
                )
            axis += 1
    return chosen


def strided_slice(e: Emit) -> None:
    """StridedSlice(x, begin, end, strides), in steps of either sign.

    tf2onnx's own handler writes the plain ones, and is wrong about flags, and about an ellipsis or a step beside axes
    that come or go.
    """
    if not (_is_static(e, 1) and _is_static(e, 2)):
        x = e.inputs[0]
        for axis, place in _chosen(e, e.shape(x), 1):
            shape = e.shape(x)
            x = e.op("Gather", x, place, shape=[*shape[:axis], 1, *shape[axis + 1 :]], axis=axis)
        e.become(e.reshape(x, e.output_shape))
        return
    x, stated = e.inputs[0], e.static(3)
    added_far = e.attribute("ellipsis_mask", 0) and e.attribute("new_axis_mask", 0) and len(stated) > 2
    if not added_far and e.dtype(x) != TensorProto.BOOL and all(step == 1 for step in stated):
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


def plain_slice(e: Emit) -> None:
    """Slice(x, begin, constant sizes): where begin is no constant, a gather along each axis that is cut."""
    x, shape = e.inputs[0], e.output_shape
    if not _is_static(e, 1):
        begin = e.cast(e.inputs[1], TensorProto.INT64)
        for axis, size in enumerate(shape):
            old = e.shape(x)
            if old[axis] != size:
                start = e.op("Slice", begin, e.ints([axis]), e.ints([axis + 1]), shape=[1])
                places = e.binary("Add", start, e.ints(range(size)))
                x = e.op("Gather", x, places, shape=[*old[:axis], size, *old[axis + 1 :]], axis=axis)
        e.become(x)
        return
    e.stock()


def strided_slice_grad(e: Emit) -> None:
    """StridedSliceGrad(shape, begin, end, strides, dy): dy at its positions within zeros."""
    shape = [int(v) for v in e.static(0)]
    if not (_is_static(e, 1) and _is_static(e, 2)):
        chosen = _chosen(e, shape, 1)
        axes = [axis for axis, _ in chosen]
        dy = e.reshape(e.inputs[4], [1 if axis in axes else size for axis, size in enumerate(shape)])
        for axis, place in chosen:
            along = [-1 if other == axis else 1 for other in range(len(shape))]
            size = shape[axis]
            from_start = e.op("Mod", place, e.ints([size]), shape=[1])
            at = e.compare("Equal", e.constant(np.arange(size).reshape(along), np.int64), from_start)
            dy = e.where(at, dy, e.number(0, dy))
        e.become(dy)
        return
    starts, sizes, steps = _strided(e, shape, 1)
    dy = e.reshape(e.inputs[4], sizes)
    for axis, step in enumerate(steps):
        count = sizes[axis]
        if step < 0 and count:
            dy = flip(e, dy, axis)
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
    return cut(e, whole, axis, 0, (count - 1) * step + 1)


SLICES: dict[str, Handler] = {
    "Slice": plain_slice,
    "StridedSlice": strided_slice,
    "StridedSliceGrad": strided_slice_grad,
}
"""TensorFlow operation to its handler."""
