"""Times for Netron: in the names of a copy's nodes, in their metadata, or in a file that Netron lays over the graph.

Netron shows a node's name in the graph (with its option "Show Names") as its first and last ten characters where it is
longer than 21, so that share and time fit in ten: ``9.3% 4.1ms``. Name and metadata are in the panel of a chosen node.
The attachment is a JSON file that is opened while the graph is shown; it leaves the graph as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import onnx

from .overlay import NodeTime

__all__ = ["METADATA_PREFIX", "attachment", "brief", "describe_nodes", "name_nodes"]

METADATA_PREFIX = "fathom_onnx."
"""Of the keys in a node's metadata."""

_METADATA_IR = 10
"""IR version in which nodes got metadata."""


def _digits(value: float) -> str:
    """Two digits where that leaves a point, else a whole number: ``4.1``, ``41``, ``412``."""
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def brief(us: float, share: float) -> str:
    """Share and time in at most ten characters, for times below 1000 s.

    ``12% 4.1ms``; a share below 0.05% is ``0%``.
    """
    percent = "0" if share < 0.0005 else _digits(100 * share)
    for unit, size in (("us", 1.0), ("ms", 1e3)):
        if us / size < 999.5:
            return f"{percent}% {_digits(us / size)}{unit}"
    return f"{percent}% {_digits(us / 1e6)}s"


def name_nodes(model: onnx.ModelProto, times: Sequence[NodeTime]) -> None:
    """Put share and time, or what became of the node, before each node's name.

    Args:
        model: The graph; changed.
        times: Its nodes' times, from :func:`~.overlays.node_times` of this model.
    """
    for time in times:
        mark = time.state if time.us is None else brief(time.us, time.share or 0.0)
        time.entry.node.name = f"{mark} {time.entry.node.name}".rstrip()


def describe_nodes(model: onnx.ModelProto, times: Sequence[NodeTime]) -> None:
    """Put ``time_us``, ``time_share``, ``time_rank`` and ``state`` into each node's metadata.

    The IR version is raised to 10, the first in which a node may have metadata.

    Args:
        model: The graph; changed.
        times: Its nodes' times, from :func:`~.overlays.node_times` of this model.
    """
    model.ir_version = max(model.ir_version, _METADATA_IR)
    for time in times:
        held = {p.key for p in time.entry.node.metadata_props}
        for key, value in _facts(time).items():
            if METADATA_PREFIX + key not in held:
                time.entry.node.metadata_props.add(key=METADATA_PREFIX + key, value=str(value))


def _facts(time: NodeTime) -> dict[str, str | float]:
    facts: dict[str, str | float] = {"state": time.state}
    if time.us is not None:
        facts |= {"time_us": round(time.us, 1), "time_share": f"{time.share or 0.0:.2%}", "time_rank": time.rank or 0}
    return facts


def attachment(times: Sequence[NodeTime]) -> tuple[dict[str, Any], tuple[NodeTime, ...]]:
    """Netron's attachment: metrics of nodes by name.

    Args:
        times: Times of the nodes of a graph.

    Returns:
        The JSON object, and the nodes that it cannot tell of, because their name is empty or another's too.
    """
    count = Counter(time.entry.node.name for time in times)
    metrics, hidden = [], []
    for time in times:
        name = time.entry.node.name
        if not name or count[name] > 1:
            hidden.append(time)
            continue
        metrics += [{"kind": "node", "target": name, "name": k, "value": v} for k, v in _facts(time).items()]
    return {"signature": "netron:attachment", "metrics": metrics}, tuple(hidden)
