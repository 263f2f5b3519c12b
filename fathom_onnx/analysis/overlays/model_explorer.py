"""Times for Google's Model Explorer: a file of custom node data, graph by graph and node by node.

The form is that of ``GraphNodeData`` in Model Explorer's ``node_data_builder``; keys are the node ids that its ONNX
adapter (the package model-explorer-onnx) makes: a node's name; ``name_1`` and on where several nodes of a graph have
one, and ``node``, ``node_1``, ... for nodes without. The body of a loop is a graph of its own, ``<node>/<body>``; the
branches of an If are within the graph around it, their nodes ``<node>/<branch>/<name>``. A loop within a loop is not
shown by the adapter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import onnx

from .overlay import NodeTime

__all__ = ["GRADIENT", "NodeId", "node_data", "node_ids"]

GRADIENT = (
    {"stop": 0.0, "bgColor": "#ffffff", "textColor": "#000000"},
    {"stop": 0.1, "bgColor": "#ffeda0", "textColor": "#000000"},
    {"stop": 0.4, "bgColor": "#feb24c", "textColor": "#000000"},
    {"stop": 1.0, "bgColor": "#bd0026", "textColor": "#ffffff"},
)
"""Colours from the shortest to the longest time; a few nodes have most of it, so that the low end changes faster."""


class NodeId(NamedTuple):
    """Where Model Explorer shows a node."""

    graph: str
    node: str


def _unique(name: str, used: set[str], count: Counter[str]) -> str:
    found = name
    while found in used:
        count[name] += 1
        found = f"{name}_{count[name]}"
    used.add(found)
    return found


def node_ids(model: onnx.ModelProto, times: Sequence[NodeTime]) -> tuple[NodeId | None, ...]:
    """The graph and the id of each node in Model Explorer; None for a node that it does not show.

    Args:
        model: The graph.
        times: Its nodes, in the order of :func:`~.overlays.node_times`.
    """
    main = model.graph.name
    used: defaultdict[tuple[int | None, str], set[str]] = defaultdict(set)
    count: Counter[str] = Counter()
    found: list[NodeId | None] = []
    for time in times:
        entry = time.entry
        name = _unique(entry.node.name or "node", used[entry.parent, entry.body], count)
        if entry.parent is None:
            found.append(NodeId(main, name))
            continue
        around = found[entry.parent]
        parent = times[entry.parent].entry.node
        if around is None:
            found.append(None)
        elif parent.op_type == "If" and not parent.domain:
            found.append(NodeId(around.graph, f"{around.node}/{entry.body}/{name}"))
        else:
            found.append(NodeId(f"{around.node}/{entry.body}", name) if around.graph == main else None)
    return tuple(found)


def node_data(model: onnx.ModelProto, times: Sequence[NodeTime]) -> tuple[dict[str, Any], tuple[NodeTime, ...]]:
    """Model Explorer's custom node data: microseconds by node.

    Args:
        model: The graph.
        times: Its nodes' times, from :func:`~.overlays.node_times`.

    Returns:
        The JSON object, and the nodes that ran and are not shown. Nodes that did not run have no value.
    """
    results: defaultdict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    hidden = []
    for time, place in zip(times, node_ids(model, times), strict=True):
        if time.us is None:
            continue
        if place is None:
            hidden.append(time)
        else:
            results[place.graph][place.node] = {"value": round(time.us, 3)}
    graphs = {
        graph: {"name": "time (us)", "results": values, "gradient": list(GRADIENT)} for graph, values in results.items()
    }
    return graphs, tuple(hidden)
