"""Integers and truth values where ONNX's operators, or onnxruntime's, have none: computed in int64 and cast back.

Sums and products in int64 end in the same digits, so that cast back they overflow as PyTorch's do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._prims_common import ELEMENTWISE_TYPE_PROMOTION_KIND, elementwise_dtypes

__all__ = ["in_types_of_onnx"]

_aten = torch.ops.aten

_NARROW = frozenset({torch.bool, torch.uint8, torch.int8, torch.int16})
_INTEGERS = _NARROW | {torch.int32}

Decomposition = Callable[..., Any]

_FIRST_TYPE: dict[OpOverload[..., Any], frozenset[torch.dtype]] = dict.fromkeys(
    [
        _aten.amax.default,
        _aten.amin.default,
        _aten.bmm.default,
        _aten.constant_pad_nd.default,
        _aten.kthvalue.default,
        _aten.max.default,
        _aten.max.dim,
        _aten.min.default,
        _aten.min.dim,
        _aten.mm.default,
        _aten.neg.default,
        _aten.relu.default,
        _aten.sort.default,
        _aten.sort.stable,
        _aten.topk.default,
        _aten.tril.default,
        _aten.triu.default,
    ],
    _NARROW,
) | {_aten.argmax.default: _NARROW, _aten.argmin.default: _NARROW}
"""Operation to the types of a first argument that are widened; a first result has the type of that argument."""

_COMMON_TYPE: dict[OpOverload[..., Any], frozenset[torch.dtype]] = {
    _aten.addmm.default: _NARROW,
    _aten.baddbmm.default: _NARROW,
    _aten.fmax.default: _NARROW,
    _aten.fmin.default: _NARROW,
    _aten.maximum.default: _NARROW,
    _aten.minimum.default: _NARROW,
    _aten.pow.Scalar: _INTEGERS,
    _aten.pow.Tensor_Scalar: _INTEGERS,
    _aten.pow.Tensor_Tensor: _INTEGERS,
}
"""Operation to the types of a result that is computed in int64; all arguments have its type."""

_BOUNDED = dict.fromkeys(
    [
        _aten.clamp.Tensor,
        _aten.clamp.default,
        _aten.clamp_max.Tensor,
        _aten.clamp_max.default,
        _aten.clamp_min.Tensor,
        _aten.clamp_min.default,
    ],
    _NARROW,
)
"""The same of operations whose bounds may be given by name."""


def _widened(operation: Any, types: frozenset[torch.dtype], other: Decomposition | None) -> Decomposition:
    """By the type of the first argument; anything else is decomposed as without this module."""
    places = operation in (_aten.argmax.default, _aten.argmin.default)

    def widened(x: Tensor, *arguments: Any, **options: Any) -> Any:
        if x.dtype not in types:
            return NotImplemented if other is None else other(x, *arguments, **options)
        found = operation(x.long(), *(a.long() if isinstance(a, Tensor) else a for a in arguments), **options)
        if places:
            return found
        return found.to(x.dtype) if isinstance(found, Tensor) else (found[0].to(x.dtype), *found[1:])

    return widened


def _of_one_type(operation: Any, types: frozenset[torch.dtype], other: Decomposition | None) -> Decomposition:
    """By the type of the result, to which every argument is cast that has another one."""

    def of_one_type(*arguments: Any, **options: Any) -> Any:
        given = [*arguments, *options.values()] if operation in _BOUNDED else arguments
        numbers = [a for a in given if isinstance(a, Tensor | int | float)]
        _, wanted = elementwise_dtypes(*numbers, type_promotion_kind=ELEMENTWISE_TYPE_PROMOTION_KIND.DEFAULT)
        wide = torch.int64 if wanted in types else wanted
        if all(a.dtype == wide for a in numbers if isinstance(a, Tensor)):
            return NotImplemented if other is None else other(*arguments, **options)

        def like(value: Any) -> Any:
            return value.to(wide) if isinstance(value, Tensor) else value

        found = operation(*map(like, arguments), **{key: like(value) for key, value in options.items()})
        return found.to(wanted)

    return of_one_type


def _where(condition: Tensor, x: Tensor, y: Tensor) -> Any:
    """The runtime, onnxruntime, chooses neither between truth values nor between numbers of int16."""
    wanted = torch.result_type(x, y)
    if wanted == torch.bool:
        return (condition & x) | (torch.logical_not(condition) & y)
    if wanted == torch.int16:
        return torch.where(condition, x.long(), y.long()).to(wanted)
    return NotImplemented


def _masked_fill(x: Tensor, mask: Tensor, value: Any) -> Any:
    if x.dtype not in (torch.bool, torch.int16):
        return NotImplemented
    new = value.to(x.dtype) if isinstance(value, Tensor) else x.new_full((), value)
    return torch.where(mask, new, x)


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    """Tensors of several types, as a concatenation takes them."""
    if len({t.dtype for t in tensors}) == 1:
        return NotImplemented
    return torch.cat([t.unsqueeze(dim) for t in tensors], dim)


def in_types_of_onnx(table: Mapping[OpOverload[..., Any], Decomposition]) -> dict[OpOverload[..., Any], Decomposition]:
    """Decompositions that widen, in front of those of a table."""
    first = {o: _widened(o, types, table.get(o)) for o, types in _FIRST_TYPE.items()}
    common = {o: _of_one_type(o, types, table.get(o)) for o, types in (_COMMON_TYPE | _BOUNDED).items()}
    chosen: dict[OpOverload[..., Any], Decomposition] = {
        _aten.masked_fill.Scalar: _masked_fill,
        _aten.masked_fill.Tensor: _masked_fill,
        _aten.stack.default: _stack,
        _aten.where.self: _where,
    }
    return {**first, **common, **chosen}
