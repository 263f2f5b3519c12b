"""Scalars in the optimizer phase: which operand of a node is one, its number, and scalars made of scalars."""

from __future__ import annotations

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.rounding import exact_number
from fathom_exporters.lowering.tags import Tag
from fathom_exporters.lowering.values import known_shape, standard_producer

__all__ = ["alone", "begin_step", "constant_operand", "is_scalar", "made", "only_user", "product", "scalar_operand"]

_STEP = "step"
"""Scope of what all parameters share in the optimizer phase."""


def is_scalar(value: ir.Value | None) -> bool:
    """Whether a value has one element and at most one axis."""
    return known_shape(value) in ((), (1,))


def alone(node: ir.Node, index: int, op_type: str) -> ir.Node | None:
    """The standard node of a type whose output is input ``index``, if nothing else reads it."""
    found = standard_producer(node, op_type, index)
    if found is None or found.outputs[0].is_graph_output() or len(found.outputs[0].uses()) != 1:
        return None
    return found


def only_user(node: ir.Node, op_type: str) -> ir.Node | None:
    """The standard node of a type that alone reads the output of another, by one input."""
    uses = list(node.outputs[0].uses())
    if len(uses) != 1 or node.outputs[0].is_graph_output():
        return None
    user = uses[0].node
    return user if user.op_type == op_type and not user.domain else None


def scalar_operand(node: ir.Node | None) -> int | None:
    """Which input of an Add or Mul is a scalar, if the other is a tensor."""
    if node is None or node.domain:
        return None
    found = [index for index, value in enumerate(node.inputs) if is_scalar(value)]
    return found[0] if len(found) == 1 else None


def constant_operand(node: ir.Node | None) -> tuple[int, float] | None:
    """Which input of a Mul by a constant scalar that is, and its number."""
    index = scalar_operand(node) if node is not None and node.op_type == "Mul" else None
    if node is None or index is None:
        return None
    number = exact_number(node.inputs[index])
    return (index, number) if number is not None else None


def begin_step(b: Builder, tag: Tag) -> None:
    """Start with nodes that all parameters share once equal ones are merged."""
    b.begin(Tag(tag.phase, _STEP, tag.op, f"{tag.op} scalars"))


def made(b: Builder, op_type: str, *inputs: ir.Value | None) -> ir.Value:
    """A scalar made of scalars of one type."""
    found = b.op(op_type, *inputs)
    like = max((value for value in inputs if value is not None), key=lambda value: len(known_shape(value) or ()))
    found.type, found.shape = like.type, like.shape
    return found


def product(b: Builder, first: ir.Value, second: ir.Value) -> ir.Value:
    """The product of two scalars of one type, a constant where both are."""
    numbers = exact_number(first), exact_number(second)
    if numbers[0] is None or numbers[1] is None:
        return made(b, "Mul", first, second)
    return b.number(numbers[0] * numbers[1], first)
