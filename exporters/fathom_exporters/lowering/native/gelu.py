"""Gelu (opset 20): ``x / 2 * (1 + erf(x / sqrt(2)))``, or with ``1 - erf(-x / sqrt(2))``."""

from __future__ import annotations

import math

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder

from .patterns import made_by, number, other_operand, split_number, user

__all__ = ["gelu"]


def _multiple(value: ir.Value | None) -> tuple[ir.Value, float] | None:
    """A value as another one times a number."""
    if value is None:
        return None
    negated = made_by(value, "Neg")
    if negated is not None:
        inner = _multiple(negated.inputs[0])
        return (inner[0], -inner[1]) if inner is not None else None
    divided = made_by(value, "Div")
    if divided is not None and (divisor := number(divided.inputs[1])):
        inner = _multiple(divided.inputs[0])
        return (inner[0], inner[1] / divisor) if inner is not None else None
    scaled = split_number(made_by(value, "Mul"))
    if scaled is not None:
        inner = _multiple(scaled[0])
        return (inner[0], inner[1] * scaled[1]) if inner is not None else None
    return value, 1.0


def _distribution(erf: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """The input x and ``1 + erf(x / sqrt(2))``, if an Erf is of x as GELU has it."""
    found = _multiple(erf.inputs[0])
    shifted = user(erf.outputs[0], "Add", "Sub")
    if found is None or shifted is None or number(other_operand(shifted, erf.outputs[0])) != 1:
        return None
    sign = 1.0
    if shifted.op_type == "Sub":
        if shifted.inputs[1] is not erf.outputs[0]:
            return None
        sign = -1.0
    x, factor = found
    return (x, shifted.outputs[0]) if math.isclose(sign * factor, math.sqrt(0.5), rel_tol=1e-6) else None


def gelu(b: Builder, erf: ir.Node) -> dict[ir.Value, ir.Value] | None:
    """What replaces GELU's result, if an Erf is of one."""
    found = _distribution(erf)
    if found is None:
        return None
    x, value = found
    factor, with_x = 1.0, False
    while not (with_x and math.isclose(factor, 0.5, rel_tol=1e-6)):
        product = user(value, "Mul")
        if product is None:
            return None
        other = _multiple(other_operand(product, value))
        constant = number(other_operand(product, value))
        if constant is not None:
            factor *= constant
        elif other is not None and other[0] is x and not with_x:
            factor, with_x = factor * other[1], True
        else:
            return None
        value = product.outputs[0]
    return {value: b.op("Gelu", x)}
