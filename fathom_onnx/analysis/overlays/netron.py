"""Node times for Netron: in node names or node metadata of a copy of the graph, or in an attachment file.

Netron shows node names in the graph (option "Show Names"); of a name longer than 21 characters it shows the first and
the last ten. Share and time therefore fit in ten characters: ``9.3% 4.1ms``. The panel of a selected node shows its
name and metadata, and leads from a call to the graph of its function. The attachment is a JSON file that is opened
while the graph is shown; the graph stays unchanged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import onnx

from .overlay import NodeTime

__all__ = ["METADATA_PREFIX", "attachment", "brief", "describe_nodes", "name_nodes"]

METADATA_PREFIX = "fathom_onnx."
"""Prefix of the keys in a node's metadata."""

_METADATA_IR = 10
"""First IR version in which nodes have metadata."""


def _digits(value: float) -> str:
    """One decimal below 10, else a whole number: ``4.1``, ``41``, ``412``."""
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def brief(us: float, share: float) -> str:
    """Share and time in at most ten characters, for times below 1000 s: ``12% 4.1ms``.

    A share below 0.05% is ``0%``.
    """
    percent = "0" if share < 0.0005 else _digits(100 * share)
    for unit, size in (("us", 1.0), ("ms", 1e3)):
        if us / size < 999.5:
            return f"{percent}% {_digits(us / size)}{unit}"
    return f"{percent}% {_digits(us / 1e6)}s"


def name_nodes(model: onnx.ModelProto, times: Iterable[NodeTime]) -> None:
    """Put share and time, or the state of a node that did not run, before each node's name.

    Args:
        model: The graph; modified in place.
        times: The times of its nodes and of those in its functions, from
            :func:`~fathom_onnx.analysis.overlays.graph_times` of this model.
    """
    for time in times:
        mark = time.state if time.us is None else brief(time.us, time.share or 0.0)
        time.entry.node.name = f"{mark} {time.entry.node.name}".rstrip()


def describe_nodes(model: onnx.ModelProto, times: Iterable[NodeTime]) -> None:
    """Put ``time_us``, ``time_share``, ``time_rank`` and ``state`` into each node's metadata.

    The IR version is raised to 10, the first in which nodes have metadata.

    Args:
        model: The graph; modified in place.
        times: The times of its nodes and of those in its functions, from
            :func:`~fathom_onnx.analysis.overlays.graph_times` of this model.
    """
    model.ir_version = max(model.ir_version, _METADATA_IR)
    for time in times:
        existing = {p.key for p in time.entry.node.metadata_props}
        for key, value in _facts(time).items():
            if METADATA_PREFIX + key not in existing:
                time.entry.node.metadata_props.add(key=METADATA_PREFIX + key, value=str(value))


def _facts(time: NodeTime) -> dict[str, str | float]:
    """State of a node and, if it ran, time, share and rank."""
    facts: dict[str, str | float] = {"state": time.state}
    if time.us is not None:
        facts |= {"time_us": round(time.us, 1), "time_share": f"{time.share or 0.0:.2%}", "time_rank": time.rank or 0}
    return facts


def attachment(
    times: Sequence[NodeTime], in_functions: Sequence[NodeTime] = ()
) -> tuple[dict[str, Any], tuple[NodeTime, ...]]:
    """Netron's attachment: metrics of nodes by name.

    Args:
        times: Times of the nodes of a graph.
        in_functions: Times of the nodes of its functions.

    Returns:
        The JSON object, and the nodes of the graph that it leaves out because their name is empty or not unique: Netron
        shows metrics at every node of a name, in functions too.
    """
    count = Counter(time.entry.node.name for time in (*times, *in_functions))
    metrics, hidden = [], []
    for position, time in enumerate((*times, *in_functions)):
        name = time.entry.node.name
        if name and count[name] == 1:
            metrics += [{"kind": "node", "target": name, "name": k, "value": v} for k, v in _facts(time).items()]
        elif position < len(times):  # the time of one in a function is in that of its calls
            hidden.append(time)
    return {"signature": "netron:attachment", "metrics": metrics}, tuple(hidden)
