"""LayerNormalization and GroupNormalization (opset 21) for means, products and sums.

The patterns are ``(x - m) * r * scale + bias``, and with ``f = r * scale`` also ``x * f + (bias - m * f)``, where
``r = 1 / sqrt(mean((x - m)^2) + epsilon)``. With means along the last axis alone it is a normalisation over features.
Where reshapes divide the channels of [N, C, *size] into groups, it is one over groups of channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import constant_ints, known_shape

from .patterns import made_by, other_operand, row_shape, split_number, user

__all__ = ["group_norm", "layer_norm"]


@dataclass(frozen=True)
class _Affine:
    """What is done with normalised values: the result, and the tensors of scale and bias."""

    result: ir.Value
    scale: ir.Value
    bias: ir.Value


def _through_reshape(value: ir.Value) -> ir.Value:
    """What the Reshape of a value gives, if that alone reads it in the forward pass."""
    reshaped = user(value, "Reshape")
    return value if reshaped is None else reshaped.outputs[0]


def _step_by_step(centred: ir.Value, inverse: ir.Value) -> _Affine | None:
    """``centred * inverse * scale + bias``."""
    normed = user(inverse, "Mul")
    if normed is None or other_operand(normed, inverse) is not centred:
        return None
    value = _through_reshape(normed.outputs[0])
    scaled = user(value, "Mul")
    scale = other_operand(scaled, value) if scaled is not None else None
    shifted = user(scaled.outputs[0], "Add") if scaled is not None else None
    bias = other_operand(shifted, scaled.outputs[0]) if scaled is not None and shifted is not None else None
    return _Affine(shifted.outputs[0], scale, bias) if shifted is not None and scale is not None and bias else None


def _folded(x: ir.Value, mean: ir.Value, inverse: ir.Value) -> _Affine | None:
    """``x * (inverse * scale) + (bias - mean * (inverse * scale))``."""
    factor = user(inverse, "Mul")
    scale = other_operand(factor, inverse) if factor is not None else None
    if factor is None or scale is None:
        return None
    products = [node for node, _ in factor.outputs[0].uses() if node.op_type == "Mul"]
    of_x = next((node for node in products if x in node.inputs), None)
    of_mean = next((node for node in products if mean in node.inputs), None)
    if of_x is None or of_mean is None:
        return None
    offset, total = user(of_mean.outputs[0], "Sub"), user(of_x.outputs[0], "Add")
    if offset is None or total is None or offset.inputs[1] is not of_mean.outputs[0]:
        return None
    bias = offset.inputs[0]
    fits = bias is not None and other_operand(total, of_x.outputs[0]) is offset.outputs[0]
    return _Affine(total.outputs[0], scale, bias) if fits and bias is not None else None


def _variance(mean: ir.Node, centred: ir.Value) -> ir.Node | None:
    """The mean of the squares of centred values, along the same axes."""
    squares = {node for node, _ in centred.uses() if node.op_type == "Mul" and list(node.inputs) == [centred, centred]}
    found = user(squares.pop().outputs[0], "ReduceMean") if len(squares) == 1 else None
    same = found is not None and constant_ints(found, 1) == constant_ints(mean, 1)
    return found if same else None


def _affine(mean: ir.Node) -> tuple[_Affine, float] | None:
    """What is done with the values that a mean normalises, and the epsilon; None where it normalises none."""
    x, m = mean.inputs[0], mean.outputs[0]
    centring = user(m, "Sub")
    if x is None or centring is None or list(centring.inputs) != [x, m]:
        return None
    variance = _variance(mean, centring.outputs[0])
    shifted = user(variance.outputs[0], "Add") if variance is not None else None
    root = user(shifted.outputs[0], "Sqrt") if shifted is not None else None
    inverse = user(root.outputs[0], "Reciprocal") if root is not None else None
    epsilon = split_number(shifted)
    if inverse is None or epsilon is None:
        return None
    found = _step_by_step(centring.outputs[0], inverse.outputs[0]) or _folded(x, m, inverse.outputs[0])
    return (found, epsilon[1]) if found is not None else None


def layer_norm(b: Builder, mean: ir.Node) -> dict[ir.Value, ir.Value] | None:
    """What replaces a normalisation over features, if a mean is the one that it subtracts."""
    found, x = _affine(mean), mean.inputs[0]
    shape = known_shape(x)
    if found is None or x is None or shape is None or constant_ints(mean, 1) not in ([-1], [len(shape) - 1]):
        return None
    affine, epsilon = found
    features = shape[-1:]
    fits = row_shape(affine.scale) == row_shape(affine.bias) == features and known_shape(affine.result) == shape
    if not fits:
        return None
    parts = [b.reshape(value, *features) for value in (affine.scale, affine.bias)]
    return {affine.result: b.op("LayerNormalization", x, *parts, axis=-1, epsilon=epsilon)}


def _is_by_channel(value: ir.Value, channels: int, result: tuple[int, ...]) -> bool:
    """Whether a tensor has one number for each channel of a result [N, *channels, *size], in their order."""
    shape = known_shape(value)
    if shape is None or math.prod(shape) != channels:
        return False
    whole = (*(1,) * (len(result) - len(shape)), *shape)
    last = max((axis for axis, size in enumerate(whole) if size > 1), default=0)
    return whole[0] == 1 and whole[1 : last + 1] == result[1 : last + 1]


def group_norm(b: Builder, mean: ir.Node) -> dict[ir.Value, ir.Value] | None:
    """What replaces a normalisation over groups of channels, if a mean is the one that it subtracts."""
    found, split = _affine(mean), made_by(mean.inputs[0], "Reshape")
    image = split.inputs[0] if split is not None else None
    whole, rows, means = known_shape(image), known_shape(mean.inputs[0]), known_shape(mean.outputs[0])
    if found is None or image is None or whole is None or rows is None or means is None or len(whole) < 3:
        return None
    affine, epsilon = found
    result = known_shape(affine.result)
    groups = math.prod(means[1:])
    channels = whole[1]
    divided = means[:2] == rows[:2] == (whole[0], groups) and constant_ints(mean, 1) == [*range(2, len(rows))]
    if result is None or not divided or channels % groups:
        return None
    if not all(_is_by_channel(value, channels, result) for value in (affine.scale, affine.bias)):
        return None
    parts = [b.reshape(value, channels) for value in (affine.scale, affine.bias)]
    y = b.op("GroupNormalization", image, *parts, num_groups=groups, epsilon=epsilon)
    y.shape, y.type = image.shape, image.type  # onnx infers no shape of this op
    return {affine.result: b.reshape(y, *result)}
