"""Costs of a graph from its shapes, without running it: MACs, FLOPs, bytes, memory, and their sums.

A :class:`~fathom_onnx.graph.Graph` comes in. What goes out: the cost of every node (:func:`graph_costs`, a
:class:`NodeCost` each, with a reason where a cost is unknown), of every layer (:func:`layer_costs`), and of the whole,
as ``fathom-onnx inspect`` shows it (:mod:`.inspection`); memory by lifetimes is in :mod:`.liveness`. The formula of
every op is in :mod:`.formulas`.
"""

from .layers import LayerCost, layer_costs
from .node_costs import NodeCost, graph_costs, node_cost

__all__ = ["LayerCost", "NodeCost", "graph_costs", "layer_costs", "node_cost"]
