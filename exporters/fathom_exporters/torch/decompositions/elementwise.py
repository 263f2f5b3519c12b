"""Elementwise operations whose decomposition is written here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

__all__ = ["ELEMENTWISE"]

_aten = torch.ops.aten
_prims = torch.ops.prims


def _addcmul(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    return x + (a * b if value == 1 else value * a * b)


def _addcdiv(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    return x + (a / b if value == 1 else value * a / b)


def _remainder(x: Tensor, y: Any) -> Any:
    """The remainder with the divisor's sign; ONNX's has the dividend's for floating-point numbers."""
    if not torch.result_type(x, y).is_floating_point:
        return NotImplemented
    rest = torch.fmod(x, y)
    return torch.where(_is_of_other_sign(rest, y), rest + y, rest)


def _is_of_other_sign(rest: Tensor, y: Tensor | float) -> Tensor:
    """Whether a remainder is not 0 and lies on the other side of 0 than the divisor."""
    return (rest != 0) & ((rest < 0) != (y < 0))


def _whole_quotient(x: Tensor, y: Tensor | float) -> Tensor:
    """The quotient rounded down, by the exact remainder: ``x / y`` may have been rounded up to a whole number."""
    rest = torch.fmod(x, y)
    quotient = (x - rest) / y
    quotient = torch.where(_is_of_other_sign(rest, y), quotient - 1, quotient).round()
    return torch.where(y == 0, x / y, quotient) if isinstance(y, Tensor) else quotient


def _divided(x: Tensor, y: Any, *, rounding_mode: str | None) -> Any:
    if rounding_mode is None:
        return x / y
    if not torch.result_type(x, y).is_floating_point:
        return NotImplemented
    return _whole_quotient(x, y) if rounding_mode == "floor" else torch.trunc(x / y)


def _floor_divide(x: Tensor, y: Any) -> Tensor:
    return torch.div(x, y, rounding_mode="floor")


def _copysign(x: Tensor, y: float) -> Tensor:
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    size = torch.abs(x)
    return -size if math.copysign(1, y) < 0 else size


def _alike(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    wanted = torch.result_type(x, y)
    return x.to(wanted), y.to(wanted)


def _of_truth(operation: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    """A sum or product of truth values is a truth value; everything else is recorded as it is."""

    def of_truth(x: Any, y: Any, **options: Any) -> Any:
        both = isinstance(x, Tensor) and isinstance(y, Tensor) and x.dtype == y.dtype == torch.bool
        return operation(x, y) if both else NotImplemented

    return of_truth


def _shifted(operation: Callable[[Tensor, Any], Tensor]) -> Callable[..., Any]:
    """A shift of uint8, which PyTorch's exporter takes for int8, or of int16, which onnxruntime cannot shift."""

    def shifted(x: Any, y: Any) -> Any:
        narrow = isinstance(x, Tensor) and x.dtype in (torch.uint8, torch.int16)
        return operation(x.long(), y).to(torch.result_type(x, y)) if narrow else NotImplemented

    return shifted


def _add(x: Any, y: Any, *, alpha: float = 1) -> Any:
    """A number can come first, as in ``torch.add(0.5, x)``; in a recording the tensor does."""
    if not isinstance(x, Tensor):
        return (y if alpha == 1 else y * alpha) + x
    return _of_truth(torch.logical_or)(x, y)


def _reversed_sub(x: Tensor, y: Any, alpha: float = 1) -> Tensor:
    if not isinstance(y, Tensor):
        wanted = torch.result_type(x, y)
        x = x if x.dtype == wanted else x.to(wanted)
    return torch.sub(y, x, alpha=alpha)


def _clamp(x: Tensor, low: Any = None, high: Any = None) -> Any:
    """Bounds are of the type of the result."""
    wanted = x.dtype
    for bound in (low, high):
        if bound is not None:
            wanted = torch.promote_types(wanted, torch.result_type(x, bound))
    kind = float if wanted.is_floating_point else int
    bounds = [b if b is None else kind(b) for b in (low, high)]
    if x.dtype == wanted and all(type(b) is type(o) for b, o in zip(bounds, (low, high), strict=True)):
        return NotImplemented
    return torch.clamp(x.to(wanted), *bounds)


def _scalar_tensor(value: float, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return torch.full((), value, dtype=dtype or torch.get_default_dtype())


def _larger(x: Tensor, y: Tensor) -> Tensor:
    x, y = _alike(x, y)
    return torch.where(torch.isnan(x) | (x < y), y, x) if x.is_floating_point() else torch.maximum(x, y)


def _smaller(x: Tensor, y: Tensor) -> Tensor:
    x, y = _alike(x, y)
    return torch.where(torch.isnan(x) | (x > y), y, x) if x.is_floating_point() else torch.minimum(x, y)


def _trunc(x: Tensor) -> Tensor:
    return x if not x.is_floating_point() else torch.sign(x) * torch.floor(torch.abs(x))


def _frac(x: Tensor) -> Tensor:
    return x - torch.trunc(x)


def _whole(x: Tensor) -> Any:
    """Rounding leaves integers as they are."""
    return x.clone() if not x.is_floating_point() else NotImplemented


def _isfinite(x: Tensor) -> Tensor:
    if not x.is_floating_point():
        return torch.ones_like(x, dtype=torch.bool)
    return torch.abs(x) < math.inf


def _isnan(x: Tensor) -> Any:
    return NotImplemented if x.is_floating_point() else torch.zeros_like(x, dtype=torch.bool)


def _signbit(x: Tensor) -> Any:
    return torch.zeros_like(x) if x.dtype == torch.bool else NotImplemented


def _heaviside(x: Tensor, values: Tensor) -> Tensor:
    return torch.where(x == 0, values, (x > 0).to(x.dtype))


def _angle(x: Tensor) -> Tensor:
    """Half a turn of negative numbers, none of others."""
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    return torch.where(torch.isnan(x), x, torch.where(x < 0, torch.full_like(x, math.pi), torch.zeros_like(x)))


def _is(sign: float) -> Callable[[Tensor], Tensor]:
    def is_infinity(x: Tensor) -> Tensor:
        return x == sign * math.inf

    return is_infinity


_CENTRE = (0.886226899, -1.645349621, 0.914624893, -0.140543331)
_CENTRE_BELOW = (-2.118377725, 1.442710462, -0.329097515, 0.012229801)
_TAIL = (-1.970840454, -1.624906493, 3.429567803, 1.641345311)
_TAIL_BELOW = (3.543889200, 1.637067800)


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def _erfinv(y: Tensor) -> Tensor:
    """Rational approximations for the centre and the tails, then two steps of Newton's method, as in PyTorch."""
    square = y * y
    centre = y * _polynomial(square, _CENTRE) / (_polynomial(square, _CENTRE_BELOW) * square + 1)
    away = torch.sqrt(-torch.log((1 - torch.abs(y)) / 2))
    tail = torch.sign(y) * _polynomial(away, _TAIL) / (_polynomial(away, _TAIL_BELOW) * away + 1)
    x = torch.where(torch.abs(y) <= 0.7, centre, tail)
    for _ in range(2):
        x = x - (torch.erf(x) - y) / (2 / math.sqrt(math.pi) * torch.exp(-x * x))
    return torch.where(torch.abs(y) == 1, y * math.inf, x)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype)


def _hardshrink_backward(dy: Tensor, x: Tensor, lambd: float) -> Tensor:
    return torch.where((x >= -lambd) & (x <= lambd), 0.0, dy)


def _hardshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    return torch.where((x >= -lambd) & (x <= lambd), 0.0, x)


def _softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Any:
    if beta == 1 and threshold == 20:
        return NotImplemented
    scaled = x * beta
    return torch.where(scaled > threshold, x, torch.nn.functional.softplus(scaled) / beta)


def _softplus_backward(dy: Tensor, x: Tensor, beta: float, threshold: float) -> Any:
    if beta == 1 and threshold == 20:
        return NotImplemented
    scaled = x * beta
    return torch.where(scaled > threshold, dy, dy * torch.sigmoid(scaled))


def _threshold_backward(dy: Tensor, x: Tensor, threshold: float) -> Any:
    return NotImplemented if threshold == 0 else torch.where(x <= threshold, 0.0, dy)


def _log_sigmoid_forward(x: Tensor) -> tuple[Tensor, Tensor]:
    return -torch.nn.functional.softplus(-x), x.new_zeros([0])


def _log_sigmoid_backward(dy: Tensor, x: Tensor, buffer: Tensor) -> Tensor:
    return dy * torch.sigmoid(-x)


def _mish(x: Tensor) -> Tensor:
    return x * torch.tanh(torch.nn.functional.softplus(x))


def _mish_backward(dy: Tensor, x: Tensor) -> Tensor:
    squashed = torch.tanh(torch.nn.functional.softplus(x))
    return dy * (squashed + x * torch.sigmoid(x) * (1 - squashed * squashed))


ELEMENTWISE: dict[OpOverload[..., Any], Callable[..., Any]] = {
    _aten.addcdiv.default: _addcdiv,
    _aten.addcmul.default: _addcmul,
    _aten.__lshift__.Scalar: _shifted(torch.bitwise_left_shift),
    _aten.__rshift__.Scalar: _shifted(torch.bitwise_right_shift),
    _aten.bitwise_left_shift.Tensor: _shifted(torch.bitwise_left_shift),
    _aten.bitwise_left_shift.Tensor_Scalar: _shifted(torch.bitwise_left_shift),
    _aten.bitwise_right_shift.Tensor: _shifted(torch.bitwise_right_shift),
    _aten.bitwise_right_shift.Tensor_Scalar: _shifted(torch.bitwise_right_shift),
    _aten.angle.default: _angle,
    _aten.ceil.default: _whole,
    _aten.copysign.Scalar: _copysign,
    _aten.div.Scalar_mode: _divided,
    _aten.div.Tensor_mode: _divided,
    _aten.erfinv.default: _erfinv,
    _aten.floor.default: _whole,
    _aten.floor_divide.Scalar: _floor_divide,
    _aten.floor_divide.default: _floor_divide,
    _aten.fmax.default: _larger,
    _aten.fmin.default: _smaller,
    _aten.frac.default: _frac,
    _aten.hardshrink.default: _hardshrink,
    _aten.hardshrink_backward.default: _hardshrink_backward,
    _aten.heaviside.default: _heaviside,
    _aten.isfinite.default: _isfinite,
    _aten.isnan.default: _isnan,
    _aten.isneginf.default: _is(-1.0),
    _aten.isposinf.default: _is(1.0),
    _aten.log_sigmoid_backward.default: _log_sigmoid_backward,
    _aten.log_sigmoid_forward.default: _log_sigmoid_forward,
    _aten.mish.default: _mish,
    _aten.mish_backward.default: _mish_backward,
    _aten.remainder.Scalar: _remainder,
    _aten.remainder.Tensor: _remainder,
    _aten.round.default: _whole,
    _aten.sgn.default: torch.sign,
    _aten.signbit.default: _signbit,
    _aten.softplus.default: _softplus,
    _aten.softplus_backward.default: _softplus_backward,
    _aten.threshold_backward.default: _threshold_backward,
    _aten.trunc.default: _trunc,
    _aten.add.Tensor: _add,
    _aten.mul.Tensor: _of_truth(torch.logical_and),
    _aten.rsub.Scalar: _reversed_sub,
    _aten.rsub.Tensor: _reversed_sub,
    _aten.clamp.default: _clamp,
    _prims.scalar_tensor.default: _scalar_tensor,
    _prims.convert_element_type.default: _cast,
}
"""Operation to its decomposition. ``round`` and its like are recorded as they are for floating-point numbers."""
