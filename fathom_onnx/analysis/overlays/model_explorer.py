"""Node times for Google's Model Explorer: a file of custom node data, by graph and node.

The format is that of ``GraphNodeData`` in Model Explorer's ``node_data_builder``. Keys are the node ids of its ONNX
adapter (package model-explorer-onnx): a node's name; ``name_1`` and so on for further nodes of that name in a graph;
``node``, ``node_1``, ... for nodes without a name. The body of a loop is a graph of its own, ``<node>/<body>``; the
branches of an If belong to the graph around it, with nodes ``<node>/<branch>/<name>``. A function is a graph of its own
too, ``[function]<domain>::<name>``, which its calls lead to. The adapter does not show a loop within a loop, nor any
body in a function.
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
"""Colours from the shortest to the longest time; few nodes take most of the time, so the low end changes faster."""


class NodeId(NamedTuple):
    """The graph and the id under which Model Explorer shows a node."""

    graph: str
    node: str


def _unique(name: str, used: set[str], count: Counter[str]) -> str:
    """The name, or the name with a number if it is used."""
    unique = name
    while unique in used:
        count[name] += 1
        unique = f"{name}_{count[name]}"
    used.add(unique)
    return unique


def node_ids(part: onnx.ModelProto | onnx.FunctionProto, times: Sequence[NodeTime]) -> tuple[NodeId | None, ...]:
    """The graph and the id of each node in Model Explorer; None for a node that it does not show.

    Args:
        part: The graph, or a function of it.
        times: Its nodes, in the order of :func:`~fathom_onnx.analysis.overlays.graph_times`.
    """
    function = isinstance(part, onnx.FunctionProto)
    graph = _function_graph(part) if isinstance(part, onnx.FunctionProto) else part.graph.name
    used: defaultdict[tuple[int | None, str], set[str]] = defaultdict(set)
    count: Counter[str] = Counter()
    ids: list[NodeId | None] = []
    for time in times:
        entry = time.entry
        name = _unique(entry.node.name or "node", used[entry.parent, entry.body], count)
        if entry.parent is None:
            ids.append(NodeId(graph, name))
            continue
        around = ids[entry.parent]
        parent = times[entry.parent].entry.node
        if around is None or function:
            ids.append(None)
        elif parent.op_type == "If" and not parent.domain:
            ids.append(NodeId(around.graph, f"{around.node}/{entry.body}/{name}"))
        else:
            ids.append(NodeId(f"{around.node}/{entry.body}", name) if around.graph == graph else None)
    return tuple(ids)


def node_data(
    model: onnx.ModelProto, times: Sequence[NodeTime], functions: Sequence[Sequence[NodeTime]] = ()
) -> tuple[dict[str, Any], tuple[NodeTime, ...]]:
    """The custom node data for Model Explorer: microseconds by node.

    Args:
        model: The graph.
        times: Its nodes' times, from :func:`~fathom_onnx.analysis.overlays.graph_times`.
        functions: Those of the nodes of each of its functions.

    Returns:
        The JSON object, and the nodes of the graph that ran but are not shown. Nodes that did not run have no value.
    """
    results: defaultdict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    hidden = []
    for time, node_id in zip(times, node_ids(model, times), strict=True):
        if time.us is not None and node_id is None:
            hidden.append(time)
    for part, part_times in [(model, times), *zip(model.functions, functions, strict=False)]:
        for time, node_id in zip(part_times, node_ids(part, part_times), strict=True):
            if time.us is not None and node_id is not None:
                results[node_id.graph][node_id.node] = {"value": round(time.us, 3)}
    graphs = {
        graph: {"name": "time (us)", "results": values, "gradient": list(GRADIENT)} for graph, values in results.items()
    }
    return graphs, tuple(hidden)


def _function_graph(function: onnx.FunctionProto) -> str:
    """The graph that Model Explorer makes of a function."""
    parts = [function.domain, function.name, *([function.overload] if function.overload else [])]
    return "[function]" + "::".join(parts)
