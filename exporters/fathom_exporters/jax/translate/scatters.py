"""Elements added or written by index.

Translated are scatters of whole rows, by one index or several, each also for every row of a batch: rows of a table,
whose axes are those that are indexed. Rows added to zeros are the gradient of a gather.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .emit import Emit
from .indexing import plain_indices
from .registry import Equation, Rule, UnknownError
from .values import Spread, Value, dtype_of, known, shape_of

__all__ = ["SCATTERS"]


def _flat(e: Emit, q: Equation) -> tuple[Value, Value, int, list[int], list[int]]:
    """What a scatter adds or writes as rows of a table.

    Returns:
        The updates [n, *whole], the indices [n], the rows of the table, the order of the operand's axes in the table,
        and the operand's size in that order.
    """
    d = q.params["dimension_numbers"]
    x, raw, updates = q.given
    index = plain_indices(e, raw)
    size = shape_of(x)
    indexed = tuple(d.scatter_dims_to_operand_dims)
    batch = tuple(d.operand_batching_dims)
    whole = [axis for axis in range(len(size)) if axis not in (*indexed, *batch)]
    windows = [axis for axis in range(len(shape_of(updates))) if axis in d.update_window_dims]
    if not set(indexed) <= set(d.inserted_window_dims):
        raise UnknownError("no translation of a scatter of windows", "write whole rows")
    if [shape_of(updates)[axis] for axis in windows] != [size[axis] for axis in whole]:
        raise UnknownError("no translation of a scatter of parts of rows", "write whole rows")
    rows = [axis for axis in range(len(shape_of(updates))) if axis not in windows]
    count = math.prod(shape_of(updates)[axis] for axis in rows)
    lengths = [size[axis] for axis in whole]
    flat_updates = e.reshape(e.transpose(updates, [*rows, *windows]), (count, *lengths))
    order = [*batch, *indexed, *whole]
    of_table = [size[axis] for axis in (*batch, *indexed)]
    strides = [math.prod(of_table[number + 1 :]) for number in range(len(of_table))]
    total: Value | None = None
    held = shape_of(index)[:-1]
    for part in range(len(indexed)):
        ends = [*held, part + 1]
        row = index if len(indexed) == 1 else e.slice(index, [*[0] * len(held), part], ends)
        row = e.reshape(row, held)
        stride = strides[len(batch) + part]
        scaled = row if stride == 1 else e.pointwise("Mul", row, e.number(stride, row))
        total = scaled if total is None else e.pointwise("Add", total, scaled)
    assert total is not None
    for number, axis in enumerate(d.scatter_indices_batching_dims):
        shape = [held[axis] if a == axis else 1 for a in range(len(held))]
        first = np.arange(held[axis], dtype=dtype_of(index)).reshape(shape) * strides[number]
        total = e.pointwise("Add", total, first.astype(dtype_of(index)))
    rows_of_table = math.prod(of_table)
    return flat_updates, e.reshape(e.tensor(total), (count,)), rows_of_table, order, [size[axis] for axis in order]


def _from_table(e: Emit, made: Value, order: Sequence[int], size: Sequence[int]) -> Value:
    back = sorted(range(len(order)), key=lambda axis: order[axis])
    result: Value = e.transpose(e.reshape(made, size), back)
    return result


def _scatter_add(e: Emit, q: Equation) -> Value:
    """Rows added by index: the gradient of a gather where they are added to zeros."""
    if len(shape_of(q.given[1])) == 1:
        return _add_window(e, q)
    d, x = q.params["dimension_numbers"], q.given[0]
    whole = [a for a in range(len(shape_of(x))) if a not in d.inserted_window_dims]
    index = plain_indices(e, q.given[1])
    if not d.operand_batching_dims and len(d.inserted_window_dims) == 1 and dtype_of(x).kind == "f":
        return _plus(e, x, _table_gradient(e, q, index, whole))
    updates, rows, count, order, size = _flat(e, q)
    if dtype_of(x).kind != "f":
        raise UnknownError("no translation of a sum of whole numbers by index")
    e.op = "GatherGrad"
    shape = (count, *shape_of(updates)[1:])
    made = e.gradient("GatherGrad", updates, rows, rows=count, shape=shape, dtype=q.dtype)
    return _plus(e, x, _from_table(e, made, order, size))


def _table_gradient(e: Emit, q: Equation, index: Value, whole: Sequence[int]) -> Value:
    """The gradient of rows taken along one axis; the indices keep their axes."""
    d, (_, _, updates) = q.params["dimension_numbers"], q.given
    (axis,) = d.inserted_window_dims
    size = q.shape
    windows = list(d.update_window_dims)
    if [shape_of(updates)[a] for a in windows] != [size[a] for a in whole]:
        raise UnknownError("no translation of a scatter of parts of rows", "write whole rows")
    rows = [a for a in range(len(shape_of(updates))) if a not in windows]
    dy = e.transpose(updates, [*rows, *windows])
    e.op = "GatherGrad"
    flat = e.reshape(index, shape_of(index)[:-1])
    shape = (size[axis], *(size[a] for a in whole))
    made = e.gradient("GatherGrad", dy, flat, rows=size[axis], shape=shape, dtype=q.dtype)
    back: Value = e.transpose(made, sorted(range(len(size)), key=lambda a: [axis, *whole][a]))
    return back


def _add_window(e: Emit, q: Equation) -> Value:
    """A window added at one known place: the gradient of a slice."""
    d, (x, index, update) = q.params["dimension_numbers"], q.given
    place = known(index)
    if place is None:
        raise UnknownError("no translation of a window added at a place that depends on values")
    size = shape_of(x)
    lengths = iter(shape_of(update)[axis] for axis in d.update_window_dims)
    held = [1 if axis in d.inserted_window_dims else next(lengths) for axis in range(len(size))]
    starts = [0] * len(size)
    for part, axis in enumerate(d.scatter_dims_to_operand_dims):
        starts[axis] = int(place.reshape(-1)[part])
    e.op = "SliceGrad"
    made = e.gradient(
        "SliceGrad", e.reshape(update, held), shape=size, dtype=q.dtype, input_shape=list(size), starts=starts
    )
    return _plus(e, x, made)


def _plus(e: Emit, x: Value, added: Value) -> Value:
    zero = known(x)
    return added if zero is not None and not zero.any() else e.pointwise("Add", x, added)


def _scatter(reduction: str) -> Rule:
    def scatter(e: Emit, q: Equation) -> Value:
        updates, rows, count, order, size = _flat(e, q)
        table = e.reshape(e.tensor(e.transpose(q.given[0], order)), (count, *shape_of(updates)[1:]))
        index = e.reshape(rows, (*shape_of(rows), *[1] * (len(shape_of(updates)) - 1)))
        wide = Spread(index, shape_of(updates)) if shape_of(updates) != shape_of(index) else index
        attributes: dict[str, Any] = {"reduction": reduction} if reduction else {}
        made = e.node(
            "ScatterElements", table, wide, updates, axis=0, shape=shape_of(table), dtype=q.dtype, **attributes
        )
        return _from_table(e, made, order, size)

    return scatter


SCATTERS: dict[str, Rule] = {
    "scatter": _scatter(""),
    "scatter-add": _scatter_add,
    "scatter-max": _scatter("max"),
    "scatter-min": _scatter("min"),
    "scatter-mul": _scatter("mul"),
}
"""Primitive to its rule."""
