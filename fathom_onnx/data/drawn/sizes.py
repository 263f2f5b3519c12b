"""Uses as a shape, as sizes and axes, and as a count."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from .findings import Finding, Pass
from .use import Rule, Use

__all__ = ["SIZE_RULES"]

FEW = 4
"""Turns of a loop, or elements of a range, where nothing says how many there are."""

TOP = 10
"""How many of an axis are taken, at most, where nothing says how many."""

_FAR = 2**31 - 1
_FRAME = 16


def _filled(parts: Sequence[int | None], shape: tuple[int, ...]) -> list[int]:
    """A shape of as many elements as another one, with the parts that are known (-1 for the rest, 0 for as it is)."""
    rank, left = len(parts), math.prod(shape)
    known = [shape[n] if part == 0 and n < len(shape) else part for n, part in enumerate(parts)]
    if None not in known:
        return [int(part) for part in known if part is not None]
    if rank == len(shape) and all(part in (None, size) for part, size in zip(known, shape, strict=True)):
        return list(shape)
    for part in known:
        if part is not None and part > 0:
            left = left // part
    filled = []
    open_places = [n for n, part in enumerate(known) if part is None]
    for n, part in enumerate(known):
        if part is not None:
            filled.append(part)
        elif n == open_places[-1] and -1 not in known:
            filled.append(left)
        else:
            size = shape[n] if n < len(shape) and shape[n] and left % shape[n] == 0 else 1
            filled.append(size)
            left //= size
    return filled


def _reshape(use: Use) -> Iterator[Finding | Pass]:
    why = f"a shape for {use.site.label}"
    made, shape = use.flow.shape(use.site.outputs[0]), use.flow.shape(use.site.input(0))
    parts = use.flow.vector(use.key)
    if made is not None:
        yield from use.exactly(made, why)
    elif shape is not None and parts:
        yield from use.exactly(_filled(parts, shape), why)
    elif parts:
        yield from use.exactly([-1, *[1] * (len(parts) - 1)], why)


def _expand(use: Use) -> Iterator[Finding | Pass]:
    made, shape = use.flow.shape(use.site.outputs[0]), use.flow.shape(use.site.input(0))
    parts = use.flow.vector(use.key)
    why = f"a shape for {use.site.label}"
    if made is not None and parts is not None and len(made) == len(parts):
        yield from use.exactly(made, why)
    elif parts:
        aligned = [1] * len(parts) + list(shape or ())
        yield from use.exactly(aligned[len(aligned) - len(parts) :], why)


def _repeats(use: Use) -> Iterator[Finding | Pass]:
    made, shape = use.flow.shape(use.site.outputs[0]), use.flow.shape(use.site.input(0))
    why = f"repeats of {use.site.label}"
    if made is not None and shape is not None and all(shape):
        yield from use.exactly([m // s for m, s in zip(made, shape, strict=True)], why)
    else:
        yield from use.exactly([1] * (use.elements or 1), why)


def _like_output(why: str, otherwise: int | None = 1) -> Rule:
    """The shape that the output has, where it is known; else the input's, or ones."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        made = use.flow.shape(use.site.outputs[0])
        if made is None and otherwise is None:
            made = use.flow.shape(use.site.input(0))
        parts = use.flow.vector(use.key)
        shape = list(made) if made is not None else [otherwise or 1] * len(parts or [0])
        # sizes may be those of the last axes only
        yield from use.exactly(shape[len(shape) - len(parts) :] if parts else shape, f"{why} {use.site.label}")

    return rule


def _all(value: float, why: str) -> Rule:
    """The same number for each element."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        yield from use.exactly([value] * (use.elements or 1), f"{why} {use.site.label}")

    return rule


def _counting(why: str) -> Rule:
    """Different axes, from the first on."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        yield from use.exactly(range(use.elements or 1), f"{why} {use.site.label}")

    return rule


def _squeezed(use: Use) -> Iterator[Finding | Pass]:
    shape = use.flow.shape(use.site.input(0)) or ()
    ones = [axis for axis, size in enumerate(shape) if size == 1] or [0]
    yield from use.exactly((ones * (use.elements or 1))[: use.elements or 1], f"axes of {use.site.label}")


def _cut(end: bool) -> Rule:
    """Where slices begin or end. One that is taken singly out of a vector, as data says, is one of many offsets."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        axes = use.flow.constant(use.site.input(3))
        places = range(use.elements or 1) if axes is None else [int(axis) for axis in axes.ravel()]
        sizes = [use.flow.size(use.site.input(0), axis) for axis in places]
        what = "end" if end else "begin"
        why = f"where slices of {use.site.label} {what}"
        size = sizes[0] if sizes else None
        if not use.reach.picked:
            yield from use.exactly([_FAR if s is None else s for s in sizes] if end else [0] * len(sizes), why)
        elif size is not None:
            kind = "length" if end else "offset"
            yield from use.within(kind, 1 if end else 0, size, why)  # type: ignore[arg-type]

    return rule


def _one_hot_depth(use: Use) -> Iterator[Finding | Pass]:
    size = use.flow.size(use.site.outputs[0], use.site.number("axis", -1))
    yield from use.exactly([size or TOP], f"depth of {use.site.label}")


def _top(data: int, axis: int | None = None) -> Rule:
    """How many elements of an axis are kept."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        along = use.site.number("axis", -1) if axis is None else axis
        made, size = use.flow.size(use.site.outputs[0], along), use.flow.size(use.site.input(data), along)
        why = f"how many {use.site.label} keeps"
        if made is not None:
            yield from use.within("count", made, made, why, made)
        elif size:
            yield from use.within("count", 1, size, f"{why} of {size}", min(size, TOP))
        else:
            yield from use.within("count", 1, 1, why, 1)

    return rule


def _split(use: Use) -> Iterator[Finding | Pass]:
    axis, data = use.site.number("axis", 0), use.site.input(0)
    whole, count = use.flow.size(data, axis), use.elements or 1
    why = f"sizes for {use.site.label}"
    made = [use.flow.size(key, axis) for key in use.site.outputs]
    if len(made) == count and None not in made:
        yield from use.exactly([size for size in made if size is not None], why)
    elif use.flow.shape(use.key) == ():
        yield from use.exactly([1], why)
    elif whole is not None:
        yield from use.exactly([whole // count] * (count - 1) + [whole - whole // count * (count - 1)], why)


def _range_end(use: Use) -> Iterator[Finding | Pass]:
    start, step = use.flow.constant(use.site.input(0)), use.flow.constant(use.site.input(2))
    count = use.flow.size(use.site.outputs[0], 0)
    first, by = (float(v.ravel()[0]) if v is not None and v.size else d for v, d in ((start, 0.0), (step, 1.0)))
    if count is not None and start is not None:
        yield from use.exactly([first + count * by], f"the end of {use.site.label}")
    else:
        most = first + FEW * by
        yield Finding(
            "count",
            f"the end of {use.site.label}",
            use.reach,
            use.reach.input_range(min(first, most) + 1, 0)[0],
            preferred=use.reach.input_range(most, most)[1],
        )
    if by > 0:
        moved = use.reach.moved(-1, -1)
        yield from use.on(moved.lost(upper=True))


def _range_start(use: Use) -> Iterator[Finding | Pass]:
    count = use.flow.size(use.site.outputs[0], 0) or 1
    yield from use.on(use.reach.moved(0, count - 1).lost())


def _trips(use: Use) -> Iterator[Finding | Pass]:
    yield Finding("count", f"turns of {use.site.label}", use.reach, 1, preferred=use.reach.input_range(FEW, FEW)[1])
    turn = use.flow.turn_of(use.site)
    if turn is not None:
        yield Pass(turn, use.reach.moved(-1, -1).lost(upper=True))


def _grid(use: Use) -> Iterator[Finding | Pass]:
    """Images, channels and the sizes of a grid, which has the coordinates last and no channels."""
    made, images = use.flow.shape(use.site.outputs[0]), use.flow.size(use.site.input(0), 0)
    inner = list(made[1:-1]) if made is not None else [1] * ((use.elements or 4) - 2)
    yield from use.exactly([images or 1, 1, *inner], f"a shape for {use.site.label}")


def _frames(use: Use) -> Iterator[Finding | Pass]:
    """Length and step of the frames of a signal: those of the output where it is known, else overlapping by half."""
    signal, frames = use.flow.size(use.site.input(0), 1), use.flow.size(use.site.outputs[0], 1)
    window, given = use.flow.size(use.site.input(2), 0), use.flow.constant(use.site.input(3))
    length = window or (int(given.ravel()[0]) if given is not None and given.size else min(_FRAME, signal or _FRAME))
    step = max(1, length // 2)
    if signal is not None and frames is not None and frames > 1:
        step = max(1, (signal - length) // (frames - 1))
    yield from use.exactly([step if use.position == 1 else length], f"frames of {use.site.label}")


def _transformed(use: Use) -> Iterator[Finding | Pass]:
    axis = use.flow.constant(use.site.input(2))
    along = int(axis.ravel()[0]) if axis is not None and axis.size else use.site.number("axis", 1)
    yield from use.exactly([use.flow.size(use.site.input(0), along) or _FRAME], f"length of {use.site.label}")


def _resize_second(use: Use) -> Iterator[Finding | Pass]:
    """Factors in the operator's first version, a region later."""
    second = _all(1, "factors of") if len(use.site.inputs) == 2 else _all(0, "a region for")
    yield from second(use)


SIZE_RULES: dict[tuple[str, int], Rule] = {
    ("Reshape", 1): _reshape,
    ("Expand", 1): _expand,
    ("Tile", 1): _repeats,
    ("ConstantOfShape", 0): _like_output("a shape for"),
    ("AffineGrid", 1): _grid,
    ("CenterCropPad", 1): _like_output("a shape for", None),
    ("Resize", 1): _resize_second,
    ("Resize", 2): _all(1, "factors of"),
    ("Resize", 3): _like_output("sizes for", None),
    ("Upsample", 1): _all(1, "factors of"),
    ("Pad", 1): _all(0, "padding of"),
    ("Pad", 3): _counting("axes of"),
    ("Slice", 1): _cut(end=False),
    ("Slice", 2): _cut(end=True),
    ("Slice", 3): _counting("axes of"),
    ("Slice", 4): _all(1, "steps of"),
    ("OneHot", 1): _one_hot_depth,
    ("TopK", 1): _top(0),
    ("NonMaxSuppression", 2): _top(0, 1),
    ("NonMaxSuppression", 3): _all(0.5, "overlap for"),
    ("NonMaxSuppression", 4): _all(0, "least score for"),
    ("Split", 1): _split,
    ("SplitToSequence", 1): _split,
    ("Squeeze", 1): _squeezed,
    ("Unsqueeze", 1): _counting("axes of"),
    ("CumSum", 1): _all(0, "axis of"),
    ("CumProd", 1): _all(0, "axis of"),
    ("DFT", 1): _transformed,
    ("DFT", 2): _all(1, "axis of"),
    ("STFT", 1): _frames,
    ("STFT", 3): _frames,
    ("MaxUnpool", 2): _like_output("a shape for"),
    ("MelWeightMatrix", 0): _all(8, "bins of"),
    ("MelWeightMatrix", 1): _all(64, "length of"),
    ("MelWeightMatrix", 2): _all(8192, "rate of"),
    ("MelWeightMatrix", 3): _all(0, "lowest frequency of"),
    ("MelWeightMatrix", 4): _all(4096, "highest frequency of"),
    ("Trilu", 1): _all(0, "diagonal of"),
    ("Range", 0): _range_start,
    ("Range", 1): _range_end,
    ("Range", 2): _all(1, "step of"),
    ("Loop", 0): _trips,
    ("HannWindow", 0): _like_output("a length for", _FRAME),
    ("HammingWindow", 0): _like_output("a length for", _FRAME),
    ("BlackmanWindow", 0): _like_output("a length for", _FRAME),
    ("BitShift", 1): _all(1, "shift of"),
    **{
        (f"Reduce{kind}", 1): _counting("axes of")
        for kind in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
    },
}
"""Op type and position to what a size, an axis or a count there says."""
