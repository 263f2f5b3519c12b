"""The lowering pass: every private op is replaced by standard nodes that carry its tag."""

from __future__ import annotations

import onnx_ir as ir

from fathom_onnx.errors import ExportError, UnknownNameError
from fathom_onnx.exporting import Purpose

from .builder import Builder
from .canonical import DOMAIN
from .rules import RULES
from .tags import Tag

__all__ = ["lower"]


def lower(model: ir.Model, purpose: Purpose) -> None:
    """Replace the private ops of ``model`` in place, by the rules for a purpose.

    Raises:
        UnknownNameError: No such purpose.
        ExportError: A private op without a rule, or one whose rule cannot take it.
    """
    if purpose not in RULES:
        raise UnknownNameError("purpose", purpose, RULES)
    rules = RULES[purpose]
    graph = model.graph
    builder = Builder(graph)
    for node in list(graph):
        if node.domain != DOMAIN:
            continue
        if node.op_type not in rules:
            raise ExportError(f"purpose '{purpose}' has no rule for {node.op_type}", f"known: {', '.join(rules)}")
        builder.begin(Tag.of(node))
        try:
            values = rules[node.op_type](builder, node)
        except (ValueError, KeyError, AssertionError) as error:
            raise ExportError(f"{node.op_type} '{node.name}' cannot be lowered: {error}") from error
        for old, new in zip(node.outputs, values, strict=True):
            new.shape, new.type = old.shape, old.type
        ir.convenience.replace_nodes_and_values(graph, node, [node], builder.nodes, list(node.outputs), values)
    model.opset_imports.pop(DOMAIN, None)
