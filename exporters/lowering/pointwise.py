"""Gradients of pointwise activations, softmax and cross-entropy in standard ONNX."""

from __future__ import annotations

import onnx_ir as ir

from .builder import Builder
from .values import operands

__all__ = [
    "cross_entropy",
    "log_softmax_grad",
    "relu_grad",
    "sigmoid_grad",
    "softmax_grad",
    "softplus_grad",
    "tanh_grad",
]


def relu_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """ReluGrad: ``dy * sign(y)``; the output y of a ReLU is never negative, so its sign is the mask."""
    dy, y = operands(node)
    return [b.op("Mul", dy, b.op("Sign", y))]


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
