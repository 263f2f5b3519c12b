"""Nodes in order: each after the nodes whose outputs it takes. Some converters write others; onnxruntime sorts them."""

from __future__ import annotations

import onnx

from fathom_onnx.graph.bodies import bodies, inputs_of, outputs_of

__all__ = ["put_in_order"]


def put_in_order(model: onnx.ModelProto) -> None:
    """Sort the nodes of a model, of its bodies and its functions, in place; nodes that are in order keep their places.

    Nodes in a circle stay as they are: they are no order's fault.
    """
    _sort(model.graph)
    for function in model.functions:
        _sort(function)


def _sort(part: onnx.GraphProto | onnx.FunctionProto) -> None:
    for node in part.node:
        for _, body in bodies(node):
            _sort(body)
    producer = {name: index for index, node in enumerate(part.node) for name in outputs_of(node)}
    needs = {
        index: [producer[name] for name in inputs_of(node) if name in producer] for index, node in enumerate(part.node)
    }
    if all(before < index for index, needed in needs.items() for before in needed):
        return
    import networkx as nx

    flow = nx.DiGraph()
    flow.add_nodes_from(needs)
    flow.add_edges_from((before, index) for index, needed in needs.items() for before in needed)
    if not nx.is_directed_acyclic_graph(flow):
        return
    nodes = [part.node[index] for index in nx.lexicographical_topological_sort(flow)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del part.node[:]
    part.node.extend(copies)
