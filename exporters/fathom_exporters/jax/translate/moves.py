"""Primitives that move elements or add up along axes: shapes, pieces, borders, reductions, running sums, sorting."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .emit import Emit
from .registry import Equation, Rule, UnknownError
from .values import Known, Spread, Stack, Value, dtype_of, known, shape_of

__all__ = ["MOVES", "pad"]

_REDUCED: dict[str, tuple[str, bool]] = {
    "reduce_max": ("ReduceMax", False),
    "reduce_min": ("ReduceMin", False),
    "reduce_prod": ("ReduceProd", True),
    "reduce_sum": ("ReduceSum", True),
}
"""Primitive to its ONNX op, and whether it sums or multiplies."""


def _broadcast(e: Emit, q: Equation) -> Value:
    x = q.given[0]
    base = x.base if isinstance(x, Spread) else x if isinstance(x, np.ndarray) else e.tensor(x)
    if not shape_of(base):
        return Spread(base, q.shape)
    size, rank = shape_of(base), len(q.shape)
    axes = q.params["broadcast_dimensions"][-len(size) :]  # those of what is repeated, which are the last ones
    first = min(axes)
    held = [1] * (rank - first)
    for axis, length in zip(axes, size, strict=True):
        held[axis - first] = length
    e.op = "Reshape"
    whole: ir.Value | Known = e.reshape(base, held)
    return whole if shape_of(whole) == q.shape else Spread(whole, q.shape)


def _reshape(e: Emit, q: Equation) -> Value:
    """Another shape; axes of length 1 are added to and taken from a repeated value without writing it out."""
    x = q.given[0]
    if q.params.get("dimensions") is not None:  # the axes in another order first
        x = e.transpose(x, q.params["dimensions"])
    if isinstance(x, Stack):
        kept = _rows_reshaped(e, x, q.shape)
        if kept is not None:
            return kept
    if not isinstance(x, Spread):
        made: Value = e.reshape(x, q.shape)
        return made
    base = shape_of(x.base)
    if not base:
        return Spread(x.base, q.shape)
    padded = (*[1] * (len(x.shape) - len(base)), *base)
    long = [(whole, held) for whole, held in zip(x.shape, padded, strict=True) if whole != 1]
    held = []
    for length in q.shape:
        if length == 1:
            held.append(1)
        elif long and long[0][0] == length:
            held.append(long.pop(0)[1])
        else:
            reshaped: Value = e.reshape(e.tensor(x), q.shape)
            return reshaped
    return Spread(e.reshape(x.base, held), q.shape)


def _rows_reshaped(e: Emit, x: Stack, shape: Sequence[int]) -> Stack | None:
    """Rows of another shape, where the number of rows stays."""
    if not shape or shape[0] != len(x.parts):
        return None
    return Stack(tuple(e.reshape(part, tuple(shape[1:])) for part in x.parts))


def _transpose(e: Emit, q: Equation) -> Value:
    made: Value = e.transpose(q.given[0], q.params["permutation"])
    return made


def _concatenate(e: Emit, q: Equation) -> Value:
    if len(q.given) == 1:
        return q.given[0]
    return e.node("Concat", *q.given, axis=q.params["dimension"], shape=q.shape, dtype=q.dtype)


def _stack(e: Emit, q: Equation) -> Value:
    axis = q.params["axis"]
    size = (*q.shape[:axis], 1, *q.shape[axis + 1 :])
    return e.node("Concat", *(e.reshape(x, size) for x in q.given), axis=axis, shape=q.shape, dtype=q.dtype)


def _unstack(e: Emit, q: Equation) -> list[Value]:
    x, axis = q.given[0], q.params["axis"]
    size = shape_of(x)
    one = (*size[:axis], 1, *size[axis + 1 :])
    parts = e.nodes("Split", x, e.ints(*[1] * size[axis]), axis=axis, results=[(one, q.dtype)] * size[axis])
    return [e.reshape(part, shape) for part, (shape, _) in zip(parts, q.results, strict=True)]


def _tile(e: Emit, q: Equation) -> Value:
    return e.node("Tile", q.given[0], e.ints(*q.params["reps"]), shape=q.shape, dtype=q.dtype)


def _empty(e: Emit, q: Equation) -> Value:
    """What nothing reads before it is written: zeros."""
    return Spread(np.zeros((), q.dtype), q.shape) if q.shape else np.zeros((), q.dtype)


def _split(e: Emit, q: Equation) -> list[Value]:
    sizes, axis = q.params["sizes"], q.params["axis"]
    if len(sizes) == 1:
        return [q.given[0]]
    return list(e.nodes("Split", q.given[0], e.ints(*sizes), axis=axis, results=q.results))


def _slice(e: Emit, q: Equation) -> Value:
    p, x = q.params, q.given[0]
    starts, ends, steps = p["start_indices"], p["limit_indices"], p["strides"]
    if isinstance(x, Stack) and shape_of(x)[1:] == q.shape[1:] and (steps is None or steps[0] == 1):
        return Stack(x.parts[starts[0] : ends[0]])
    made: Value = e.slice(x, starts, ends, steps)
    return made


def _rev(e: Emit, q: Equation) -> Value:
    axes = q.params["dimensions"]
    count = len(axes)
    parts = (e.ints(*[-1] * count), e.ints(*[-(2**31)] * count), e.ints(*axes), e.ints(*[-1] * count))
    return e.node("Slice", q.given[0], *parts, shape=q.shape, dtype=q.dtype)


def _spaced(e: Emit, x: Value, axis: int, between: int, filler: Value) -> Value:
    """``x`` with ``between`` fillers between elements along an axis."""
    size = list(shape_of(x))
    length = size[axis]
    if length < 2:
        return x
    added = e.reshape(e.tensor(x), (*size[: axis + 1], 1, *size[axis + 1 :]))
    ends = [0] * (axis + 1) + [between] + [0] * (len(size) - axis - 1)
    wide = (*size[: axis + 1], 1 + between, *size[axis + 1 :])
    pads = e.ints(*[0] * len(ends), *ends)
    padded = e.node("Pad", added, pads, filler, shape=wide, dtype=dtype_of(x))
    flat = e.reshape(padded, (*size[:axis], length * (1 + between), *size[axis + 1 :]))
    kept = [*size[:axis], length * (1 + between) - between, *size[axis + 1 :]]
    made: Value = e.slice(flat, [0] * len(size), kept)
    return made


def pad(e: Emit, x: Value, filler: Value, borders: Sequence[tuple[int, int, int]]) -> Value:
    """``x`` with elements added before, after and between those of each axis; negative numbers take elements off.

    A border of zeros around a gradient is the gradient of a slice.
    """
    for axis, (_, _, between) in enumerate(borders):
        if between:
            x = _spaced(e, x, axis, between, filler)
    size = shape_of(x)
    starts = [max(0, -low) for low, _, _ in borders]
    ends = [length + min(0, high) for length, (_, high, _) in zip(size, borders, strict=True)]
    x = e.slice(x, starts, ends)
    low, high = ([max(0, border[side]) for border in borders] for side in (0, 1))
    if not any(low) and not any(high):
        return x
    before = shape_of(x)
    shape = [a + length + b for a, length, b in zip(low, before, high, strict=True)]
    zero = known(filler)
    if e.in_backward and zero is not None and not zero.any() and dtype_of(x).kind == "f":
        e.op = "SliceGrad"
        return e.gradient("SliceGrad", x, shape=shape, dtype=dtype_of(x), input_shape=shape, starts=low)
    return e.node("Pad", x, e.ints(*low, *high), filler, shape=shape, dtype=dtype_of(x))


def _pad(e: Emit, q: Equation) -> Value:
    borders = [(int(low), int(high), int(between)) for low, high, between in q.params["padding_config"]]
    return pad(e, q.given[0], q.given[1], borders)


def _reduced(op_type: str, adds: bool) -> Rule:
    def reduce(e: Emit, q: Equation) -> Value:
        (x,), axes = q.given, q.params["axes"]
        if not axes:
            return x
        if q.dtype == np.bool_:
            raise UnknownError("no translation of it for Booleans")
        if math.prod(shape_of(x)[axis] for axis in axes) == 1:
            e.op = "Reshape"
            made: Value = e.reshape(x, q.shape)
            return made
        shared = None if adds else _of_repeated(e, x, axes, q.shape)
        if shared is not None:
            return shared
        return e.node(op_type, x, e.ints(*axes), keepdims=0, shape=q.shape, dtype=q.dtype)

    return reduce


def _of_repeated(e: Emit, x: Value, axes: Sequence[int], shape: tuple[int, ...]) -> Value | None:
    """The largest or smallest of a number that is repeated."""
    if isinstance(x, Spread) and not shape_of(x.base):
        return Spread(x.base, shape)
    return None


def _any_or_all(op_type: str) -> Rule:
    """Whether any or all Booleans are true: their largest or smallest as whole numbers."""

    def reduce(e: Emit, q: Equation) -> Value:
        number = e.pointwise("Cast", q.given[0], dtype=np.int32, to=6)
        made = e.node(op_type, number, e.ints(*q.params["axes"]), keepdims=0, shape=q.shape, dtype=np.int32)
        return e.pointwise("Cast", made, dtype=np.bool_, to=9)

    return reduce


def _arg(op_type: str) -> Rule:
    def arg(e: Emit, q: Equation) -> Value:
        (axis,) = q.params["axes"]
        made = e.node(op_type, q.given[0], axis=axis, keepdims=0, shape=q.shape, dtype=np.int64)
        return made if q.dtype == np.int64 else e.pointwise("Cast", made, dtype=q.dtype, to=6)

    return arg


def _cumsum(e: Emit, q: Equation) -> Value:
    axis = np.array(q.params["axis"], np.int64)
    reverse = int(q.params["reverse"])
    return e.node("CumSum", q.given[0], axis, reverse=reverse, shape=q.shape, dtype=q.dtype)


def _iota(e: Emit, q: Equation) -> Value:
    """Numbers from 0 along an axis: known, and repeated along the others."""
    axis, size = q.params["dimension"], q.shape
    held = [length if number == axis else 1 for number, length in enumerate(size)]
    dtype = np.float64 if q.dtype == np.float32 else q.dtype
    numbers = np.arange(size[axis], dtype=dtype).reshape(held)
    return numbers if tuple(held) == size else Spread(numbers, size)


def _sort(e: Emit, q: Equation) -> list[Value]:
    """By the first operand, the smallest first; equal ones keep their order."""
    if q.params["num_keys"] != 1:
        raise UnknownError("no translation of a sort by several keys", "sort by one")
    axis, first = q.params["dimension"], q.given[0]
    count = shape_of(first)[axis]
    results = [(q.shape, q.dtype), (q.shape, np.dtype(np.int64))]
    values, indices = e.nodes("TopK", first, e.ints(count), axis=axis, largest=0, sorted=1, results=results)
    others = zip(q.given[1:], q.results[1:], strict=True)
    return [values, *(e.node("GatherElements", x, indices, axis=axis, shape=s, dtype=d) for x, (s, d) in others)]


def _top_k(e: Emit, q: Equation) -> list[Value]:
    count = e.ints(q.params["k"])
    axis = q.params.get("axis", -1) % len(q.shape)
    results = [q.results[0], (q.shape, np.dtype(np.int64))]
    values, indices = e.nodes("TopK", q.given[0], count, axis=axis, largest=1, sorted=1, results=results)
    index: Value = indices
    if q.results[1][1] != np.int64:
        index = e.pointwise("Cast", indices, dtype=q.results[1][1], to=6)
    return [values, index]


MOVES: dict[str, Rule] = {
    **{name: _reduced(*of) for name, of in _REDUCED.items()},
    "argmax": _arg("ArgMax"),
    "argmin": _arg("ArgMin"),
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "cumsum": _cumsum,
    "empty": _empty,
    "empty2": _empty,
    "expand_dims": _reshape,
    "iota": _iota,
    "pad": _pad,
    "reduce_and": _any_or_all("ReduceMin"),
    "reduce_or": _any_or_all("ReduceMax"),
    "reshape": _reshape,
    "rev": _rev,
    "slice": _slice,
    "sort": _sort,
    "split": _split,
    "squeeze": _reshape,
    "stack": _stack,
    "tile": _tile,
    "top_k": _top_k,
    "transpose": _transpose,
    "unstack": _unstack,
}
"""Primitive to its rule."""
