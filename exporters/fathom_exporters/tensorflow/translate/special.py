"""Special functions that ONNX has no operator for, by series of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from .emit import Emit, Handler

__all__ = ["SPECIAL"]

_SHIFT = 8
"""Steps by which an argument of the gamma function is moved up, so that few terms of its series are enough."""
_LOG_GAMMA = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
"""Coefficients of Stirling's series: those of 1/z, 1/z^3, ..."""
_DIGAMMA = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132)
"""Coefficients of its derivative's: those of 1/z^2, 1/z^4, ..."""


def _polynomial(e: Emit, x: str, coefficients: Sequence[float]) -> str:
    """The sum of ``coefficients[k] x^k``."""
    total = e.binary("Mul", x, e.number(coefficients[-1], x))
    for coefficient in reversed(coefficients[1:-1]):
        total = e.binary("Mul", x, e.binary("Add", total, e.number(coefficient, x)))
    return e.binary("Add", total, e.number(coefficients[0], x))


def _reflected(e: Emit, x: str) -> tuple[str, str]:
    """Whether x is below one half, and x or there 1 - x."""
    low = e.compare("Less", x, e.number(0.5, x))
    return low, e.where(low, e.binary("Sub", e.number(1, x), x), x)


def _fraction(e: Emit, x: str) -> str:
    """What is left of x beside the nearest whole number; sine and tangent of pi x are those of it, but for the sign."""
    return e.binary("Sub", x, e.unary("Round", x))


def log_gamma(e: Emit) -> None:
    """Lgamma(x): Stirling's series at x + 8, less the logarithm of x (x + 1) ... (x + 7); reflected below 1/2."""
    (x,) = e.inputs
    low, y = _reflected(e, x)
    product = y
    for step in range(1, _SHIFT):
        product = e.binary("Mul", product, e.binary("Add", y, e.number(step, y)))
    z = e.binary("Add", y, e.number(_SHIFT, y))
    inverse = e.unary("Reciprocal", z)
    series = e.binary("Mul", inverse, _polynomial(e, e.binary("Mul", inverse, inverse), _LOG_GAMMA))
    # (z - 1/2) log z - log(product) = (y - 1/2) log z - log(product / z^8), of smaller numbers
    ratio = product
    for _ in range(_SHIFT):
        ratio = e.binary("Mul", ratio, inverse)
    main = e.binary("Mul", e.binary("Sub", y, e.number(0.5, y)), e.unary("Log", z))
    rest = e.binary("Sub", e.number(0.5 * math.log(2 * math.pi) - _SHIFT, y), y)
    high = e.binary("Add", e.binary("Add", e.binary("Sub", main, e.unary("Log", ratio)), rest), series)
    sine = e.unary("Abs", e.unary("Sin", e.binary("Mul", _fraction(e, x), e.number(math.pi, x))))
    below = e.binary("Sub", e.binary("Sub", e.number(math.log(math.pi), x), e.unary("Log", sine)), high)
    e.become(e.where(low, below, high))


def digamma(e: Emit) -> None:
    """Digamma(x): its series at x + 8, less 1/(x + 7) + ... + 1/(x + 1) + 1/x; reflected below 0."""
    (x,) = e.inputs
    low = e.compare("Less", x, e.number(0, x))
    y = e.where(low, e.binary("Sub", e.number(1, x), x), x)
    total = e.unary("Reciprocal", e.binary("Add", y, e.number(_SHIFT - 1, y)))
    for step in reversed(range(_SHIFT - 1)):
        total = e.binary("Add", total, e.unary("Reciprocal", e.binary("Add", y, e.number(step, y))))
    z = e.binary("Add", y, e.number(_SHIFT, y))
    inverse = e.unary("Reciprocal", z)
    square = e.binary("Mul", inverse, inverse)
    series = e.binary("Mul", square, _polynomial(e, square, _DIGAMMA))
    main = e.binary("Sub", e.unary("Log", z), e.binary("Mul", inverse, e.number(0.5, z)))
    high = e.binary("Sub", e.binary("Add", main, series), total)
    angle = e.binary("Mul", _fraction(e, x), e.number(math.pi, x))
    cotangent = e.binary("Div", e.number(math.pi, x), e.unary("Tan", angle))
    e.become(e.where(low, e.binary("Sub", high, cotangent), high))


_START = 0.147
"""The number of Winitzki's approximation."""
_STEPS = 3


def inverse_erf(e: Emit) -> None:
    """Erfinv(y): Winitzki's approximation, right to 2e-3, and three of Halley's steps to where erf is y."""
    (y,) = e.inputs
    one, half = e.number(1, y), e.number(0.5, y)
    logarithm = e.unary("Log", e.binary("Sub", one, e.binary("Mul", y, y)))
    middle = e.binary("Add", e.number(2 / (math.pi * _START), y), e.binary("Mul", logarithm, half))
    under = e.binary("Sub", e.binary("Mul", middle, middle), e.binary("Div", logarithm, e.number(_START, y)))
    size = e.unary("Sqrt", e.binary("Sub", e.unary("Sqrt", under), middle))
    x = e.binary("Mul", e.unary("Sign", y), size)
    for _ in range(_STEPS):
        off = e.binary("Sub", e.unary("Erf", x), y)
        slope = e.unary("Exp", e.unary("Neg", e.binary("Mul", x, x)))
        newton = e.binary("Div", off, e.binary("Mul", slope, e.number(2 / math.sqrt(math.pi), y)))
        bent = e.binary("Add", one, e.binary("Mul", x, newton))
        x = e.binary("Sub", x, e.binary("Div", newton, bent))
    e.become(x)


def in_top_k(e: Emit) -> None:
    """InTopKV2(predictions [N, C], targets [N], constant k): fewer than k classes are above the target's."""
    predictions, targets = e.inputs[:2]
    k, (rows, _) = int(e.static(2)), e.shape(predictions)
    places = e.reshape(e.cast(targets, TensorProto.INT64), [rows, 1])
    own = e.op("GatherElements", predictions, places, shape=[rows, 1], axis=1)
    above = e.cast(e.compare("Greater", predictions, own), TensorProto.INT32)
    count = e.op("ReduceSum", above, e.ints([1]), shape=[rows], keepdims=0)
    e.become(e.compare("Less", count, e.constant(k, np.int32)))


SPECIAL: dict[str, Handler] = {
    "Digamma": digamma,
    "Erfinv": inverse_erf,
    "InTopKV2": in_top_k,
    "Lgamma": log_gamma,
}
"""TensorFlow operation to its handler."""
