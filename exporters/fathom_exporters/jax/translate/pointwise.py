"""Pointwise primitives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering.values import constant_ints, operands, static_shape

from .emit import Emit
from .products import with_bias
from .registry import Equation, Rule, UnknownError
from .values import Known, Spread, Value, dtype_of, known, narrow, shape_of

__all__ = ["POINTWISE"]

_PLAIN: dict[str, str] = {
    "abs": "Abs",
    "acos": "Acos",
    "acosh": "Acosh",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "cos": "Cos",
    "cosh": "Cosh",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "log": "Log",
    "logistic": "Sigmoid",
    "neg": "Neg",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "sqrt": "Sqrt",
    "sub": "Sub",
    "tan": "Tan",
    "tanh": "Tanh",
}
"""Primitive to the ONNX op that is the same for every type."""

_COMPARED: dict[str, str] = {
    "eq": "Equal",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "lt": "Less",
}

_LOGICAL: dict[str, tuple[str, str]] = {
    "and": ("And", "BitwiseAnd"),
    "not": ("Not", "BitwiseNot"),
    "or": ("Or", "BitwiseOr"),
    "xor": ("Xor", "BitwiseXor"),
}
"""Primitive to its ONNX op for Booleans and for whole numbers."""


def _plain(op_type: str) -> Rule:
    return lambda e, q: e.pointwise(op_type, *q.given)


def _compared(op_type: str) -> Rule:
    return lambda e, q: e.pointwise(op_type, *q.given, dtype=np.bool_)


def _logical(on_bools: str, on_integers: str) -> Rule:
    return lambda e, q: e.pointwise(on_bools if q.dtype == np.bool_ else on_integers, *q.given)


def _is(value: Value, number: float) -> bool:
    """Whether all elements of a value are known to be a number."""
    elements = known(value)
    return elements is not None and bool((elements == number).all())


def _same(e: Emit, q: Equation, value: Value) -> Value | None:
    """One of an equation's arguments as its result, where it has the result's shape."""
    return value if shape_of(value) == q.shape else None


def _add(e: Emit, q: Equation) -> Value:
    """A sum; nothing where zero is added."""
    for value, other in (q.given, q.given[::-1]):
        if _is(other, 0) and (found := _same(e, q, value)) is not None:
            return found
        biased = with_bias(e, value, other)
        if biased is not None:
            return biased
    return e.pointwise("Add", *q.given)


def _sum_of_gradients(e: Emit, q: Equation) -> Value:
    e.summing = e.in_backward
    made = _add(e, q)
    e.summing = False
    return made


def _mul(e: Emit, q: Equation) -> Value:
    """A product; nothing where the factor is one."""
    if q.dtype == np.bool_:
        return e.pointwise("And", *q.given)
    for value, other in (q.given, q.given[::-1]):
        if _is(other, 1) and (found := _same(e, q, value)) is not None:
            return found
    return e.pointwise("Mul", *q.given)


def _mean(e: Emit, q: Equation) -> Value | None:
    """The mean that a division makes: of a sum, by the number of elements that were added."""
    total, count = q.given[0], known(q.given[1])
    value = total.base if isinstance(total, Spread) else total
    if count is None or count.size != 1 or not isinstance(value, ir.Value) or e.place.phase == "optimizer":
        return None
    producer = value.producer()
    if producer is not None and producer.op_type == "Reshape":
        source = producer.inputs[0]
        producer = source.producer() if source is not None else None
    if producer is None or producer.op_type != "ReduceSum" or producer.domain:
        return None
    axes, before = constant_ints(producer, 1), operands(producer)[0]
    size = static_shape(before)
    if axes is None or math.prod(size[axis] for axis in axes) != float(count.reshape(())):
        return None
    e.op = "Mean"
    kept = [length for axis, length in enumerate(size) if axis not in axes]
    mean = e.node("ReduceMean", before, e.ints(*axes), keepdims=0, shape=kept, dtype=q.dtype)
    whole = e.reshape(mean, shape_of(value))
    return Spread(whole, total.shape) if isinstance(total, Spread) else whole


def _div(e: Emit, q: Equation) -> Value:
    found = _mean(e, q)
    return e.pointwise("Div", *q.given) if found is None else found


def _larger(op_type: str, on_bools: str) -> Rule:
    return lambda e, q: e.pointwise(on_bools if q.dtype == np.bool_ else op_type, *q.given)


def _integer_pow(e: Emit, q: Equation) -> Value:
    (x,), power = q.given, int(q.params["y"])
    if power == 1:
        return x
    if power == 2:
        return e.pointwise("Mul", x, x)
    if power == -1:
        return e.pointwise("Reciprocal", x)
    return e.pointwise("Pow", x, e.number(power, x))


def _square(e: Emit, q: Equation) -> Value:
    return e.pointwise("Mul", q.given[0], q.given[0])


def _rsqrt(e: Emit, q: Equation) -> Value:
    return e.pointwise("Reciprocal", e.pointwise("Sqrt", q.given[0]))


def _cbrt(e: Emit, q: Equation) -> Value:
    (x,) = q.given
    return e.pointwise("Mul", e.pointwise("Sign", x), e.pointwise("Pow", e.pointwise("Abs", x), e.number(1 / 3, x)))


def _exp2(e: Emit, q: Equation) -> Value:
    return e.pointwise("Pow", e.number(2, q.given[0]), q.given[0])


def _log1p(e: Emit, q: Equation) -> Value:
    """``log(u) + (1 + x - u) / u`` with ``u = 1 + x`` rounded, the second term for what the rounding took off."""
    (x,) = q.given
    one, zero = e.number(1, x), e.number(0, x)
    u = e.pointwise("Add", x, one)
    taken = e.pointwise("Sub", u, one)
    exact = e.pointwise("Equal", taken, x, dtype=np.bool_)  # among them -1 and infinity, which have no quotient
    rest = e.pointwise("Div", e.pointwise("Sub", x, taken), u)
    return e.pointwise("Add", e.pointwise("Log", u), e.pointwise("Where", exact, zero, rest, dtype=q.dtype))


def _expm1(e: Emit, q: Equation) -> Value:
    """``e^x - 1 = tanh(x / 2) (e^x + 1)``, which keeps the digits of small results."""
    (x,) = q.given
    half = e.pointwise("Tanh", e.pointwise("Mul", x, e.number(0.5, x)))
    return e.pointwise("Mul", half, e.pointwise("Add", e.pointwise("Exp", x), e.number(1, x)))


def _erfc(e: Emit, q: Equation) -> Value:
    return e.pointwise("Sub", e.number(1, q.given[0]), e.pointwise("Erf", q.given[0]))


_NEAR = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
         0.246640727, 1.50140941)  # fmt: skip
_FAR = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
        1.00167406, 2.83297682)  # fmt: skip


def _erf_inv(e: Emit, q: Equation) -> Value:
    """Two polynomials of ``w = -log(1 - x^2)`` (Giles 2012), right to the digits of float32, as XLA has them."""
    (x,) = q.given

    def number(value: float) -> Known:
        return e.number(value, x)

    one = number(1)
    inside = e.pointwise("Mul", e.pointwise("Sub", one, x), e.pointwise("Add", one, x))
    w = e.pointwise("Neg", e.pointwise("Log", inside))
    is_near = e.pointwise("Less", w, number(5), dtype=np.bool_)
    root = e.pointwise("Sqrt", e.pointwise("Max", w, number(0)))
    polynomials = []
    for at, coefficients in (
        (e.pointwise("Sub", w, number(2.5)), _NEAR),
        (e.pointwise("Sub", root, number(3)), _FAR),
    ):
        total: Value = number(coefficients[0])
        for coefficient in coefficients[1:]:
            total = e.pointwise("Add", e.pointwise("Mul", total, at), number(coefficient))
        polynomials.append(total)
    factor = e.pointwise("Where", is_near, *polynomials, dtype=q.dtype)
    at_end = e.pointwise("Equal", e.pointwise("Abs", x), one, dtype=np.bool_)
    ends = e.pointwise("Mul", x, number(math.inf))
    return e.pointwise("Where", at_end, ends, e.pointwise("Mul", factor, x), dtype=q.dtype)


def _ne(e: Emit, q: Equation) -> Value:
    return e.pointwise("Not", e.pointwise("Equal", *q.given, dtype=np.bool_))


def _is_finite(e: Emit, q: Equation) -> Value:
    (x,) = q.given
    odd = (e.pointwise(op_type, x, dtype=np.bool_) for op_type in ("IsNaN", "IsInf"))
    return e.pointwise("Not", e.pointwise("Or", *odd))


def _round(e: Emit, q: Equation) -> Value:
    """To even, as ONNX rounds, or away from zero."""
    (x,) = q.given
    if int(q.params["rounding_method"]) == 1:
        return e.pointwise("Round", x)
    up = e.pointwise("Floor", e.pointwise("Add", e.pointwise("Abs", x), e.number(0.5, x)))
    return e.pointwise("Mul", e.pointwise("Sign", x), up)


def _rem(e: Emit, q: Equation) -> Value:
    """What a division to zero leaves, with the sign of the first."""
    return e.pointwise("Mod", *q.given, fmod=1)


def _select(e: Emit, q: Equation) -> Value:
    """The case that a Boolean, or a whole number, chooses for each element."""
    which, *cases = q.given
    if len(cases) == 1:
        return cases[0]
    if dtype_of(which) == np.bool_:
        return e.pointwise("Where", which, cases[1], cases[0], dtype=q.dtype)
    made: Value = cases[0]
    for number, case in enumerate(cases[1:], start=1):
        chosen = e.pointwise("Equal", which, e.number(number, which), dtype=np.bool_)
        made = e.pointwise("Where", chosen, case, made, dtype=q.dtype)
    return made


def _clamp(e: Emit, q: Equation) -> Value:
    low, x, high = q.given
    return e.pointwise("Min", e.pointwise("Max", x, low), high)


def _cast(e: Emit, x: Value, to: np.dtype[Any]) -> Value:
    if dtype_of(x) == to:
        return x
    return e.pointwise("Cast", x, dtype=to, to=int(ir.DataType.from_numpy(to)))


def _convert(e: Emit, q: Equation) -> Value:
    """Another type; from floating point to whole numbers towards zero, as in ONNX."""
    return _cast(e, q.given[0], narrow(q.params["new_dtype"]))


def _power(e: Emit, q: Equation) -> Value:
    """A power; a whole number as exponent becomes one of the base's type, as JAX's own lowering does.

    Pow may have two types in ONNX, but not every reader of graphs takes them.
    """
    base, exponent = q.given
    return e.pointwise("Pow", base, _cast(e, exponent, dtype_of(base)))


def _unchanged(e: Emit, q: Equation) -> Value:
    return q.given[0]


def _barrier(e: Emit, q: Equation) -> list[Value]:
    """Its arguments, repetitions of what is not known written out: what reads a gradient reads one tensor."""
    return [e.tensor(value) if known(value) is None else value for value in q.given]


def _atan2(e: Emit, q: Equation) -> Value:
    raise UnknownError("no translation of atan2", "write it by atan of a quotient")


POINTWISE: dict[str, Rule] = {
    **{name: _plain(op_type) for name, op_type in _PLAIN.items()},
    **{name: _compared(op_type) for name, op_type in _COMPARED.items()},
    **{name: _logical(*op_types) for name, op_types in _LOGICAL.items()},
    "add": _add,
    "add_any": _sum_of_gradients,
    "atan2": _atan2,
    "cbrt": _cbrt,
    "clamp": _clamp,
    "convert_element_type": _convert,
    "copy": _unchanged,
    "copy_p": _unchanged,
    "div": _div,
    "erf_inv": _erf_inv,
    "erfc": _erfc,
    "exp2": _exp2,
    "expm1": _expm1,
    "integer_pow": _integer_pow,
    "is_finite": _is_finite,
    "log1p": _log1p,
    "max": _larger("Max", "Or"),
    "min": _larger("Min", "And"),
    "mul": _mul,
    "ne": _ne,
    "optimization_barrier": _barrier,
    "pow": _power,
    "reduce_precision": _unchanged,
    "rem": _rem,
    "round": _round,
    "rsqrt": _rsqrt,
    "select_n": _select,
    "square": _square,
    "stop_gradient": _unchanged,
}
"""Primitive to its rule."""
