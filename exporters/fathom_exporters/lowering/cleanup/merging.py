"""Equal nodes are merged, but not a repetition with what it repeats; identities go, but not those of two outputs."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, IdentityEliminationPass

from fathom_exporters.lowering.tags import REPEATED

__all__ = ["DropIdentities", "MergeEqualNodes"]

_BARRIER = "repeated"
"""Attribute that a repeated node has while equal nodes are looked for."""

_KEPT = "fathom.kept"
"""Domain that an identity has while others are dropped."""


class DropIdentities(ir.passes.InPlacePass):
    """No identities, but those by which one tensor is several outputs, or an input or constant is one.

    Exact. onnx_ir's pass would give a tensor that is an output already the name of another one.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        named = {output for output in model.graph.outputs if output is not None}
        kept = []
        for node in model.graph:
            source = node.inputs[0] if node.op_type == "Identity" and not node.domain else None
            if source is not None and node.outputs[0].is_graph_output():
                if source in named:
                    kept.append(node)
                named.add(source)
        for node in kept:
            node.domain = _KEPT
        result = IdentityEliminationPass()(model)
        for node in kept:
            node.domain = ""
        return ir.passes.PassResult(model, result.modified)


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
        # two outputs that are one constant are two identities
        outputs = [node for node in model.graph if node.op_type == "Identity" and node.outputs[0].is_graph_output()]
        for number, node in enumerate(outputs, start=2):
            node.attributes[_BARRIER] = ir.AttrInt64(_BARRIER, number)
        result = CommonSubexpressionEliminationPass()(model)
        for node in (*repeated, *outputs):
            node.attributes.pop(_BARRIER, None)
        return ir.passes.PassResult(model, result.modified)
