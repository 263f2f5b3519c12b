"""Functions of one or two numbers in forms that keep the digits of small results: aten operation to ONNX.

The forms are right to a few units of the last place of float32, as PyTorch's own are. ``log(1 + x)`` is not: at
``x = 1e-6`` it is 5 % off, at ``1e-8`` it is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from .emit import array, op

__all__ = ["PRECISE"]

_aten = torch.ops.aten


def _number(value: float, like: ir.Value) -> ir.Value:
    return array(np.array(value), like)


def log1p(x: ir.Value) -> ir.Value:
    """The logarithm of ``u``, which is ``1 + x`` rounded, and what the rounding took off: ``(1 + x - u) / u``."""
    one, zero = _number(1, x), _number(0, x)
    u = op.Add(x, one)
    taken = op.Sub(u, one)
    exact = op.Equal(taken, x)  # among them -1 and infinity, which have no quotient
    rest = op.Where(exact, zero, op.Div(op.Sub(x, taken), u))
    return op.Add(op.Log(u), rest)


def expm1(x: ir.Value) -> ir.Value:
    """``e^x - 1 = tanh(x / 2) (e^x + 1)``."""
    half = op.Tanh(op.Mul(x, _number(0.5, x)))
    return op.Mul(half, op.Add(op.Exp(x), _number(1, x)))


def exp2(x: ir.Value) -> ir.Value:
    """A power of 2; ``e^(x log 2)`` loses the digits that ``x log 2`` has before the point."""
    return op.Pow(_number(2, x), x)


def sinh(x: ir.Value) -> ir.Value:
    """``2 tanh(x / 2) cosh(x / 2)^2``, which is finite wherever the result is."""
    half = op.Mul(x, _number(0.5, x))
    twice = op.Add(op.Exp(half), op.Exp(op.Neg(half)))  # 2 cosh(x / 2)
    return op.Mul(op.Mul(op.Tanh(half), twice), op.Mul(twice, _number(0.5, x)))


def cosh(x: ir.Value) -> ir.Value:
    """``(e^x + e^-x) / 2`` by the powers of ``x / 2``, which are finite wherever the result is."""
    half = op.Mul(x, _number(0.5, x))
    up, down = op.Exp(half), op.Exp(op.Neg(half))
    return op.Add(op.Mul(up, op.Mul(up, _number(0.5, x))), op.Mul(down, op.Mul(down, _number(0.5, x))))


_ERFCX = (
    -1.26551223,
    1.00002368,
    0.37409196,
    0.09678418,
    -0.18628806,
    0.27886807,
    -1.13520398,
    1.48851587,
    -0.82215223,
    0.17087277,
)
"""``log(erfcx(x) / t)`` as a polynomial of ``t = 1 / (1 + x / 2)``, for x >= 0, right to 1.2e-7 (Press et al.)."""


def _scaled_tail(x: ir.Value) -> ir.Value:
    """``e^(x^2) erfc(x)`` of the size of x."""
    t = op.Reciprocal(op.Add(op.Mul(op.Abs(x), _number(0.5, x)), _number(1, x)))
    total = _number(_ERFCX[-1], x)
    for coefficient in reversed(_ERFCX[:-1]):
        total = op.Add(op.Mul(total, t), _number(coefficient, x))
    return op.Mul(t, op.Exp(total))


def _exp_of_square(x: ir.Value, sign: float) -> ir.Value:
    """``e^(sign x^2)``: the square of x cut to sixteenths is exact, and the rest of it small."""
    size = op.Min(op.Abs(x), _number(64, x))  # the result is 0 or infinite from there on
    cut = op.Mul(op.Floor(op.Mul(size, _number(16, x))), _number(1 / 16, x))
    rest = op.Mul(op.Sub(size, cut), op.Add(size, cut))
    factor = _number(sign, x)
    return op.Mul(op.Exp(op.Mul(op.Mul(cut, cut), factor)), op.Exp(op.Mul(rest, factor)))


def erfc(x: ir.Value) -> ir.Value:
    """``1 - erf(x)`` by its tail, where the difference would cancel."""
    tail = op.Mul(_scaled_tail(x), _exp_of_square(x, -1))
    return op.Where(op.Less(x, _number(0, x)), op.Sub(_number(2, x), tail), tail)


def erfcx(x: ir.Value) -> ir.Value:
    """``e^(x^2) erfc(x)``."""
    tail = _scaled_tail(x)
    below = op.Sub(op.Mul(_number(2, x), _exp_of_square(x, 1)), tail)
    return op.Where(op.Less(x, _number(0, x)), below, tail)


def negative(x: ir.Value) -> ir.Value:
    """Whether the sign of a floating-point number is minus, that of -0 among them."""
    zero, lowest = _number(0, x), _number(-math.inf, x)
    return op.Or(op.Less(x, zero), op.Equal(op.Reciprocal(x), lowest))


def signbit(x: ir.Value) -> ir.Value:
    """Whether the sign is minus."""
    assert x.dtype is not None
    return negative(x) if x.dtype.is_floating_point() else op.Less(x, _number(0, x))


def copysign(x: ir.Value, y: ir.Value) -> ir.Value:
    """The size of ``x`` with the sign of ``y``."""
    size = op.Abs(x)
    return op.Where(negative(y), op.Neg(size), size)


def atan2(y: ir.Value, x: ir.Value) -> ir.Value:
    """The angle of (x, y): the arc tangent of ``y / x``, and half a turn towards y where x is negative."""
    zero = _number(0, x)
    turn = _number(math.pi, x)
    slope = op.Div(y, x)
    both_zero = op.And(op.Equal(y, zero), op.Equal(x, zero))
    both_infinite = op.Equal(op.Min(op.Abs(y), op.Abs(x)), _number(math.inf, x))
    same = op.Where(op.Equal(op.Sign(y), op.Sign(x)), _number(1, x), _number(-1, x))
    angle = op.Atan(op.Where(both_infinite, same, op.Where(both_zero, zero, slope)))
    half = op.Where(negative(y), op.Neg(turn), turn)
    return op.Where(negative(x), op.Add(angle, half), angle)


def hypot(x: ir.Value, y: ir.Value) -> ir.Value:
    """``sqrt(x^2 + y^2)`` by the ratio of the smaller to the larger, whose square is finite."""
    a, b = op.Abs(x), op.Abs(y)
    large, small = op.Max(a, b), op.Min(a, b)
    whole = op.Or(op.Equal(large, _number(0, x)), op.Equal(large, _number(math.inf, x)))
    ratio = op.Where(whole, _number(0, x), op.Div(small, large))
    return op.Mul(large, op.Sqrt(op.Add(op.Mul(ratio, ratio), _number(1, x))))


PRECISE: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten.log1p.default: log1p,
    _aten.expm1.default: expm1,
    _aten.exp2.default: exp2,
    _aten.sinh.default: sinh,
    _aten.cosh.default: cosh,
    _aten.erfc.default: erfc,
    _aten.special_erfcx.default: erfcx,
    _aten.signbit.default: signbit,
    _aten.copysign.Tensor: copysign,
    _aten.atan2.default: atan2,
    _aten.hypot.default: hypot,
}
"""aten operation to the function that writes it in ONNX."""
