"""The original nodes that the nodes of a trace are, as far as names, op types and indices tell.

A node that the optimizer left alone keeps its name, its op type and its index in the model's file. One that it made of
others often has the name of one of them, decorated, or that of the tensor it makes.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from fathom_onnx.graph import Graph, Tensor
from fathom_onnx.graph.bodies import outputs_of
from fathom_onnx.graph.dimensions import open_dimensions
from fathom_onnx.runtime.traces.foreign import TracedNode

from .origins import DECORATIONS

__all__ = ["NameMatch", "contradiction", "match_by_name", "own_name", "traced_sizes"]

_OF_TENSOR = re.compile(r"^(?P<name>.+)_nchwc(_token_\d+)?$")
"""Blocked convolutions and pools are named after the tensor that they make."""


@dataclass(frozen=True)
class NameMatch:
    """The original node that an executed one is, or was made of.

    Attributes:
        original: Number of the original node within its graph.
        kept: Whether the executed node has its op type and name: the optimizer left it, or changed its constants.
        tensor: The original tensor that the executed node makes, where its name says so; else empty.
    """

    original: int
    kept: bool
    tensor: str = ""


def _in_file(nodes: Sequence[onnx.NodeProto]) -> list[int]:
    """Index in a session to number in the graph: Constant nodes become initializers before indices are given."""
    return [number for number, node in enumerate(nodes) if node.op_type != "Constant"]


def match_by_name(nodes: Sequence[onnx.NodeProto], traced: Sequence[TracedNode]) -> dict[int, NameMatch]:
    """Match the executed nodes of one graph or body with its original nodes.

    Args:
        nodes: The original nodes.
        traced: The executed nodes.

    Returns:
        Place in ``traced`` to match, for those that have one.
    """
    places = _in_file(nodes)
    found: dict[int, NameMatch] = {}
    for place, node in enumerate(traced):
        index = node.node_index
        if index is not None and index < len(places) and _same(nodes[places[index]], node):
            found[place] = NameMatch(places[index], True)
    taken = {match.original for match in found.values()}
    _by_own_name(nodes, traced, found, taken)
    _by_decorated_name(nodes, traced, found)
    _by_order(nodes, traced, found, taken)
    return found


def _same(original: onnx.NodeProto, node: TracedNode) -> bool:
    return original.op_type == node.op_type and original.name in (node.name, own_name(node))


def own_name(node: TracedNode) -> str:
    """A node's name in its model: onnxruntime traces one without a name as ``<op type>_<index>``."""
    return "" if node.name == f"{node.op_type}_{node.node_index}" else node.name


def _by_own_name(
    nodes: Sequence[onnx.NodeProto], traced: Sequence[TracedNode], found: dict[int, NameMatch], taken: set[int]
) -> None:
    count = Counter(node.name for node in nodes)
    executed_count = Counter(node.name for node in traced)
    named = {node.name: number for number, node in enumerate(nodes) if node.name and count[node.name] == 1}
    for place, node in enumerate(traced):
        number = named.get(node.name)
        if place in found or number is None or number in taken or executed_count[node.name] > 1:
            continue
        found[place] = NameMatch(number, nodes[number].op_type == node.op_type)
        taken.add(number)


def _by_decorated_name(
    nodes: Sequence[onnx.NodeProto], traced: Sequence[TracedNode], found: dict[int, NameMatch]
) -> None:
    count = Counter(node.name for node in nodes)
    named = {node.name: number for number, node in enumerate(nodes) if node.name and count[node.name] == 1}
    makers = {name: number for number, node in enumerate(nodes) for name in outputs_of(node)}
    for place, node in enumerate(traced):
        if place in found or not node.name:
            continue
        tensor = _OF_TENSOR.match(node.name)
        if tensor and tensor["name"] in makers:
            found[place] = NameMatch(makers[tensor["name"]], False, tensor["name"])
            continue
        name = node.name
        while name and name not in named:
            name = next((m["name"] for m in (rule.match(name) for rule in DECORATIONS) if m), "")
        if name:
            found[place] = NameMatch(named[name], False)


def _by_order(
    nodes: Sequence[onnx.NodeProto], traced: Sequence[TracedNode], found: dict[int, NameMatch], taken: set[int]
) -> None:
    """Nodes of one name and op, as many in the graph as in the trace: the graph's order is that of execution."""
    known = Counter((n.name, n.op_type) for n in nodes)
    originals: dict[tuple[str, str], list[int]] = defaultdict(list)
    executed: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, original in enumerate(nodes):
        if number not in taken:
            originals[original.name, original.op_type].append(number)
    for place, node in enumerate(traced):
        if place not in found and (node.name, node.op_type) in known:
            executed[node.name, node.op_type].append(place)
    for key, places in executed.items():
        # with indices in the trace, what they do not fit was made by the optimizer
        told = any(traced[place].node_index is not None for place in places)
        if len(places) == len(originals[key]) and (key[0] or not told):
            found.update({p: NameMatch(number, True) for p, number in zip(places, originals[key], strict=True)})


def contradiction(
    nodes: Sequence[onnx.NodeProto],
    traced: Sequence[TracedNode],
    found: Mapping[int, NameMatch],
    tensors: Mapping[str, Tensor],
) -> str:
    """Why a trace cannot be of a graph, or an empty text.

    Indices below the number of the graph's nodes belong to nodes that the optimizer left, which have their name, op
    type and shapes. A model that was optimized before it was loaded has other indices and most of the names.

    Args:
        nodes: The original nodes at the top.
        traced: The executed nodes at the top.
        found: Their matches.
        tensors: Shapes of the original tensors, as far as they are known.
    """
    places, told, against = _in_file(nodes), 0, []
    for place, node in enumerate(traced):
        match, index = found.get(place), node.node_index
        if match is None:
            if index is not None and index < len(places):
                there = nodes[places[index]]
                against.append(
                    f"its node {index} is {node.op_type} '{node.name}', the graph's is {there.op_type} '{there.name}'"
                )
            continue
        shape = _shape(nodes[match.original], tensors) if match.kept else None
        if shape is not None and node.output_shapes and node.output_shapes[0] != shape:
            against.append(
                f"its node '{node.name or node.op_type}' makes {list(node.output_shapes[0])}, the graph's {list(shape)}"
            )
        else:
            told += 1
    return against[0] if len(against) > told else ""


def _shape(node: onnx.NodeProto, tensors: Mapping[str, Tensor]) -> tuple[int, ...] | None:
    tensor = tensors.get(node.output[0]) if node.output else None
    return tensor.shape if tensor else None


def traced_sizes(graph: Graph, traced: Sequence[TracedNode]) -> dict[str, int]:
    """Sizes of a graph's open dimensions in a trace, by label, as far as nodes that the optimizer left show them.

    Args:
        graph: The graph, its dimensions open.
        traced: The executed nodes at the top.
    """
    nodes = list(graph.model.graph.node)
    fed: dict[str, tuple[int, ...]] = {}
    for place, match in match_by_name(nodes, traced).items():
        inputs, shapes = nodes[match.original].input, traced[place].input_shapes
        # weights that were packed are missing among the shapes, so that only the first input's place is certain
        if inputs and shapes and inputs[0]:
            fed.setdefault(inputs[0], shapes[0])
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.model.graph.input}
    sizes: dict[str, int] = {}
    for label, name, axis, _ in open_dimensions(graph.model.graph):
        if name in fed and len(fed[name]) == ranks[name]:
            sizes.setdefault(label, fed[name][axis])
    return sizes
