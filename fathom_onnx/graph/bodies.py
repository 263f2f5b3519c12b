"""The bodies of control flow: a graph is a tree of graphs, and every walk over all of its nodes is one of these.

A body is the graph in an attribute of a node: the branches of an ``If``, the body of a ``Loop`` or a ``Scan``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx

__all__ = [
    "TOP",
    "Body",
    "NumberedNode",
    "all_graphs",
    "all_nodes",
    "bodies",
    "constants_in",
    "inputs_of",
    "names_in",
    "numbered",
    "outputs_of",
]

Body = tuple[int | None, str]
"""Where nodes stand: the number of the control-flow node and the name of its attribute, as in :class:`NumberedNode`.

Names of tensors mean something in a body and in the bodies inside it; two bodies may use one name for different things.
"""

TOP: Body = (None, "")
"""The top level."""


_GRAPH = onnx.AttributeProto.GRAPH


def bodies(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The bodies of a control-flow node, by attribute name."""
    for attribute in node.attribute:
        if attribute.type == _GRAPH:
            yield attribute.name, attribute.g
        if attribute.graphs:
            yield from ((f"{attribute.name}.{position}", graph) for position, graph in enumerate(attribute.graphs))


def outputs_of(node: onnx.NodeProto) -> list[str]:
    """The outputs of a node, without the optional ones that it omits."""
    return [name for name in node.output if name]


def constants_in(graph: onnx.GraphProto) -> set[str]:
    """Names of a graph's own initializers, the sparse ones included."""
    return {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}


def names_in(graph: onnx.GraphProto) -> set[str]:
    """Names that a graph gives to tensors of its own: inputs, initializers and outputs of its nodes."""
    made = (name for node in graph.node for name in outputs_of(node))
    return {t.name for t in graph.input}.union(constants_in(graph), made)


def _captured(graph: onnx.GraphProto) -> Iterator[str]:
    """Names that a body captures from the graphs around it."""
    own = {t.name for t in graph.input} | constants_in(graph)
    for node in graph.node:
        yield from (name for name in inputs_of(node) if name not in own)
        own.update(outputs_of(node))
    yield from (o.name for o in graph.output if o.name not in own)


def inputs_of(node: onnx.NodeProto) -> list[str]:
    """The inputs of a node and what its bodies capture, each once."""
    names = [name for name in node.input if name]
    for _, body in bodies(node):
        names += _captured(body)
    return list(dict.fromkeys(names))


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all bodies in it, each before the bodies inside it."""
    yield graph
    for node in graph.node:
        for _, body in bodies(node):
            yield from all_graphs(body)


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those in their bodies; a node comes before the nodes of its bodies."""
    for node in nodes:
        yield node
        for _, body in bodies(node):
            yield from all_nodes(body.node)


@dataclass(frozen=True)
class NumberedNode:
    """A node and its number: its place in a walk in which a node comes before the nodes of its bodies.

    Attributes:
        index: The number.
        node: The node.
        parent: Number of the control-flow node whose body it is in, or None at the top.
        body: Name of the parent's attribute that holds the body, or ``""`` at the top.
    """

    index: int
    node: onnx.NodeProto
    parent: int | None
    body: str


def numbered(graph: onnx.GraphProto | onnx.FunctionProto) -> tuple[NumberedNode, ...]:
    """All nodes of a graph, or of a function, and of its bodies; the tuple's positions are the numbers."""
    nodes: list[NumberedNode] = []

    def walk(part: onnx.GraphProto | onnx.FunctionProto, parent: int | None, body: str) -> None:
        for node in part.node:
            index = len(nodes)
            nodes.append(NumberedNode(index, node, parent, body))
            for name, inner in bodies(node):
                walk(inner, index, name)

    walk(graph, None, "")
    return tuple(nodes)
