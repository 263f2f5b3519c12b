"""The layers of one of our graphs: output shape and cost of each, without running it."""

from __future__ import annotations

from dataclasses import dataclass

from fathom_onnx.graph import Graph

from .node_costs import graph_costs

__all__ = ["LayerCost", "layer_costs"]


@dataclass(frozen=True)
class LayerCost:
    """A layer of the forward pass.

    Attributes:
        shape: Shape of what its last node gives.
        macs: Multiply-accumulates of its nodes.
        nodes: Their number.
    """

    shape: tuple[int, ...]
    macs: int
    nodes: int


def layer_costs(graph: Graph) -> dict[str, LayerCost]:
    """Layer name to its cost in the forward phase, in the graph's order."""
    layers: dict[str, LayerCost] = {}
    for node, cost in zip(graph.model.graph.node, graph_costs(graph), strict=True):
        address = graph.addresses.get(node.name)
        if address is None or address.phase != "forward":
            continue
        before = layers.get(address.layer, LayerCost((), 0, 0))
        tensor = graph.tensors.get(node.output[0])
        shape = tensor.shape if tensor and tensor.shape is not None else ()
        layers[address.layer] = LayerCost(shape, before.macs + (cost.macs or 0), before.nodes + 1)
    return layers
