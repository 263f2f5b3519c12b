"""Forward convolutions of a training step in the form that their gradients have."""

from __future__ import annotations

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.canonical import DOMAIN
from fathom_exporters.lowering.gradients import fast_convolution
from fathom_exporters.lowering.tags import Tag
from fathom_exporters.lowering.values import known_shape

__all__ = ["WriteForwardConvolutions"]


class WriteForwardConvolutions(ir.passes.InPlacePass):
    """A Conv whose filter has a gradient is written as the rule for onnxruntime writes that, if not directly.

    In inference weights are constant: there onnxruntime's blocked kernel is the fastest, and this pass changes nothing.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        graph = model.graph
        builder = Builder(graph, "forward")
        fast_convolution.mark(graph)
        modified = False
        for node in list(graph):
            if node.op_type != "Conv" or node.domain or not _has_filter_gradient(node):
                continue
            builder.begin(Tag.of(node))
            values = fast_convolution.forward(builder, node)
            if values is None:
                continue
            values[0].shape, values[0].type = node.outputs[0].shape, node.outputs[0].type
            ir.convenience.replace_nodes_and_values(graph, node, [node], builder.nodes, list(node.outputs), values)
            modified = True
        return ir.passes.PassResult(model, modified)


def _has_filter_gradient(node: ir.Node) -> bool:
    """Whether the graph has a gradient for a filter of this shape over the same input."""
    x, w = node.inputs[:2]
    users = x.uses() if x is not None else ()
    gradients = [user for user, i in users if user.op_type == "Conv2DBackFilter" and user.domain == DOMAIN and i == 1]
    return any(known_shape(gradient.outputs[0]) == known_shape(w) for gradient in gradients)
