"""Reads and writes by index: everything that adds or overwrites becomes a scatter of elements.

Elements and not rows are scattered: onnxruntime's ScatterND with several threads races on duplicate indices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from fathom_onnx.errors import ExportError

__all__ = ["INDEXING"]

_aten = torch.ops.aten


def _along(index: Tensor, source: Tensor, axis: int) -> Tensor:
    """An index of one axis for every element of ``source``."""
    return index.view([-1 if a == axis else 1 for a in range(source.dim())]).expand(source.shape)


def _forward(index: Tensor, size: int) -> Tensor:
    """An index counted from the start."""
    return torch.where(index < 0, index + size, index)


def _index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    if x.dim() == 0:
        return x + (source * alpha).sum()
    axis = dim % x.dim()
    source = source if alpha == 1 else source * alpha
    return x.scatter_add(axis, _along(index.long(), source, axis), source)


def _index_copy(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    axis = dim % x.dim()
    return x.scatter(axis, _along(index, source, axis), source)


def _index_fill(x: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    axis = dim % x.dim()
    shape = [index.numel() if a == axis else n for a, n in enumerate(x.shape)]
    source = value.to(x.dtype).expand(shape) if isinstance(value, Tensor) else x.new_full(shape, value)
    return x.scatter(axis, _along(_forward(index, x.shape[axis]), source, axis), source)


def _index_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    axis = dim % x.dim()
    return x.scatter_reduce(axis, _along(index, source, axis), source, reduce, include_self=include_self)


def _scatter_with(x: Tensor, dim: int, index: Tensor, source: Tensor, *, reduce: str) -> Tensor:
    return x.scatter_reduce(dim, index, source, {"add": "sum", "multiply": "prod"}[reduce], include_self=True)


def _scatter_value_with(x: Tensor, dim: int, index: Tensor, value: Any, *, reduce: str) -> Tensor:
    return _scatter_with(x, dim, index, x.new_full(index.shape, value), reduce=reduce)


def _read(source: Tensor, index: Tensor) -> Tensor:
    """The part of a source that is read: where the index is shorter, it ends with the index."""
    return source[tuple(slice(n) for n in index.shape)]


def _scatter(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Any:
    return NotImplemented if source.shape == index.shape else x.scatter(dim, index, _read(source, index))


def _scatter_add(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Any:
    return NotImplemented if source.shape == index.shape else x.scatter_add(dim, index, _read(source, index))


_NEUTRAL = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": float("-inf"), "amin": float("inf")}


def _neutral(x: Tensor, reduce: str) -> float:
    if x.is_floating_point() or reduce not in ("amax", "amin"):
        return _NEUTRAL[reduce]
    limits = torch.iinfo(x.dtype)
    return limits.min if reduce == "amax" else limits.max


def _scatter_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Any:
    """With the element itself and not as a mean it is recorded as it is; else what is written to starts neutral."""
    cut = source.shape != index.shape
    source = _read(source, index)
    if reduce == "sum" and include_self:
        return x.scatter_add(dim, index, source)
    if reduce != "mean" and include_self:
        return _aten.scatter_reduce.two(x, dim, index, source, reduce) if cut else NotImplemented
    if not include_self:
        x = x.scatter(dim, index, x.new_full(index.shape, _neutral(x, reduce)))
    if reduce != "mean":
        return x.scatter_reduce(dim, index, source, reduce, include_self=True)
    ones = torch.ones(index.shape, dtype=x.dtype)
    count = (torch.ones_like(x) if include_self else torch.zeros_like(x)).scatter_add(dim, index, ones)
    count = count if include_self else count.clamp(min=1)
    total = x.scatter_add(dim, index, source)
    return total / count if x.is_floating_point() else torch.div(total, count, rounding_mode="floor")


def _flat_places(indices: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The places, counted through the indexed axes, that broadcast indices point to."""
    place: Any = 0
    for index, size in zip(indices, sizes, strict=True):
        place = place * size + _forward(index.long(), size)
    assert isinstance(place, Tensor)
    return place


def _masked_put(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool) -> Tensor:
    """Writing where a mask is true: the same row everywhere, or one after the other where as many are known."""
    masks = [i for i in indices if i is not None]
    before = next(a for a, i in enumerate(indices) if i is not None)
    (mask, *others) = masks
    rest = list(x.shape[before + mask.dim() :])
    if others or (before and values.dim() > 1) or not all(isinstance(n, int) for n in values.shape):
        raise ExportError(
            "'x[mask]', or its gradient, has a shape that depends on values",
            "use torch.where, or a product with the mask",
        )
    rows = values.to(x.dtype).reshape([*[1] * (1 + len(rest) - values.dim()), *values.shape])
    wide = mask.reshape([*[1] * before, *mask.shape, *[1] * len(rest)])
    if rows.shape[0] == 1:
        new = rows.reshape([*[1] * mask.dim(), *rows.shape[1:]])
        return torch.where(wide, x + new if accumulate else new, x)
    zeros = torch.zeros_like(x) if accumulate else x
    new = zeros.masked_scatter(wide.expand(x.shape), rows.expand(rows.shape[0], *rest))
    return x + new if accumulate else new


def _index_put(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False, *_: Any
) -> Tensor:
    """Axes that are indexed move to the front and become one; their rows are scattered element by element."""
    if any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
        return _masked_put(x, indices, values, accumulate)
    used = [a for a, i in enumerate(indices) if i is not None]
    rest = [a for a in range(x.dim()) if a not in used]
    places = torch.broadcast_tensors(*[i for i in indices if i is not None])
    together = used == list(range(used[0], used[0] + len(used)))
    before = used[0] if together else 0  # how many plain axes stand before the indexed ones in ``values``
    spot = _flat_places(places, [x.shape[a] for a in used])
    plain = [x.shape[a] for a in rest]
    full = values.to(x.dtype).expand([*plain[:before], *spot.shape, *plain[before:]])
    ranks = spot.dim()
    order = [*range(before, before + ranks), *range(before), *range(before + ranks, full.dim())]
    width = math.prod(plain)
    rows = full.permute(order).reshape(spot.numel(), width)
    moved = x.permute(*used, *rest)
    flat = moved.reshape(math.prod(x.shape[a] for a in used), width)
    where = spot.reshape(-1, 1).expand(rows.shape)
    new = flat.scatter_add(0, where, rows) if accumulate else flat.scatter(0, where, rows)
    back = [*used, *rest]
    return new.reshape(moved.shape).permute([back.index(a) for a in range(x.dim())])


def _index(x: Tensor, indices: Sequence[Tensor | None]) -> Any:
    """One index is a gather; several are one through the axes that they index."""
    if any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
        return NotImplemented
    used = [a for a, i in enumerate(indices) if i is not None]
    if len(used) == 1:
        (axis,) = used
        index = indices[axis]
        assert index is not None
        taken = x.index_select(axis, _forward(index.long(), x.shape[axis]).reshape(-1))
        return taken.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])
    rest = [a for a in range(x.dim()) if a not in used]
    places = torch.broadcast_tensors(*[i for i in indices if i is not None])
    together = used == list(range(used[0], used[0] + len(used)))
    before = used[0] if together else 0
    spot = _flat_places(places, [x.shape[a] for a in used])
    plain = [x.shape[a] for a in rest]
    moved = x.permute(*used, *rest).reshape([math.prod(x.shape[a] for a in used), *plain])
    taken = moved.index_select(0, spot.reshape(-1)).reshape([*spot.shape, *plain])
    ranks = spot.dim()
    if not before:
        return taken
    return taken.permute([*range(ranks, ranks + before), *range(ranks), *range(ranks + before, taken.dim())])


def _take(x: Tensor, index: Tensor) -> Tensor:
    return x.reshape(-1).index_select(0, _forward(index, x.numel()).reshape(-1)).reshape(index.shape)


def _put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    flat, places, values = x.reshape(-1), _forward(index, x.numel()).reshape(-1), source.reshape(-1)
    new = flat.scatter_add(0, places, values) if accumulate else flat.scatter(0, places, values)
    return new.reshape(x.shape)


def _masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The n-th true element of the mask takes the n-th of the source."""
    mask = mask.expand(x.shape).reshape(-1)
    place = (mask.long().cumsum(0) - 1).clamp(min=0, max=source.numel() - 1)
    taken = source.reshape(-1).index_select(0, place)
    return torch.where(mask, taken, x.reshape(-1)).reshape(x.shape)


def _masked_scatter_backward(dy: Tensor, mask: Tensor, sizes: Sequence[int]) -> Tensor:
    mask = mask.expand(dy.shape).reshape(-1)
    count = math.prod(sizes)
    place = (mask.long().cumsum(0) - 1).clamp(min=0, max=count - 1)
    added = torch.where(mask, dy.reshape(-1), 0.0)
    return dy.new_zeros(count).scatter_add(0, place, added).reshape(sizes)


def _embedding_backward(dy: Tensor, indices: Tensor, rows: int, padding_index: int, scale_by_frequency: bool) -> Any:
    """A gradient without padding and scaling is recorded as it is."""
    if padding_index < 0 and not scale_by_frequency:
        return NotImplemented
    if scale_by_frequency:
        flat = indices.long().reshape(-1)
        count = torch.zeros(rows, dtype=dy.dtype).scatter_add(0, flat, torch.ones(flat.shape, dtype=dy.dtype))
        dy = dy / count.index_select(0, flat).reshape(indices.shape).unsqueeze(-1)
    if padding_index >= 0:
        dy = torch.where((indices == padding_index).unsqueeze(-1), 0.0, dy)
    return _aten.embedding_dense_backward.default(dy, indices, rows, -1, False)


def _searched(x: Tensor, edges: Tensor, right: bool, out_int32: bool) -> Tensor:
    """How many edges stand before each element."""
    before = edges <= x.unsqueeze(-1) if right else edges < x.unsqueeze(-1)
    return before.to(torch.int32 if out_int32 else torch.int64).sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


def _bucketize(x: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    return _searched(x, boundaries, right, out_int32)


def _searchsorted(
    edges: Tensor,
    x: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Tensor:
    if sorter is not None:
        edges = edges.gather(-1, sorter)
    return _searched(x, edges if edges.dim() == 1 else edges.unsqueeze(-2), right or side == "right", out_int32)


def _repeated_places(repeats: Tensor, *, output_size: int | None = None) -> Tensor:
    """The place that each row of the result is of: how many ends stand before it."""
    if output_size is None:
        raise ExportError(
            "'repeat_interleave' by a tensor gives a shape that depends on values", "give output_size, or a number"
        )
    place = torch.arange(output_size)
    return (repeats.long().cumsum(0) <= place.unsqueeze(1)).long().sum(1)


INDEXING: dict[OpOverload[..., Any], Callable[..., Any]] = {
    _aten._unsafe_index.Tensor: _index,
    _aten._unsafe_index_put.default: _index_put,
    _aten.bucketize.Tensor: _bucketize,
    _aten.embedding_dense_backward.default: _embedding_backward,
    _aten.index.Tensor: _index,
    _aten.index_add.default: _index_add,
    _aten.index_copy.default: _index_copy,
    _aten.index_fill.int_Scalar: _index_fill,
    _aten.index_fill.int_Tensor: _index_fill,
    _aten.index_put.default: _index_put,
    _aten.index_reduce.default: _index_reduce,
    _aten.masked_scatter.default: _masked_scatter,
    _aten.masked_scatter_backward.default: _masked_scatter_backward,
    _aten.put.default: _put,
    _aten.repeat_interleave.Tensor: _repeated_places,
    _aten.scatter.reduce: _scatter_with,
    _aten.scatter.src: _scatter,
    _aten.scatter.value_reduce: _scatter_value_with,
    _aten.scatter_add.default: _scatter_add,
    _aten.scatter_reduce.two: _scatter_reduce,
    _aten.searchsorted.Tensor: _searchsorted,
    _aten.take.default: _take,
}
"""Operation to its decomposition."""
