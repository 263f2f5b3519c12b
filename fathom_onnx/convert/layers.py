"""The layers of a graph: its nodes with multiply-accumulates, as matrix products and where possible as loop nests.

This is the one place that says what a format of layers keeps of a graph, and why the rest is left out. A node is kept
where its products are known and have exactly the multiply-accumulates that the cost model counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from fathom_onnx.analysis.cost.call import Call
from fathom_onnx.analysis.cost.node_costs import NodeCost
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import TOP, bodies
from fathom_onnx.graph.static.known import known_by_body
from fathom_onnx.graph.static.values import opset_of

from .account import costs_of
from .contractions import Contraction, loop_nest
from .matrix_products import MatrixProduct, products

__all__ = ["Layer", "layers", "no_layers"]


@dataclass(frozen=True)
class Layer:
    """A node with multiply-accumulates.

    Attributes:
        index: Index of the node among those of the top level.
        name: Its name, or its op type and index.
        node: The node.
        products: Its matrix products; together they have its multiply-accumulates.
        nest: The node as one loop nest, with its own tensors, where it is one.
    """

    index: int
    name: str
    node: onnx.NodeProto
    products: tuple[MatrixProduct, ...]
    nest: Contraction | None

    @property
    def convolution(self) -> Contraction | None:
        """The loop nest of a convolution, transposed or not; None for anything else."""
        return self.nest if self.nest is not None and self.nest.spatial else None


def layers(graph: Graph) -> tuple[tuple[Layer, ...], dict[int, str]]:
    """The layers of a graph's top level in order; index of each other node, to the reason why it is left out."""
    tensors, values = graph.tensors, known_by_body(graph.model.graph, opset_of(graph.model))[TOP].values
    kept: list[Layer] = []
    left_out: dict[int, str] = {}
    for index, (node, cost) in enumerate(zip(graph.model.graph.node, costs_of(graph), strict=True)):
        parts = products(node, tensors, values) if cost.macs else None
        if parts is None or sum(part.macs for part in parts) != cost.macs:
            left_out[index] = _reason(node, cost)
            continue
        name = node.name or f"{node.op_type}_{index}"
        nest = loop_nest(Call(node, tensors, values), index, name)
        kept.append(Layer(index, name, node, parts, nest if nest and nest.macs == cost.macs else None))
    return tuple(kept), left_out


def _reason(node: onnx.NodeProto, cost: NodeCost) -> str:
    if cost.macs == 0:
        return "no multiply-accumulates"
    if any(True for _ in bodies(node)):
        return "what its bodies do is not written"
    if cost.macs is None:
        return f"its multiply-accumulates are not known: {cost.reason}" if cost.reason else "cost is not known"
    return cost.reason or "no form as matrix products"


def no_layers(graph: Graph) -> GraphError:
    """The error for a graph without any layer."""
    return GraphError(
        f"graph '{graph.name}' has no convolution or matrix product of known shape", "give a graph with at least one"
    )
