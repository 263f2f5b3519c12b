"""Gradients of pointwise activations, softmax and cross-entropy in standard ONNX."""

from __future__ import annotations

import math

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import operands

__all__ = [
    "clip_grad",
    "clip_operands",
    "cross_entropy",
    "gelu_grad",
    "log_softmax_grad",
    "relu_grad",
    "sigmoid_grad",
    "silu_grad",
    "softmax_grad",
    "softplus_grad",
    "tanh_grad",
]


def relu_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """ReluGrad: ``dy * sign(y)``; the output y of a ReLU is never negative, so its sign is the mask."""
    dy, y = operands(node)
    return [b.op("Mul", dy, b.op("Sign", y))]


def _clipped(b: Builder, x: ir.Value, low: ir.Value, high: ir.Value) -> ir.Value:
    """``x`` clipped to the bounds: the output of the forward pass's Clip, if the graph has it."""
    for user, _ in x.uses():
        bounds = [_number(value) for value in user.inputs[1:]]
        if user.op_type == "Clip" and not user.domain and bounds == [_number(low), _number(high)]:
            return user.outputs[0]
    return b.op("Clip", x, low, high)


def _number(value: ir.Value | None) -> float | None:
    """The value of a scalar constant; in a graph fresh from a translator it may still be a Constant node."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return float(tensor.numpy().reshape(-1)[0]) if tensor is not None else None


def clip_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """ClipGrad: ``dy * sign(inside)``, see :func:`clip_operands`."""
    dy, inside = clip_operands(b, node)
    return [b.op("Mul", dy, b.op("Sign", inside))]


def clip_operands(b: Builder, node: ir.Node) -> tuple[ir.Value, ir.Value]:
    """Of a ClipGrad dy, and ``(y - min) * (max - y)``: never negative, and zero where the output y is a bound.

    Near the bounds, where it matters, the differences are exact: none is zero unless y is the bound.
    """
    dy, x = operands(node)
    low, high = (node.attributes[name].as_float() for name in ("min", "max"))
    y = _clipped(b, x, b.number(low, x), b.number(high, x))
    above = y if low == 0 else b.op("Sub", y, b.number(low, x))
    return dy, b.op("Mul", above, b.op("Sub", b.number(high, x), y))


def sigmoid_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """SigmoidGrad: ``dy * y * (1 - y)``."""
    dy, y = operands(node)
    return [b.op("Mul", b.op("Mul", dy, y), b.op("Sub", b.number(1.0, y), y))]


def tanh_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """TanhGrad: ``dy * (1 - y^2)``."""
    dy, y = operands(node)
    return [b.op("Mul", dy, b.op("Sub", b.number(1.0, y), b.op("Mul", y, y)))]


def softplus_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """SoftplusGrad: ``dy * sigmoid(x)``."""
    dy, x = operands(node)
    return [b.op("Mul", dy, b.op("Sigmoid", x))]


def gelu_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """GeluGrad: ``dy * (Phi(x) + x * phi(x))`` with the normal distribution Phi and its density phi.

    ``Phi(x) = (1 + erf(x / sqrt(2))) / 2`` and ``phi(x) = exp(-x^2 / 2) / sqrt(2 pi)`` (Hendrycks and Gimpel 2016). In
    the approximation ``Phi(x) = (1 + t) / 2`` with ``t = tanh(k (x + 0.044715 x^3))``, ``k = sqrt(2 / pi)``, and in the
    place of phi its derivative, ``(1 - t^2) / 2 * k (1 + 3 * 0.044715 x^2)``.
    """
    dy, x = operands(node)

    def times(value: ir.Value, factor: float) -> ir.Value:
        return b.op("Mul", value, b.number(factor, x))

    def plus_one(value: ir.Value) -> ir.Value:
        return b.op("Add", value, b.number(1.0, x))

    square = b.op("Mul", x, x)
    if node.attributes["tanh"].as_int():
        scale, cubic = math.sqrt(2 / math.pi), 0.044715
        t = b.op("Tanh", times(b.op("Mul", x, plus_one(times(square, cubic))), scale))
        share = times(plus_one(t), 0.5)
        slope = b.op("Sub", b.number(0.5, x), times(b.op("Mul", t, t), 0.5))
        density = b.op("Mul", slope, times(plus_one(times(square, 3 * cubic)), scale))
    else:
        share = times(plus_one(b.op("Erf", times(x, math.sqrt(0.5)))), 0.5)
        density = times(b.op("Exp", times(square, -0.5)), 1 / math.sqrt(2 * math.pi))
    return [b.op("Mul", dy, b.op("Add", share, b.op("Mul", x, density)))]


def silu_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """SiluGrad: ``dy * s * (1 + x * (1 - s))`` with ``s = sigmoid(x)``."""
    dy, x = operands(node)
    one = b.number(1.0, x)
    s = b.op("Sigmoid", x)
    slope = b.op("Add", b.op("Mul", x, b.op("Sub", one, s)), one)
    return [b.op("Mul", b.op("Mul", dy, s), slope)]


def log_softmax_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """LogSoftmaxGrad: ``dy - exp(y) * sum(dy)``."""
    dy, y = operands(node)
    total = b.reduce_sum(dy, node.attributes["axis"].as_int(), keepdims=True)
    return [b.op("Sub", dy, b.op("Mul", b.op("Exp", y), total))]


def softmax_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """SoftmaxGrad: ``(dy - sum(dy * y)) * y``."""
    dy, y = operands(node)
    total = b.reduce_sum(b.op("Mul", dy, y), node.attributes["axis"].as_int(), keepdims=True)
    return [b.op("Mul", b.op("Sub", dy, total), y)]


def cross_entropy(b: Builder, node: ir.Node) -> list[ir.Value]:
    """CrossEntropy: logits, labels [N, C] -> loss [N] ``-sum(labels * log p)`` and its gradient ``p - labels``."""
    logits, labels = operands(node)
    log_p = b.op("LogSoftmax", logits, axis=-1)
    loss = b.op("Neg", b.reduce_sum(b.op("Mul", labels, log_p), -1))
    return [loss, b.op("Sub", b.op("Exp", log_p), labels)]
