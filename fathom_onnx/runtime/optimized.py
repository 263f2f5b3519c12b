"""The model as onnxruntime runs it: read back after optimization, its nodes numbered and renamed.

Optimization leaves nodes with empty and with equal names, and a trace names nodes only. So the saved model's nodes
are renamed ``k0`` to ``kN``, bodies of control flow included, and that model is run without further optimization.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from ..graph.files import write_bytes

__all__ = ["NumberedNode", "bodies", "executed_name", "load_optimized", "numbered", "write_renamed"]


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


def bodies(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The bodies of a control-flow node, by attribute name."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.name, attribute.g
        for position, graph in enumerate(attribute.graphs):
            yield f"{attribute.name}.{position}", graph


def numbered(graph: onnx.GraphProto) -> tuple[NumberedNode, ...]:
    """All nodes of a graph and of its bodies; the tuple's positions are the numbers."""
    found: list[NumberedNode] = []

    def walk(part: onnx.GraphProto, parent: int | None, body: str) -> None:
        for node in part.node:
            index = len(found)
            found.append(NumberedNode(index, node, parent, body))
            for name, inner in bodies(node):
                walk(inner, index, name)

    walk(graph, None, "")
    return tuple(found)


def executed_name(index: int) -> str:
    """The name under which node number ``index`` stands in a trace."""
    return f"k{index}"


def load_optimized(path: Path) -> onnx.ModelProto:
    """The optimized model that onnxruntime saved, without its large weights, which stay in the file beside it."""
    return onnx.load(path, load_external_data=False)


def write_renamed(model: onnx.ModelProto, path: Path) -> None:
    """Write an optimized model with its nodes renamed, in the folder it was saved in (the weights lie there)."""
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    for entry in numbered(renamed.graph):
        entry.node.name = executed_name(entry.index)
    write_bytes(path, renamed.SerializeToString())
