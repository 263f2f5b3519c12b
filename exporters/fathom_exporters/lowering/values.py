"""Nodes and values of an ``onnx_ir`` graph: operands, static shapes, constants, producers, replacement."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["constant_ints", "known_shape", "operands", "replace_node", "standard_producer", "static_shape"]


def operands(node: ir.Node) -> list[ir.Value]:
    """The inputs of a node that takes no optional ones.

    Raises:
        ValueError: One is missing.
    """
    values = [value for value in node.inputs if value is not None]
    if len(values) != len(node.inputs):
        raise ValueError(f"an input of {node.op_type} is missing")
    return values


def known_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of a value in elements, or None where it is not known or not static."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(int(size) for size in value.shape.numpy())


def static_shape(value: ir.Value) -> list[int]:
    """The shape of a value in elements.

    Raises:
        ValueError: It is not known, or not static.
    """
    shape = known_shape(value)
    if shape is None:
        raise ValueError(f"tensor '{value.name}' has no static shape")
    return list(shape)


def constant_ints(node: ir.Node, index: int) -> list[int] | None:
    """The elements of input ``index`` if it is a constant of whole numbers, or None."""
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None or value.const_value is None:
        return None
    return [int(element) for element in value.const_value.numpy().ravel()]


def standard_producer(node: ir.Node, op_type: str, index: int = 0) -> ir.Node | None:
    """The node whose output is input ``index``, if it is a standard ``op_type``."""
    value = node.inputs[index] if len(node.inputs) > index else None
    producer = value.producer() if value is not None else None
    return producer if producer is not None and producer.op_type == op_type and not producer.domain else None


def replace_node(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    """Put ``new`` in the place of ``old``; its outputs take over the names, shapes and types of those of ``old``."""
    ir.convenience.replace_nodes_and_values(graph, old, [old], [new], list(old.outputs), list(new.outputs))
