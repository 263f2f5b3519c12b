"""RMSNormalization (opset 23): ``x / sqrt(mean(x^2) + epsilon) * scale`` along the last axis."""

from __future__ import annotations

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import constant_ints, known_shape

from .patterns import made_by, other_operand, row_shape, split_number, user

__all__ = ["rms_norm"]


def _inverse_root(value: ir.Value) -> ir.Node | None:
    """The Reciprocal of a value's square root."""
    root = user(value, "Sqrt")
    return user(root.outputs[0], "Reciprocal") if root is not None else None


def rms_norm(b: Builder, mean: ir.Node) -> dict[ir.Value, ir.Value] | None:
    """What replaces the scaled rows, if a mean is that of a normalisation's squares."""
    square = made_by(mean.inputs[0], "Mul")
    if square is None or square.inputs[0] is not square.inputs[1]:
        return None
    x = square.inputs[0]
    shape = known_shape(x)
    keeps = "keepdims" not in mean.attributes or mean.attributes["keepdims"].as_int() == 1
    if x is None or shape is None or not keeps or constant_ints(mean, 1) not in ([-1], [len(shape) - 1]):
        return None
    shifted = user(mean.outputs[0], "Add")
    epsilon = split_number(shifted)
    inverse = _inverse_root(shifted.outputs[0]) if shifted is not None else None
    normed = user(inverse.outputs[0], "Mul") if inverse is not None else None
    if epsilon is None or inverse is None or normed is None or other_operand(normed, inverse.outputs[0]) is not x:
        return None
    scaled = user(normed.outputs[0], "Mul")
    scale = other_operand(scaled, normed.outputs[0]) if scaled is not None else None
    if scaled is None or scale is None or row_shape(scale) != shape[-1:]:
        return None
    y = b.op("RMSNormalization", x, b.reshape(scale, shape[-1]), axis=-1, epsilon=epsilon[1])
    return {scaled.outputs[0]: y}
