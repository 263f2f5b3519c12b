"""Operands of nodes and their static shapes: in our graphs every tensor has one."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["constant_ints", "operands", "static_shape"]


def operands(node: ir.Node) -> list[ir.Value]:
    """The inputs of a node that takes no optional ones.

    Raises:
        ValueError: One is missing.
    """
    values = [value for value in node.inputs if value is not None]
    if len(values) != len(node.inputs):
        raise ValueError(f"an input of {node.op_type} is missing")
    return values


def static_shape(value: ir.Value) -> list[int]:
    """The shape of ``value`` in elements.

    Raises:
        ValueError: It is not known, or not static.
    """
    if value.shape is None or not value.shape.is_static():
        raise ValueError(f"tensor '{value.name}' has no static shape")
    return [int(d) for d in value.shape.numpy()]


def constant_ints(node: ir.Node, index: int) -> list[int] | None:
    """The elements of a constant whole-number input, or None."""
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None or value.const_value is None:
        return None
    return [int(element) for element in value.const_value.numpy().ravel()]
