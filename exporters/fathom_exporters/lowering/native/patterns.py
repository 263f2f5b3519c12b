"""What patterns of nodes are found by: users in the forward pass, numbers, shapes."""

from __future__ import annotations

import onnx_ir as ir

from fathom_exporters.lowering.tags import Tag
from fathom_exporters.lowering.values import known_shape

__all__ = ["is_forward", "made_by", "number", "other_operand", "row_shape", "split_number", "user"]


def is_forward(node: ir.Node) -> bool:
    """Whether a node is a standard one of the forward pass."""
    tag = Tag.of(node)
    return tag is not None and tag.phase == "forward" and not node.domain


def number(value: ir.Value | None) -> float | None:
    """The number that a constant of one element is, or None."""
    if value is None or value.const_value is None or value.const_value.size != 1:
        return None
    return float(value.const_value.numpy().reshape(()))


def made_by(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node of the forward pass that makes a value, if it is one of these ops."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in op_types and is_forward(node) else None


def user(value: ir.Value, *op_types: str) -> ir.Node | None:
    """The one user of a value in the forward pass that is one of these ops, or None where there is none or several."""
    found = {node for node, _ in value.uses() if node.op_type in op_types and is_forward(node)}
    return found.pop() if len(found) == 1 else None


def split_number(node: ir.Node | None) -> tuple[ir.Value, float] | None:
    """The other operand and the number of an Add or a Mul with a number, or None."""
    if node is None:
        return None
    first, second = node.inputs
    for value, other in ((first, second), (second, first)):
        found = number(other)
        if value is not None and found is not None:
            return value, found
    return None


def other_operand(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """What a node with two inputs has beside a value; the value itself where it has it twice."""
    first, second = node.inputs
    return second if first is value else first


def row_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of a value without axes of one element before the first that has more; None where it is not known."""
    shape = known_shape(value)
    if shape is None:
        return None
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape
