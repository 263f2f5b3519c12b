"""Functions of one element, or of two with broadcasting, and gradients of activations, that tf2onnx lacks."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from fathom_exporters.lowering import DOMAIN

from .emit import Emit, Handler

__all__ = ["POINTWISE"]

_SELU_SCALE, _SELU_SLOPE = 1.0507009873554805, 1.7580993408473768
"""Selu is x times the first above 0, and the second times (e^x - 1) below."""

_SMALL = 0.5
"""Up to here e^x - 1 is taken from a hyperbolic tangent: the difference would cancel in single precision."""


def _zero(e: Emit, like: str) -> str:
    return e.number(0, like)


def gradient(op_type: str, dy: int, saved: int, e: Emit) -> None:
    """A canonical gradient op of two inputs: the operation's inputs ``dy`` (gradient) and ``saved`` (saved tensor)."""
    e.replace(op_type, e.inputs[dy], e.inputs[saved], domain=DOMAIN)


def square(e: Emit) -> None:
    """Square(x): x * x."""
    e.replace("Mul", e.inputs[0], e.inputs[0])


def log1p(e: Emit) -> None:
    """Log1p(x): log(1 + x)."""
    (x,) = e.inputs
    e.replace("Log", e.binary("Add", x, e.number(1, x)))


def expm1(e: Emit) -> None:
    """Expm1(x): with t = tanh(x / 2) it is 2 t / (1 - t) near 0, where e^x - 1 would cancel."""
    (x,) = e.inputs
    t = e.unary("Tanh", e.binary("Mul", x, e.number(0.5, x)))
    near = e.binary("Div", e.binary("Mul", t, e.number(2, x)), e.binary("Sub", e.number(1, x), t))
    far = e.binary("Sub", e.unary("Exp", x), e.number(1, x))
    is_near = e.compare("Less", e.unary("Abs", x), e.number(_SMALL, x))
    e.become(e.where(is_near, near, far))


def sqrt_grad(e: Emit) -> None:
    """SqrtGrad(y, dy): dy / (2 y)."""
    y, dy = e.inputs
    e.replace("Div", e.binary("Mul", dy, e.number(0.5, y)), y)


def rsqrt_grad(e: Emit) -> None:
    """RsqrtGrad(y, dy): -dy y^3 / 2."""
    y, dy = e.inputs
    cube = e.binary("Mul", e.binary("Mul", y, y), y)
    e.replace("Mul", e.binary("Mul", dy, e.number(-0.5, y)), cube)


def reciprocal_grad(e: Emit) -> None:
    """ReciprocalGrad(y, dy): -dy y^2."""
    y, dy = e.inputs
    e.replace("Neg", e.binary("Mul", dy, e.binary("Mul", y, y)))


def elu_grad(e: Emit) -> None:
    """EluGrad(dy, y): dy (y + 1) below 0, else dy."""
    dy, y = e.inputs
    below = e.binary("Mul", dy, e.binary("Add", y, e.number(1, y)))
    e.replace("Where", e.compare("Less", y, _zero(e, y)), below, dy)


def selu_grad(e: Emit) -> None:
    """SeluGrad(dy, y)."""
    dy, y = e.inputs
    below = e.binary("Mul", dy, e.binary("Add", y, e.number(_SELU_SLOPE, y)))
    above = e.binary("Mul", dy, e.number(_SELU_SCALE, y))
    e.replace("Where", e.compare("Less", y, _zero(e, y)), below, above)


def leaky_relu(e: Emit) -> None:
    """LeakyRelu(x)."""
    e.replace("LeakyRelu", e.inputs[0], alpha=float(e.attribute("alpha", 0.2)))


def leaky_relu_grad(e: Emit) -> None:
    """LeakyReluGrad(dy, x)."""
    dy, x = e.inputs
    below = e.binary("Mul", dy, e.number(e.attribute("alpha", 0.2), x))
    e.replace("Where", e.compare("Greater", x, _zero(e, x)), dy, below)


def relu6(e: Emit) -> None:
    """Relu6(x)."""
    (x,) = e.inputs
    e.replace("Clip", x, _zero(e, x), e.number(6, x))


def relu6_grad(e: Emit) -> None:
    """Relu6Grad(dy, y): the output is inside the bounds where the input is."""
    e.replace("ClipGrad", e.inputs[0], e.inputs[1], domain=DOMAIN, min=0.0, max=6.0)


def softsign_grad(e: Emit) -> None:
    """SoftsignGrad(dy, x): dy / (1 + |x|)^2."""
    dy, x = e.inputs
    below = e.binary("Add", e.unary("Abs", x), e.number(1, x))
    e.replace("Div", dy, e.binary("Mul", below, below))


def erfc(e: Emit) -> None:
    """Erfc(x): 1 - erf(x)."""
    (x,) = e.inputs
    e.replace("Sub", e.number(1, x), e.unary("Erf", x))


def no_nan(op_type: str, e: Emit) -> None:
    """MulNoNan(x, y) and DivNoNan(x, y): 0 where y is 0."""
    x, y = e.inputs
    is_zero = e.compare("Equal", y, _zero(e, y))
    safe = y if op_type == "Mul" else e.where(is_zero, e.number(1, y), y)
    e.replace("Where", is_zero, _zero(e, x), e.binary(op_type, x, safe))


def zero_times(function: Callable[[Emit, str, str], str], e: Emit) -> None:
    """Xlogy(x, y), Xdivy(x, y) and Xlog1py(x, y): 0 where x is 0, whatever y is."""
    x, y = e.inputs
    is_zero = e.compare("Equal", x, _zero(e, x))
    safe = e.where(is_zero, e.number(1, y), y)
    e.replace("Where", is_zero, _zero(e, x), function(e, x, safe))


def _log1p_of(e: Emit, y: str) -> str:
    return e.unary("Log", e.binary("Add", y, e.number(1, y)))


def clip(e: Emit) -> None:
    """ClipByValue(x, low, high); the bounds may be tensors."""
    x, low, high = e.inputs
    if not e.shape(low) and not e.shape(high):
        e.replace("Clip", x, low, high)
    else:
        e.replace("Max", e.binary("Min", x, high), low)


def truncated(divide: bool, e: Emit) -> None:
    """TruncateDiv and TruncateMod of whole numbers: ONNX's Div, and Mod with the sign of the dividend."""
    x, y = e.inputs
    if divide:
        e.replace("Div", x, y)
    else:
        e.replace("Mod", x, y, fmod=1)


def floor_mod(e: Emit) -> None:
    """FloorMod(x, y), with the sign of the divisor: ONNX's Mod of whole numbers, else x - y floor(x / y)."""
    x, y = e.inputs
    if e.dtype(x) in (TensorProto.INT32, TensorProto.INT64):
        e.replace("Mod", x, y)
    else:
        e.replace("Sub", x, e.binary("Mul", y, e.unary("Floor", e.binary("Div", x, y))))


def floor_div(e: Emit) -> None:
    """FloorDiv(x, y): of whole numbers by way of what Mod leaves, since ONNX's Div truncates."""
    x, y = e.inputs
    if e.dtype(x) in (TensorProto.INT32, TensorProto.INT64):
        e.replace("Div", e.binary("Sub", x, e.binary("Mod", x, y)), y)
    else:
        e.replace("Floor", e.binary("Div", x, y))


def is_finite(e: Emit) -> None:
    """IsFinite(x): no more than the largest number in size."""
    (x,) = e.inputs
    largest = np.finfo(np.float64 if e.dtype(x) == TensorProto.DOUBLE else np.float32).max
    e.replace("LessOrEqual", e.unary("Abs", x), e.number(largest, x))


def not_equal(e: Emit) -> None:
    """NotEqual(x, y)."""
    e.replace("Not", e.compare("Equal", *e.inputs))


def bucketize(e: Emit) -> None:
    """Bucketize(x): the number of boundaries that x reaches."""
    (x,) = e.inputs
    bounds = list(e.attribute("boundaries") or [])
    shape = e.shape(x)
    apart = e.cast(e.reshape(x, [*shape, 1]), TensorProto.FLOAT)
    reached = e.compare("GreaterOrEqual", apart, e.number(np.array(bounds), apart))
    count = e.op("ReduceSum", e.cast(reached, TensorProto.INT32), e.ints([len(shape)]), shape=shape, keepdims=0)
    e.become(count)


def atan2(e: Emit) -> None:
    """Atan2(y, x) from the arctangent of y / x; straight up and down where x is 0."""
    y, x = e.inputs
    zero, pi = _zero(e, x), e.number(np.pi, x)
    level = e.compare("Equal", x, zero)
    angle = e.unary("Atan", e.binary("Div", y, e.where(level, e.number(1, x), x)))
    turned = e.where(e.compare("Less", y, zero), e.binary("Sub", angle, pi), e.binary("Add", angle, pi))
    angle = e.where(e.compare("Less", x, zero), turned, angle)
    e.become(e.where(level, e.binary("Mul", e.unary("Sign", y), e.number(np.pi / 2, x)), angle))


def bits(e: Emit) -> None:
    """Bitcast(x) of float32 to int32: numbers of the same sign, the sign of -0 too, for what reads no more of them."""
    (x,) = e.inputs
    if (e.dtype(x), e.output_dtype) != (TensorProto.FLOAT, TensorProto.INT32):
        raise ValueError("the bits of numbers have no translation; convert them by tf.cast")
    if not set(e.readers()) <= {"BitwiseAnd", "Less"}:
        raise ValueError("the bits of numbers have no translation but for their sign; use tf.sign")
    # 1 / -0 is negative too
    zero = _zero(e, x)
    signed = e.where(e.compare("Equal", x, zero), e.unary("Reciprocal", x), x)
    lowest, nothing = (e.constant(n, np.int32) for n in (np.iinfo(np.int32).min, 0))
    e.become(e.where(e.compare("Less", signed, zero), lowest, nothing))


def bitwise_and(e: Emit) -> None:
    """BitwiseAnd(x, y); of the sign bit, which is all that is left of a number's bits here, a choice."""
    x, y = e.inputs
    lowest = np.iinfo(np.int32).min
    try:
        is_sign = bool((e.static(1) == lowest).all()) and e.output_dtype == TensorProto.INT32
    except ValueError:
        is_sign = False
    if not is_sign:
        e.stock()
        return
    nothing = e.constant(0, np.int32)
    e.become(e.where(e.compare("Less", x, nothing), y, nothing))


POINTWISE: dict[str, Handler] = {
    "Atan2": atan2,
    "Bitcast": bits,
    "BitwiseAnd": bitwise_and,
    "Bucketize": bucketize,
    "ClipByValue": clip,
    "DivNoNan": functools.partial(no_nan, "Div"),
    "EluGrad": elu_grad,
    "Erfc": erfc,
    "Expm1": expm1,
    "FloorDiv": floor_div,
    "FloorMod": floor_mod,
    "InvGrad": reciprocal_grad,
    "IsFinite": is_finite,
    "LeakyRelu": leaky_relu,
    "LeakyReluGrad": leaky_relu_grad,
    "Log1p": log1p,
    "MulNoNan": functools.partial(no_nan, "Mul"),
    "NotEqual": not_equal,
    "ReciprocalGrad": reciprocal_grad,
    "Relu6": relu6,
    "Relu6Grad": relu6_grad,
    "ReluGrad": functools.partial(gradient, "ReluGrad", 0, 1),
    "RsqrtGrad": rsqrt_grad,
    "SeluGrad": selu_grad,
    "SigmoidGrad": functools.partial(gradient, "SigmoidGrad", 1, 0),
    "SoftplusGrad": functools.partial(gradient, "SoftplusGrad", 0, 1),
    "SoftsignGrad": softsign_grad,
    "SqrtGrad": sqrt_grad,
    "Square": square,
    "TanhGrad": functools.partial(gradient, "TanhGrad", 1, 0),
    "TruncateDiv": functools.partial(truncated, True),
    "TruncateMod": functools.partial(truncated, False),
    "Xdivy": functools.partial(zero_times, lambda e, x, y: e.binary("Div", x, y)),
    "Xlog1py": functools.partial(zero_times, lambda e, x, y: e.binary("Mul", x, _log1p_of(e, y))),
    "Xlogy": functools.partial(zero_times, lambda e, x, y: e.binary("Mul", x, e.unary("Log", y))),
}
"""TensorFlow operation to its handler."""
