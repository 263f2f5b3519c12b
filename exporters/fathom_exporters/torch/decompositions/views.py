"""Movement by position, known when a step is recorded: windows, strides, diagonals, triangles, steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._prims_common import infer_size
from torch._subclasses.fake_impls import _compute_stride

__all__ = ["VIEWS"]

_aten = torch.ops.aten


def _constant(values: np.ndarray[Any, Any]) -> Tensor:
    return torch.tensor(values)


def _places(size: Sequence[int], stride: Sequence[int], offset: int) -> np.ndarray[Any, Any]:
    """The places of a strided view in its storage, flat."""
    places = np.full(tuple(size), offset, np.int64)
    for axis, (count, step) in enumerate(zip(size, stride, strict=True)):
        places += (np.arange(count) * step).reshape([-1 if a == axis else 1 for a in range(len(size))])
    return places.reshape(-1)


def _stored(x: Tensor) -> list[int]:
    """The axes of a tensor in the order in which its storage has them."""
    strides = x.stride()
    return sorted(range(x.dim()), key=lambda a: (-strides[a], a))


def _as_strided(x: Tensor, size: list[int], stride: list[int], offset: int | None = None) -> Tensor:
    places = _places(size, stride, offset or 0)
    flat = x.permute(_stored(x)).reshape(-1)
    if len(places) <= flat.numel() and (places == np.arange(len(places))).all():
        return flat[: len(places)].reshape(size)
    return flat.index_select(0, _constant(places)).reshape(size)


def _as_strided_scatter(
    x: Tensor, source: Tensor, size: list[int], stride: list[int], offset: int | None = None
) -> Tensor:
    places = _places(size, stride, offset or 0)
    order = _stored(x)
    stored = x.permute(order)
    if len(places) == x.numel() and (places == np.arange(len(places))).all():
        new = source.reshape(-1)
    else:
        new = stored.reshape(-1).scatter(0, _constant(places), source.reshape(-1))
    return new.reshape(stored.shape).permute([order.index(a) for a in range(x.dim())])


def _view(x: Tensor, size: list[int]) -> Any:
    """A view, as it is where memory allows it.

    What is computed again after a change in place can have its elements in another order in memory; no value is changed
    at this point, so that a copy is as good as a view.
    """
    if _compute_stride(x.shape, x.stride(), infer_size(size, x.numel())) is not None:
        return NotImplemented
    return x.contiguous().view(size)


def _unfold(x: Tensor, dim: int, size: int, step: int) -> Tensor:
    if x.dim() == 0:
        return x.reshape(1)[:size].clone()
    axis = dim % x.dim()
    count = (x.shape[axis] - size) // step + 1
    places = np.arange(count)[:, None] * step + np.arange(size)
    taken = x.index_select(axis, _constant(places.reshape(-1)))
    windows: Tensor = taken.unflatten(axis, (count, size)).movedim(axis + 1, -1)
    return windows


def _unfold_backward(dy: Tensor, sizes: list[int], dim: int, size: int, step: int) -> Tensor:
    axis = dim % len(sizes)
    count = dy.shape[axis]
    places = np.arange(count)[:, None] * step + np.arange(size)
    rows = dy.movedim(-1, axis + 1).flatten(axis, axis + 1)
    added: Tensor = dy.new_zeros(sizes).index_add(axis, _constant(places.reshape(-1)), rows)
    return added


def _diagonal_places(rows: int, columns: int, offset: int) -> np.ndarray[Any, Any]:
    first_row, first_column = max(-offset, 0), max(offset, 0)
    count = max(min(rows - first_row, columns - first_column), 0)
    place = np.arange(count)
    return (first_row + place) * columns + first_column + place


def _diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    first, second = dim1 % x.dim(), dim2 % x.dim()
    moved = x.movedim((first, second), (-2, -1))
    places = _diagonal_places(moved.shape[-2], moved.shape[-1], offset)
    return moved.flatten(-2).index_select(-1, _constant(places))


def _diagonal_scatter(x: Tensor, source: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    first, second = dim1 % x.dim(), dim2 % x.dim()
    moved = x.movedim((first, second), (-2, -1))
    places = _diagonal_places(moved.shape[-2], moved.shape[-1], offset)
    index = _constant(places).expand(source.shape)
    flat = moved.flatten(-2).scatter(-1, index, source)
    return flat.reshape(moved.shape).movedim((-2, -1), (first, second))


def _diagonal_backward(dy: Tensor, sizes: list[int], offset: int, dim1: int, dim2: int) -> Tensor:
    return _diagonal_scatter(dy.new_zeros(sizes), dy, offset, dim1, dim2)


def _triangle(upper: bool) -> Callable[[Tensor, int], Tensor]:
    def triangle(x: Tensor, diagonal: int = 0) -> Tensor:
        rows, columns = x.shape[-2:]
        mask = np.tri(rows, columns, diagonal - 1 if upper else diagonal, dtype=bool)
        kept = _constant(~mask if upper else mask)
        if x.dtype == torch.bool:
            return x & kept
        return torch.where(kept, x, 0)

    return triangle


def _triangle_indices(upper: bool) -> Callable[..., Tensor]:
    def indices(rows: int, columns: int, offset: int = 0, **_: Any) -> Tensor:
        found = np.triu_indices(rows, offset, columns) if upper else np.tril_indices(rows, offset, columns)
        return _constant(np.stack(found).astype(np.int64))

    return indices


def _slice_backward(dy: Tensor, sizes: list[int], dim: int, start: int, end: int, step: int) -> Any:
    """The gradient of a slice with steps of one is recorded as it is; else zeros stand between its elements."""
    axis = dim % len(sizes)
    if step == 1:
        return NotImplemented
    places = np.arange(sizes[axis])[slice(start, min(end, sizes[axis]), step)]
    return _into(dy.new_zeros(sizes), dy, axis, places)


def _into(x: Tensor, source: Tensor, axis: int, places: np.ndarray[Any, Any]) -> Tensor:
    shape = [-1 if a == axis else 1 for a in range(x.dim())]
    return x.scatter(axis, _constant(places.astype(np.int64)).view(shape).expand(source.shape), source)


def _slice_scatter(
    x: Tensor, source: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    axis = dim % x.dim()
    places = np.arange(x.shape[axis])[slice(start, end, step)]
    if len(places) == x.shape[axis]:
        return source.clone()
    if step == 1 and len(places):
        before, after = (
            x.narrow(axis, 0, int(places[0])),
            x.narrow(axis, int(places[-1]) + 1, x.shape[axis] - int(places[-1]) - 1),
        )
        return torch.cat([part for part in (before, source, after) if part.shape[axis]], axis)
    return _into(x, source.expand([len(places) if a == axis else n for a, n in enumerate(x.shape)]), axis, places)


def _same(x: Tensor) -> Tensor:
    return x


def _empty_strided(size: list[int], stride: list[int], *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return torch.zeros(size, dtype=dtype)


def _new_empty_strided(x: Tensor, size: list[int], stride: list[int], *, dtype: Any = None, **_: Any) -> Tensor:
    return torch.zeros(size, dtype=dtype or x.dtype)


def _empty(size: list[int], *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return torch.zeros(size, dtype=dtype)


def _new_empty(x: Tensor, size: list[int], *, dtype: Any = None, **_: Any) -> Tensor:
    return torch.zeros(size, dtype=dtype or x.dtype)


def _empty_like(x: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return torch.zeros(x.shape, dtype=dtype or x.dtype)


def _empty_permuted(size: list[int], layout: list[int], *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return torch.zeros(size, dtype=dtype)


def _linspace(start: float, end: float, steps: int, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return torch.tensor(np.linspace(start, end, steps), dtype=dtype or torch.get_default_dtype())


def _repeat_interleave(x: Tensor, repeats: int, dim: int | None = None, output_size: int | None = None) -> Tensor:
    x, axis = (x.reshape(-1), 0) if dim is None else (x, dim % x.dim())
    shape = list(x.shape)
    wide = x.unsqueeze(axis + 1).expand([*shape[: axis + 1], repeats, *shape[axis + 1 :]])
    shape[axis] *= repeats
    return wide.reshape(shape)


def _copy(x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """What ``x.copy_(source)`` leaves in ``x``."""
    return source.to(x.dtype).expand(x.shape)


VIEWS: dict[OpOverload[..., Any], Callable[..., Any]] = {
    _aten.copy.default: _copy,
    _aten._efficientzerotensor.default: _empty,
    _aten.as_strided.default: _as_strided,
    _aten.as_strided_scatter.default: _as_strided_scatter,
    _aten.detach_.default: _same,
    _aten.diagonal.default: _diagonal,
    _aten.diagonal_copy.default: _diagonal,
    _aten.diagonal_backward.default: _diagonal_backward,
    _aten.diagonal_scatter.default: _diagonal_scatter,
    _aten.empty_permuted.default: _empty_permuted,
    _aten.empty_strided.default: _empty_strided,
    _aten.linspace.default: _linspace,
    _aten.new_empty.default: _new_empty,
    _aten.new_empty_strided.default: _new_empty_strided,
    _aten.repeat_interleave.self_int: _repeat_interleave,
    _aten.slice_backward.default: _slice_backward,
    _aten.slice_scatter.default: _slice_scatter,
    _aten.tril.default: _triangle(upper=False),
    _aten.tril_indices.default: _triangle_indices(upper=False),
    _aten.triu.default: _triangle(upper=True),
    _aten.triu_indices.default: _triangle_indices(upper=True),
    _aten.unfold.default: _unfold,
    _aten.unfold_backward.default: _unfold_backward,
    _aten.view.default: _view,
}
"""Operation to its decomposition. Memory that is not set yet is zero."""
