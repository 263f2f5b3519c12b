"""Reductions, scans and order statistics whose decomposition is written here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

__all__ = ["REDUCTIONS"]

_aten = torch.ops.aten


def _axes(x: Tensor, dim: int | Sequence[int] | None) -> list[int]:
    if dim is None or (not isinstance(dim, int) and not dim):
        return list(range(x.dim()))
    return [d % max(x.dim(), 1) for d in ([dim] if isinstance(dim, int) else dim)]


def _variance(
    x: Tensor, dim: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    axes = _axes(x, dim)
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    mean = x.mean(axes, keepdim=True)
    square = (x - mean).square()
    rest = count - (1 if correction is None else correction)
    variance = square.sum(axes, keepdim=keepdim) / max(rest, 0) if rest > 0 else square.sum(axes, keepdim=keepdim) / 0.0
    return variance, mean if keepdim else mean.squeeze(axes)


def _var(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return _variance(x, dim, correction=correction, keepdim=keepdim)[0]


def _std(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return _variance(x, dim, correction=correction, keepdim=keepdim)[0].sqrt()


def _std_mean(
    x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    variance, mean = _variance(x, dim, correction=correction, keepdim=keepdim)
    return variance.sqrt(), mean


def _sum(x: Tensor, *, dtype: torch.dtype | None = None) -> Any:
    """ONNX adds no truth values."""
    if x.dtype != torch.bool and x.dtype != torch.int32 and (dtype is None or dtype == x.dtype):
        return NotImplemented
    wanted = dtype or torch.int64
    return NotImplemented if x.dtype == wanted else x.to(wanted).sum()


def _sum_of_axes(x: Tensor, dim: Any, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    wanted = dtype or (x.dtype if x.is_floating_point() else torch.int64)
    return NotImplemented if x.dtype == wanted else x.to(wanted).sum(dim, keepdim)


def _mean(x: Tensor, *, dtype: torch.dtype | None = None) -> Any:
    return NotImplemented if dtype is None or dtype == x.dtype else x.to(dtype).mean()


def _mean_of_axes(x: Tensor, dim: Any, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    return NotImplemented if dtype is None or dtype == x.dtype else x.to(dtype).mean(dim, keepdim)


def _extreme(operation: Any) -> Callable[..., Any]:
    def of_all(x: Tensor, dim: Sequence[int] = (), keepdim: bool = False) -> Any:
        if not x.dim():
            return x.clone()
        return NotImplemented if dim else operation(x, list(range(x.dim())), keepdim)

    return of_all


def _extreme_of_all(operation: Any) -> Callable[..., Any]:
    def of_all(x: Tensor) -> Any:
        return operation(x, list(range(x.dim()))) if x.dim() else x.clone()

    return of_all


def _vector_norm(
    x: Tensor, order: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    x = x if dtype is None else x.to(dtype)
    axes = _axes(x, dim)
    if order == 2:
        return x.square().sum(axes, keepdim).sqrt()
    size = x.abs()
    if order == 0:
        return (x != 0).to(x.dtype).sum(axes, keepdim)
    if order == 1:
        return size.sum(axes, keepdim)
    if order in (math.inf, -math.inf):
        return size.amax(axes, keepdim) if order > 0 else size.amin(axes, keepdim)
    return (size**order).sum(axes, keepdim) ** (1 / order)


def _cumsum(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    wanted = dtype or (x.dtype if x.is_floating_point() else torch.int64)
    if x.dim() == 0:
        return x.to(wanted)
    return NotImplemented if x.dtype == wanted else x.to(wanted).cumsum(dim)


def _earlier(x: Tensor, dim: int, by: int, fill: float) -> Tensor:
    """``x`` moved on by some places, with a value in those that become free."""
    start = x.new_full([by if a == dim else n for a, n in enumerate(x.shape)], fill)
    return torch.cat([start, x.narrow(dim, 0, x.shape[dim] - by)], dim)


def _scanned(x: Tensor, dim: int, join: Callable[[Tensor, Tensor], Tensor], neutral: float) -> Tensor:
    """A running join in the logarithm of the length many steps."""
    by = 1
    while by < x.shape[dim]:
        x = join(x, _earlier(x, dim, by, neutral))
        by *= 2
    return x


def _cumprod(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    x = x.to(dtype or (x.dtype if x.is_floating_point() else torch.int64))
    return x.clone() if x.dim() == 0 else _scanned(x, dim % x.dim(), torch.mul, 1)


_LOWEST = -3e38
"""The logarithm of nothing in a running sum: infinite numbers less each other are no numbers."""


def _logcumsumexp(x: Tensor, dim: int) -> Tensor:
    if x.dim() == 0:
        return x.clone()

    def join(a: Tensor, b: Tensor) -> Tensor:
        larger = torch.maximum(a, b)
        return larger + torch.log1p(torch.exp(torch.minimum(a, b) - larger))

    found = _scanned(x.clamp(min=_LOWEST), dim % x.dim(), join, _LOWEST)
    return torch.where(found <= _LOWEST, -math.inf, found)


def _running(smaller: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    def running(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """The extreme so far and the last place that has it: of all pairs of places, the earlier ones."""
        axis = dim % x.dim()
        rows = (x if x.is_floating_point() else x.long()).movedim(axis, -1)
        count = rows.shape[-1]
        place = torch.arange(count)
        allowed = place.view(1, -1) <= place.view(-1, 1)
        limits = torch.iinfo(torch.int64)
        worst = (math.inf if smaller else -math.inf) if x.is_floating_point() else limits.max if smaller else limits.min
        seen = torch.where(allowed, rows.unsqueeze(-2), worst)
        value = seen.amin(-1) if smaller else seen.amax(-1)
        hit = allowed & (rows.unsqueeze(-2) == value.unsqueeze(-1))
        index = torch.where(hit, place, -1).amax(-1)
        return value.movedim(-1, axis).to(x.dtype), index.movedim(-1, axis)

    return running


def _kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    values, indices = torch.topk(x, k, dim, largest=False, sorted=True)
    value, index = values.narrow(dim, k - 1, 1), indices.narrow(dim, k - 1, 1)
    return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))


def _median_of_axis(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    return _kthvalue(x, (x.shape[dim] + 1) // 2, dim, keepdim)


def _median(x: Tensor) -> Tensor:
    return _kthvalue(x.reshape(-1), (x.numel() + 1) // 2, 0)[0]


def _nanmedian_of_axis(x: Tensor, dim: int, keepdim: bool = False) -> Any:
    """The lower median of what is a number: the others count as infinite, and stand behind it."""
    if not x.is_floating_point():
        return x.median(dim, keepdim)
    missing = torch.isnan(x)
    values, indices = torch.where(missing, math.inf, x).sort(dim)
    count = torch.logical_not(missing).long().sum(dim, True)
    place = torch.div(count - 1, 2, rounding_mode="floor").clamp(min=0)
    value = torch.where(count == 0, math.nan, values.gather(dim, place))
    index = torch.where(count == 0, 0, indices.gather(dim, place))
    return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))


def _nanmedian(x: Tensor) -> Tensor:
    return x.reshape(-1).nanmedian(0).values


def _mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The smallest of the most frequent elements, and the last place that has it."""
    axis = dim % x.dim()
    rows = (x if x.is_floating_point() else x.long()).movedim(axis, -1)
    often = (rows.unsqueeze(-1) == rows.unsqueeze(-2)).long().sum(-1)
    beyond = math.inf if x.is_floating_point() else torch.iinfo(torch.int64).max
    value = torch.where(often == often.amax(-1, keepdim=True), rows, beyond).amin(-1, keepdim=True)
    index = torch.where(rows == value, torch.arange(rows.shape[-1]), -1).amax(-1, keepdim=True)
    value, index = value.to(x.dtype).movedim(-1, axis), index.movedim(-1, axis)
    return (value, index) if keepdim else (value.squeeze(axis), index.squeeze(axis))


def _truth(found: Tensor, x: Tensor) -> Tensor:
    """A truth value, which PyTorch writes in uint8 where it was asked of uint8."""
    return found.to(torch.uint8) if x.dtype == torch.uint8 else found


def _any(x: Tensor) -> Tensor:
    return _truth(x.to(torch.bool).to(torch.int64).sum() > 0, x)


def _any_of_axis(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _truth(x.to(torch.bool).to(torch.int64).sum(_axes(x, dim), keepdim) > 0, x)


def _all(x: Tensor) -> Tensor:
    return _truth(torch.logical_not(x).to(torch.int64).sum() == 0, x)


def _all_of_axis(x: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return _truth(torch.logical_not(x).to(torch.int64).sum(_axes(x, dim), keepdim) == 0, x)


def _prod(x: Tensor, *, dtype: torch.dtype | None = None) -> Any:
    wanted = dtype or (x.dtype if x.is_floating_point() else torch.int64)
    return NotImplemented if x.dtype == wanted else x.to(wanted).prod()


def _nansum(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    x = torch.where(torch.isnan(x), 0.0, x) if x.is_floating_point() else x
    return x.sum(_axes(x, dim), keepdim, dtype=dtype)


def _topk_sort(x: Tensor, dim: int, descending: bool) -> tuple[Tensor, Tensor]:
    """Equal elements keep their order: TopK takes the lower index first, in both directions."""
    values, indices = torch.topk(x, x.shape[dim], dim, largest=descending, sorted=True)
    return values, indices


def _sort(x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    return _topk_sort(x, dim, descending)


def _stable_sort(x: Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    return _topk_sort(x, dim, descending)


REDUCTIONS: dict[OpOverload[..., Any], Callable[..., Any]] = {
    _aten.all.default: _all,
    _aten.all.dim: _all_of_axis,
    _aten.all.dims: _all_of_axis,
    _aten.amax.default: _extreme(torch.amax),
    _aten.amin.default: _extreme(torch.amin),
    _aten.any.default: _any,
    _aten.any.dim: _any_of_axis,
    _aten.any.dims: _any_of_axis,
    _aten.cummax.default: _running(smaller=False),
    _aten.cummin.default: _running(smaller=True),
    _aten.cumprod.default: _cumprod,
    _aten.cumsum.default: _cumsum,
    _aten.kthvalue.default: _kthvalue,
    _aten.linalg_vector_norm.default: _vector_norm,
    _aten.logcumsumexp.default: _logcumsumexp,
    _aten.max.default: _extreme_of_all(torch.amax),
    _aten.mean.default: _mean,
    _aten.mean.dim: _mean_of_axes,
    _aten.median.default: _median,
    _aten.median.dim: _median_of_axis,
    _aten.min.default: _extreme_of_all(torch.amin),
    _aten.mode.default: _mode,
    _aten.nanmedian.default: _nanmedian,
    _aten.nanmedian.dim: _nanmedian_of_axis,
    _aten.nansum.default: _nansum,
    _aten.prod.default: _prod,
    _aten.sort.default: _sort,
    _aten.sort.stable: _stable_sort,
    _aten.std.correction: _std,
    _aten.std_mean.correction: _std_mean,
    _aten.sum.default: _sum,
    _aten.sum.dim_IntList: _sum_of_axes,
    _aten.var.correction: _var,
    _aten.var_mean.correction: _variance,
}
"""Operation to its decomposition; sums and means of one type are recorded as they are."""
