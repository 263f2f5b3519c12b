"""Gradients of activations that have no canonical gradient op: aten operation to ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from .emit import array, op

__all__ = ["ACTIVATIONS"]

_aten = torch.ops.aten


def leaky_relu_backward(dy: ir.Value, x: ir.Value, slope: float, x_is_result: bool) -> ir.Value:
    """leaky_relu_backward: dy where x > 0, else dy * slope; the result has the sign of x."""
    below = op.Mul(dy, array(np.array(slope), x))
    return op.Where(op.Greater(x, array(np.array(0), x)), dy, below)


def elu_backward(
    dy: ir.Value, alpha: float, scale: float, input_scale: float, x_is_result: bool, x: ir.Value
) -> ir.Value:
    """elu_backward: dy * scale above 0; below it dy * alpha * scale * input_scale * exp(x * input_scale)."""
    height = float(alpha) * float(scale)
    below_dy = _times(dy, height * input_scale if not x_is_result else input_scale, x)
    if x_is_result:
        below = op.Mul(below_dy, op.Add(x, array(np.array(height), x)))
    else:
        below = op.Mul(below_dy, op.Exp(_times(x, input_scale, x)))
    return op.Where(op.Greater(x, array(np.array(0), x)), _times(dy, scale, x), below)


def _times(value: ir.Value, factor: float, like: ir.Value) -> ir.Value:
    return value if factor == 1 else op.Mul(value, array(np.array(factor), like))


ACTIVATIONS: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten.elu_backward.default: elu_backward,
    _aten.leaky_relu_backward.default: leaky_relu_backward,
}
"""aten operation to the function that writes it in ONNX."""
