"""Operations along an axis, of tensors that have none: done with one axis of one element, which is then dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_map_only

__all__ = ["of_scalars"]

_aten = torch.ops.aten

_ALONG_AN_AXIS = (
    _aten._log_softmax.default,
    _aten._log_softmax_backward_data.default,
    _aten._softmax.default,
    _aten._softmax_backward_data.default,
    _aten.cummax.default,
    _aten.cummin.default,
    _aten.cumprod.default,
    _aten.cumsum.default,
    _aten.gather.default,
    _aten.kthvalue.default,
    _aten.logcumsumexp.default,
    _aten.max.dim,
    _aten.median.dim,
    _aten.min.dim,
    _aten.mode.default,
    _aten.nanmedian.dim,
    _aten.scatter.src,
    _aten.scatter.value,
    _aten.scatter_add.default,
    _aten.scatter_reduce.two,
    _aten.sort.default,
    _aten.sort.stable,
    _aten.topk.default,
)


def _with_an_axis(operation: Any, other: Callable[..., Any] | None) -> Callable[..., Any]:
    def with_an_axis(x: Tensor, *arguments: Any, **options: Any) -> Any:
        if x.dim() > 0:
            return NotImplemented if other is None else other(x, *arguments, **options)
        rows = tree_map_only(Tensor, lambda t: t.reshape(1) if t.dim() == 0 else t, (x, *arguments))
        wanted = arguments[1].shape if operation is _aten.gather.default else ()
        return tree_map_only(Tensor, lambda t: t.reshape(wanted), operation(*rows, **options))

    return with_an_axis


def of_scalars(
    table: Mapping[OpOverload[..., Any], Callable[..., Any]],
) -> dict[OpOverload[..., Any], Callable[..., Any]]:
    """Decompositions that give an axis to a tensor without any, in front of those of a table."""
    return {operation: _with_an_axis(operation, table.get(operation)) for operation in _ALONG_AN_AXIS}
