"""The lowering pass: every private op is replaced by standard nodes that have its tag."""

from __future__ import annotations

import onnx_ir as ir

from fathom_onnx.errors import ExportError, UnknownNameError
from fathom_onnx.exporting import Purpose

from .builder import Builder
from .canonical import DOMAIN
from .rules import RULES
from .tags import Tag

__all__ = ["LowerGradients"]


class LowerGradients(ir.passes.InPlacePass):
    """Replace the canonical gradient ops by standard ones, by the rules for a purpose.

    What each rule computes, and that it is the gradient, is in the rules' modules
    (:mod:`fathom_exporters.lowering.gradients`).

    Raises:
        UnknownNameError: No such purpose.
    """

    def __init__(self, purpose: Purpose) -> None:
        if purpose not in RULES:
            raise UnknownNameError("purpose", purpose, RULES)
        self._purpose = purpose

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``.

        Raises:
            ExportError: A private op has no rule, or a rule cannot be applied.
        """
        graph = model.graph
        builder = Builder(graph)
        private = [node for node in graph if node.domain == DOMAIN]
        for node in private:
            builder.replace(node, *self._lowered(builder, node))
        model.opset_imports.pop(DOMAIN, None)
        return ir.passes.PassResult(model, bool(private))

    def _lowered(self, builder: Builder, node: ir.Node) -> list[ir.Value]:
        """The values that replace a node's outputs; their nodes are the builder's."""
        rules = RULES[self._purpose]
        if node.op_type not in rules:
            raise ExportError(f"purpose '{self._purpose}' has no rule for {node.op_type}", f"known: {', '.join(rules)}")
        builder.begin(Tag.of(node))
        try:
            return rules[node.op_type](builder, node)
        except (ValueError, KeyError, AssertionError) as error:
            raise ExportError(f"{node.op_type} '{node.name}' cannot be lowered: {error}") from error
