"""Places of nodes that no scope of JAX names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.values import known_shape

from .emit import NOWHERE

__all__ = ["SHARED", "place_by_neighbours", "place_sums", "place_updates"]

SHARED = "step"
"""The scope of operations that all parameters share."""


def _tag(node: ir.Node) -> Tag:
    tag = Tag.of(node)
    assert tag is not None
    return tag


def _put(node: ir.Node, phase: str, scope: str) -> None:
    tag = _tag(node)
    Tag(phase, scope, tag.op, tag.origin).put(node)


def place_updates(graph: ir.Graph, owners: Mapping[ir.Value, str]) -> None:
    """Give every node of the optimizer its parameter: the one that what it reads belongs to.

    optax updates all parameters at once. What is computed from one parameter, its gradient or its state is of that
    parameter; what several flow into, as into a norm of all gradients, or none, as the count of steps, is shared, and
    so is what only that reads.

    Args:
        graph: The graph.
        owners: Parameters, state and gradients to the parameter that they belong to.
    """
    of_value = dict(owners)
    nodes = [node for node in graph if _tag(node).phase == "optimizer"]
    for node in nodes:
        found = {of_value[value] for value in node.inputs if value is not None and value in of_value}
        if len(found) == 1:
            (owner,) = found
            of_value.update(dict.fromkeys(node.outputs, owner))
            _put(node, "optimizer", owner)
        else:
            _put(node, "optimizer", SHARED)
    drawn = _of_nothing(nodes)
    for node in reversed(nodes):
        users = {_tag(user).scope for output in node.outputs for user, _ in output.uses()}
        if users == {SHARED} and not any(output.is_graph_output() for output in node.outputs):
            _put(node, "optimizer", SHARED)
        elif node in drawn and len(users) == 1:
            _put(node, "optimizer", users.pop())


def _of_nothing(nodes: Sequence[ir.Node]) -> set[ir.Node]:
    """The nodes that depend on no input of the graph: random numbers, and what is made of them alone."""
    found: set[ir.Node] = set()
    for node in nodes:
        inputs = [value for value in node.inputs if value is not None and value.const_value is None]
        if all(value.producer() in found for value in inputs):
            found.add(node)
    return found


def place_sums(graph: ir.Graph, sums: Sequence[ir.Node]) -> None:
    """Give sums of gradients the layer of the value that they are the gradients of, where it is found.

    It is a value of the same shape that has been read by each layer at least as often as a summand comes from it.
    Where all summands come from one layer, it is rather one of its own values.
    """
    layers: dict[ir.Node, Counter[str]] = {}
    # by shape and by a layer that reads it: what made a value, and how often each layer reads it
    read: dict[tuple[tuple[int, ...] | None, str], list[tuple[ir.Node, Counter[str]]]] = defaultdict(list)
    for node in graph:
        if _tag(node).phase in ("forward", "loss"):
            for output in node.outputs:
                tags = [_tag(user) for user, _ in output.uses()]
                scopes = Counter(tag.scope for tag in tags if tag.phase in ("forward", "loss"))
                for scope in scopes:
                    read[known_shape(output), scope].append((node, scopes))
    for node in sums:
        summands = [producer for value in node.inputs if value is not None and (producer := value.producer())]
        from_layers: Counter[str] = Counter()
        for summand in summands:
            from_layers.update(layers.get(summand, Counter({_tag(summand).scope: 1})))
        layers[node] = from_layers
        if not from_layers:  # of inputs of the graph alone
            continue
        shape, some_layer = known_shape(node.outputs[0]), next(iter(from_layers))
        found = {
            _tag(producer).scope
            for producer, scopes in read[shape, some_layer]
            if all(scopes[layer] >= times for layer, times in from_layers.items())
        }
        inside = found & set(from_layers) if len(from_layers) == 1 else set()
        if len(inside or found) == 1:
            _put(node, "backward", (inside or found).pop())


def place_by_neighbours(graph: ir.Graph) -> None:
    """Give every other node without a place that of the first that reads it, or else of one that it reads.

    JAX takes out of loops what does not change in them, without its scope; what is between layers has none; and a sum
    of gradients belongs to the layer whose output they are the gradients of, which reads it.
    """
    for nodes, backwards in ((list(graph)[::-1], True), (list(graph), False)):
        for node in nodes:
            tag = _tag(node)
            if NOWHERE not in (tag.phase, tag.scope):
                continue
            near = (
                [user for output in node.outputs for user, _ in output.uses()]
                if backwards
                else [producer for value in node.inputs if value is not None and (producer := value.producer())]
            )
            placed = [found for other in near if NOWHERE not in ((found := _tag(other)).phase, found.scope)]
            same = [found for found in placed if found.phase == tag.phase]
            usable = placed if tag.phase == NOWHERE else same
            if usable:
                _put(node, usable[0].phase, usable[0].scope)
