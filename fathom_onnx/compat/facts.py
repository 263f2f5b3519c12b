"""What rules need to know of a graph: its loaded form, the content of its file, and what our converters make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import onnx

from fathom_onnx.analysis.cost.node_costs import NodeCost
from fathom_onnx.convert import Conversion, find_converter
from fathom_onnx.convert.account import costs_of
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.graph.bodies import all_nodes

__all__ = ["ConsumerRule", "Facts", "Violation"]


@dataclass(frozen=True)
class Violation:
    """Something in a graph that a consumer does not accept.

    Attributes:
        reason: What it is; equal reasons are reported once, with the number of nodes.
        node: Index of the node, or None for a property of the whole graph.
        fix: The command that gives the graph without it, or empty.
        tried: Whether the consumer was seen to refuse it; False where nobody knows.
    """

    reason: str
    node: int | None = None
    fix: str = ""
    tried: bool = True


class Facts:
    """A graph, as rules see it.

    Args:
        graph: The graph, checked, with shapes inferred where the file has none.
        stored: The model as it is in the file, or as it would be with the sizes that are asked about.
    """

    def __init__(self, graph: Graph, stored: onnx.ModelProto) -> None:
        self.graph = graph
        self.stored = stored
        self._conversions: dict[str, Conversion] = {}

    @cached_property
    def nodes(self) -> list[onnx.NodeProto]:
        """The nodes of the top level."""
        return list(self.graph.model.graph.node)

    @cached_property
    def costs(self) -> list[NodeCost]:
        """The cost of each node."""
        return costs_of(self.graph)

    @cached_property
    def typed(self) -> frozenset[str]:
        """Tensors whose type and shape are in the file itself."""
        graph = self.stored.graph
        infos = [*graph.value_info, *graph.input, *graph.output]
        known = {i.name for i in infos if i.type.tensor_type.HasField("shape")}
        return frozenset(known | {t.name for t in graph.initializer})

    @cached_property
    def produced(self) -> frozenset[str]:
        """Outputs of nodes."""
        return frozenset(name for node in self.nodes for name in node.output if name)

    def of(self, *ops: str) -> Iterator[tuple[int, onnx.NodeProto]]:
        """The nodes of some op types of the default domain, with their indices."""
        for index, node in enumerate(self.nodes):
            if node.op_type in ops and node.domain in ("", "ai.onnx"):
                yield index, node

    def everywhere(self) -> Iterator[tuple[int, onnx.NodeProto]]:
        """Every node, those in bodies included, with the index of the node of the top level that it is in."""
        for index, top in enumerate(self.nodes):
            for node in all_nodes([top]):
                yield index, node

    def rank(self, name: str) -> int | None:
        """The rank of a tensor, or None where it is unknown."""
        shape = self.shape(name)
        return None if shape is None else len(shape)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor, or None where it is unknown."""
        tensor = self.graph.tensors.get(name)
        return tensor.shape if tensor else None

    def conversion(self, format_name: str) -> Conversion:
        """What ``convert`` makes of the graph, with its default options, in memory.

        Raises:
            GraphError: The graph cannot be converted to this format.
        """
        if format_name not in self._conversions:
            converter = find_converter(format_name)
            self._conversions[format_name] = converter.convert(self.graph, converter.request(self.graph.name, {}))
        return self._conversions[format_name]

    @cached_property
    def contractions_alone(self) -> Facts:
        """The facts of the graph that ``convert --to compute-only`` writes.

        Raises:
            GraphError: It cannot be converted.
        """
        content = self.conversion("compute-only").files[".onnx"]
        if not isinstance(content, bytes):
            raise TypeError("a graph is written as bytes")
        model = onnx.load_from_string(content)
        return Facts(from_model(model, self.graph.name), model)


ConsumerRule = Callable[[Facts], Iterator[Violation]]
"""From the facts of a graph to its violations of a requirement."""
