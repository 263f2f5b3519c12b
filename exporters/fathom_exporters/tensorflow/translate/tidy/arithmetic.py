"""Arithmetic that the network does not have: with 0 and 1, and the separate addition of a bias."""

from __future__ import annotations

import onnx_ir as ir

from fathom_exporters.lowering.values import known_shape

from .constants import repeated_number

__all__ = ["DropNeutralArithmetic", "FuseBiases"]

_NEUTRAL: dict[str, tuple[float, tuple[int, ...]]] = {
    "Add": (0.0, (0, 1)),
    "Sub": (0.0, (1,)),
    "Mul": (1.0, (0, 1)),
    "Div": (1.0, (1,)),
}
"""Op to its neutral number and the inputs at which it is neutral."""


def _neutral_result(node: ir.Node) -> ir.Value | None:
    """The input that a node's result is equal to, if its other input is the neutral number."""
    if node.domain or node.op_type not in _NEUTRAL or node.outputs[0].is_graph_output():
        return None
    neutral, indices = _NEUTRAL[node.op_type]
    for index in indices:
        kept = node.inputs[1 - index]
        number = repeated_number(node.inputs[index])
        if number is not None and number == neutral and kept is not None and kept.shape == node.outputs[0].shape:
            return kept
    return None


class DropNeutralArithmetic(ir.passes.InPlacePass):
    """``x + 0``, ``x - 0``, ``x * 1`` and ``x / 1`` are x.

    Exact, since the numbers are exactly 0 and 1: 1e-8 is not 0.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        modified = False
        for node in list(model.graph):
            kept = _neutral_result(node)
            if kept is not None:
                ir.convenience.replace_all_uses_with(node.outputs[0], kept)
                model.graph.remove(node, safe=True)
                modified = True
        return ir.passes.PassResult(model, modified)


def _bias(value: ir.Value | None, channels: int) -> ir.Value | None:
    """The graph input [channels] that ``value`` is, as it is or reshaped."""
    producer = value.producer() if value is not None else None
    while producer is not None and producer.op_type == "Reshape" and not producer.domain:
        value = producer.inputs[0]
        producer = value.producer() if value is not None else None
    return value if value is not None and value.is_graph_input() and known_shape(value) == (channels,) else None


def _fused(node: ir.Node) -> tuple[ir.Node, ir.Node] | None:
    """For an Add of a bias to the result of a Gemm or Conv: that node, and the node that does both."""
    if node.op_type != "Add" or node.domain:
        return None
    result, added = node.inputs
    product = result.producer() if result is not None else None
    shape = known_shape(result)
    if product is None or product.op_type not in ("Gemm", "Conv") or len(product.inputs) != 2 or product.domain:
        return None
    if shape is None or len(list(product.outputs[0].uses())) != 1:
        return None
    bias = _bias(added, shape[1])
    along = (shape[1], *[1] * (len(shape) - 2))  # the channels are the second axis
    if bias is None or known_shape(added) not in (along, (1, *along)):
        return None
    properties = dict(product.metadata_props)
    return product, ir.node(product.op_type, [*product.inputs, bias], product.attributes, metadata_props=properties)


class FuseBiases(ir.passes.InPlacePass):
    """A Gemm or Conv adds the bias, a graph input, that is added to its result.

    Exact: the ops' third input is defined as that addition. A result that something else reads too stays as it is.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        modified = False
        for node in list(model.graph):
            nodes = _fused(node)
            if nodes is not None:
                product, fused = nodes
                ir.convenience.replace_nodes_and_values(
                    model.graph, node, [product, node], [fused], [node.outputs[0]], [fused.outputs[0]]
                )
                modified = True
        return ir.passes.PassResult(model, modified)
