"""Equal nodes are merged, but not a repetition with what it repeats."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass

from fathom_exporters.lowering.tags import REPEATED

__all__ = ["MergeEqualNodes"]

_BARRIER = "repeated"
"""Attribute that a repeated node has while equal nodes are looked for."""


class MergeEqualNodes(ir.passes.InPlacePass):
    """One node for several of the same op, inputs and attributes.

    Exact: all of these ops are functions. Gradient checkpointing repeats a part of the forward pass on purpose; its
    nodes are merged among themselves alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        repeated = [node for node in model.graph if REPEATED in node.metadata_props]
        for node in repeated:
            node.attributes[_BARRIER] = ir.AttrInt64(_BARRIER, 1)
        result = CommonSubexpressionEliminationPass()(model)
        for node in repeated:
            node.attributes.pop(_BARRIER, None)
        return ir.passes.PassResult(model, result.modified)
