"""Standard ops in a form that onnxruntime's CPU kernels run faster, of which gradients share a part."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.canonical import DOMAIN
from fathom_exporters.lowering.gradients.fast import convolution, local_response, pointwise
from fathom_exporters.lowering.tags import Tag
from fathom_exporters.lowering.values import known_shape

__all__ = ["WriteStandardOps"]


class WriteStandardOps(ir.passes.InPlacePass):
    """A standard op is written in the form that the rules for onnxruntime have for it, if they have one.

    A Conv is so only where its filter has a gradient. In inference weights are constant: there onnxruntime's blocked
    kernel is the fastest.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        graph = model.graph
        builder = Builder(graph, "standard")
        convolution.mark(graph)
        modified = False
        for node in list(graph):
            form = _FORMS.get(node.op_type) if not node.domain else None
            if form is None:
                continue
            builder.begin(Tag.of(node))
            values = form(builder, node)
            if values is None:
                continue
            builder.replace(node, *values)
            modified = True
        return ir.passes.PassResult(model, modified)


def _convolution(b: Builder, node: ir.Node) -> list[ir.Value] | None:
    return convolution.forward(b, node) if _has_filter_gradient(node) else None


def _has_filter_gradient(node: ir.Node) -> bool:
    """Whether the graph has a gradient for a filter of this shape over the same input."""
    x, w = node.inputs[:2]
    users = x.uses() if x is not None else ()
    gradients = [user for user, i in users if user.op_type == "Conv2DBackFilter" and user.domain == DOMAIN and i == 1]
    return any(known_shape(gradient.outputs[0]) == known_shape(w) for gradient in gradients)


_FORMS: dict[str, Callable[[Builder, ir.Node], list[ir.Value] | None]] = {
    "Conv": _convolution,
    "LRN": local_response.lrn,
    "Pow": pointwise.power,
    "Softplus": pointwise.softplus,
}
"""Op to what builds the nodes that replace it and returns the values that replace its outputs, or None."""
