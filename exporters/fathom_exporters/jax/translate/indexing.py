"""Elements by index, and windows at places that depend on values.

A gather of JAX takes a window of its operand at each index. Translated are those whose windows are whole along the axes
that are not indexed: rows by one index, elements by several, each also for every row of a batch. Indices are taken to
be within bounds, as ONNX does; what JAX writes to let negative ones count from the end is left out, since they do in
ONNX too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .emit import Emit
from .registry import Equation, Rule, UnknownError
from .values import Value, dtype_of, known, shape_of

__all__ = ["INDEXING", "plain_indices"]


def _plain_index(value: Value) -> Value:
    """An index without ``where(index < 0, index + n, index)``, through reshapes and casts of it."""
    producer = value.producer() if isinstance(value, ir.Value) else None
    if producer is None or producer.op_type != "Where":
        return value
    condition, added, index = producer.inputs
    less = condition.producer() if condition is not None else None
    total = added.producer() if added is not None else None
    if less is None or total is None or less.op_type != "Less" or total.op_type != "Add" or index is None:
        return value
    if less.inputs[0] is not index or index not in total.inputs:
        return value
    return index


@dataclass(frozen=True)
class _Places:
    """How a gather or scatter indexes an operand.

    Attributes:
        batch: Axes of the operand that are indexed by the row of a batch.
        indexed: Axes of the operand with an index, in the order of the index's parts.
        whole: The other axes, taken whole.
        index: The indices, [*batch, *rows, parts].
        rows: The number of axes of the indices, without the parts.
        index_batch: Axes of the indices that are rows of the batch.
    """

    batch: tuple[int, ...]
    indexed: tuple[int, ...]
    whole: tuple[int, ...]
    index: Value
    rows: int
    index_batch: tuple[int, ...]


def _indices(e: Emit, value: Value) -> Value:
    """Indices as they were before JAX let negative ones count from the end, with the parts as the last axis."""
    producer = value.producer() if isinstance(value, ir.Value) else None
    if producer is not None and producer.op_type == "Reshape" and producer.inputs[0] is not None:
        plain = _plain_index(producer.inputs[0])
        if plain is not producer.inputs[0]:
            made: Value = e.reshape(plain, shape_of(value))
            return made
    return _plain_index(value)


def _wide(e: Emit, index: Value) -> Value:
    """Indices as ONNX takes them, in int64."""
    if isinstance(index, np.ndarray):
        return index.astype(np.int64)
    producer = index.producer() if isinstance(index, ir.Value) else None
    source = producer.inputs[0] if producer is not None else None
    if producer is not None and source is not None:
        if producer.op_type == "Reshape":  # JAX narrows indices and gives them an axis for their parts
            made: Value = e.reshape(_wide(e, source), shape_of(index))
            return made
        if producer.op_type == "Cast" and dtype_of(source) == np.int64:
            return source
    return index if dtype_of(index) == np.int64 else e.pointwise("Cast", index, dtype=np.int64, to=7)


def plain_indices(e: Emit, value: Value) -> Value:
    """The indices of a gather or scatter in int64, [*rows, parts]; negative ones count from the end."""
    return _wide(e, _indices(e, value))


def _gather(e: Emit, q: Equation) -> Value:
    d, x, sizes = q.params["dimension_numbers"], q.given[0], q.params["slice_sizes"]
    index = plain_indices(e, q.given[1])
    shape = shape_of(x)
    taken_out = (*d.collapsed_slice_dims, *d.operand_batching_dims)
    if len(shape_of(index)) == 1:
        return _one_window(e, q, index)
    indexed = tuple(d.start_index_map)
    whole = tuple(axis for axis in range(len(shape)) if axis not in (*indexed, *d.operand_batching_dims))
    if not set(indexed) <= set(taken_out) or any(sizes[axis] != shape[axis] for axis in whole):
        raise UnknownError("no translation of a gather of windows", "index with whole rows")
    rows = len(shape_of(index)) - 1
    places = _Places(tuple(d.operand_batching_dims), indexed, whole, index, rows, tuple(d.start_indices_batching_dims))
    made = _gathered(e, x, places)
    # the result has the axes of the indices, then those taken whole
    order, row, rest = [], 0, rows
    for axis in range(len(q.shape)):
        if axis in d.offset_dims:
            order.append(rest)
            rest += 1
        else:
            order.append(row)
            row += 1
    back: Value = e.transpose(made, order)
    return back


def _gathered(e: Emit, x: Value, p: _Places) -> Value:
    """[*rows, *whole], the rows in the order of the indices."""
    size, index = shape_of(x), shape_of(p.index)
    rest = [size[axis] for axis in p.whole]
    if not p.batch and len(p.indexed) == 1:
        axis = p.indexed[0]
        made = e.node(
            "Gather",
            x,
            e.reshape(p.index, index[:-1]),
            axis=axis,
            shape=[*size[:axis], *index[:-1], *size[axis + 1 :]],
            dtype=dtype_of(x),
        )
        moved = list(range(axis, axis + p.rows))
        others = [a for a in range(len(size) - 1 + p.rows) if a not in moved]
        front: Value = e.transpose(made, [*moved, *others])
        return front
    table = e.transpose(x, [*p.batch, *p.indexed, *p.whole])
    count = len(p.batch)
    rows = [axis for axis in range(p.rows) if axis not in p.index_batch]
    order = [*p.index_batch, *rows]
    ordered = e.transpose(p.index, [*order, p.rows])
    made = e.node(
        "GatherND",
        table,
        ordered,
        batch_dims=count,
        shape=[*(index[axis] for axis in order), *rest],
        dtype=dtype_of(x),
    )
    back = sorted(range(p.rows), key=lambda axis: order[axis])
    result: Value = e.transpose(made, [*back, *range(p.rows, p.rows + len(rest))])
    return result


def _one_window(e: Emit, q: Equation, index: Value) -> Value:
    """A window at one place: a slice that may depend on values."""
    d, sizes = q.params["dimension_numbers"], list(q.params["slice_sizes"])
    starts: list[Value] = [np.array(0, np.int64)] * len(sizes)
    for part, axis in enumerate(d.start_index_map):
        starts[axis] = e.reshape(e.slice(index, [part], [part + 1]), ())
    made: Value = e.reshape(_window_at(e, q.given[0], starts, sizes), q.shape)
    return made


def _window_at(e: Emit, x: Value, starts: Sequence[Value], sizes: Sequence[int]) -> Value:
    """The window of ``sizes`` at ``starts``, moved inside where it would reach over the end, as in JAX."""
    for axis, (start, length) in enumerate(zip(starts, sizes, strict=True)):
        size = list(shape_of(x))
        if length == size[axis]:
            continue
        last = size[axis] - length
        value = known(start)
        if value is not None:
            first = min(max(int(value.reshape(())), 0), last)
            begin, end = [0] * len(size), list(size)
            begin[axis], end[axis] = first, first + length
            x = e.slice(x, begin, end)
            continue
        rows = _rows(e, start, length, last)
        size[axis] = length
        x = e.node("Gather", x, rows, axis=axis, shape=size, dtype=dtype_of(x))
    return x


def _rows(e: Emit, start: Value, length: int, last: int) -> Value:
    """``length`` indices from a start on, which is held between 0 and ``last``."""
    wide: Value = start
    if dtype_of(start) != np.int64:
        wide = e.pointwise("Cast", start, dtype=np.int64, to=7)
    held = e.pointwise("Min", e.pointwise("Max", wide, e.number(0, wide)), e.number(last, wide))
    return e.pointwise("Add", e.reshape(held, (1,)), np.arange(length, dtype=np.int64))


def _dynamic_slice(e: Emit, q: Equation) -> Value:
    return _window_at(e, q.given[0], q.given[1:], q.params["slice_sizes"])


def _dynamic_update_slice(e: Emit, q: Equation) -> Value:
    x, new, *starts = q.given
    places = [known(start) for start in starts]
    zero = known(x)
    if e.in_backward and zero is not None and not zero.any() and all(place is not None for place in places):
        ends = [whole - length for whole, length in zip(shape_of(x), shape_of(new), strict=True)]
        at = [min(max(int(p.reshape(())), 0), end) for p, end in zip(places, ends, strict=True) if p is not None]
        e.op = "SliceGrad"
        size = list(shape_of(x))
        return e.gradient("SliceGrad", new, shape=size, dtype=q.dtype, input_shape=size, starts=at)
    return _overwritten(e, x, new, starts)


def _overwritten(e: Emit, x: Value, new: Value, starts: Sequence[Value]) -> Value:
    """``x`` with a window overwritten, along one axis after the other."""
    size, part = shape_of(x), shape_of(new)
    axes = [axis for axis, (a, b) in enumerate(zip(size, part, strict=True)) if a != b]
    if not axes:
        return new
    axis = axes[0]
    if len(axes) > 1:
        block = [part[a] if a == axis else size[a] for a in range(len(size))]
        zero: Value = np.array(0, np.int64)
        held = _window_at(e, x, [starts[a] if a == axis else zero for a in range(len(size))], block)
        new = _overwritten(e, held, new, [zero if a == axis else starts[a] for a in range(len(size))])
    length, last = part[axis], size[axis] - part[axis]
    value = known(starts[axis])
    if value is not None:
        first = min(max(int(value.reshape(())), 0), last)
        ends = [(0, first), (first + length, size[axis])]
        around = []
        for low, high in ends:
            begin, end = [0] * len(size), list(size)
            begin[axis], end[axis] = low, high
            around.append([e.slice(x, begin, end)] if high > low else [])
        return e.node("Concat", *around[0], new, *around[1], axis=axis, shape=size, dtype=dtype_of(x))
    rows = e.reshape(_rows(e, starts[axis], length, last), (length, 1))
    order = [axis, *(a for a in range(len(size)) if a != axis)]
    back = sorted(range(len(size)), key=lambda a: order[a])
    table, rest = e.transpose(x, order), e.transpose(new, order)
    made = e.node("ScatterND", table, rows, rest, shape=shape_of(table), dtype=dtype_of(x))
    result: Value = e.transpose(made, back)
    return result


INDEXING: dict[str, Rule] = {
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
}
"""Primitive to its rule."""
