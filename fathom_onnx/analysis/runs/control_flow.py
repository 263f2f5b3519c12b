"""Control flow in a run: what a Loop, Scan or If takes alone and with its bodies, and how often its body ran.

Everywhere else a node's time is exclusive, so that sums count each microsecond once. Inclusive time is for reading:
it counts the time of inner nodes again, and must not be added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.graph.bodies import NumberedNode, bodies
from fathom_onnx.graph.labels import label_nodes
from fathom_onnx.runtime.optimized import executed_name
from fathom_onnx.runtime.traces.trace import StepTimes

__all__ = ["ControlTime", "control_facts", "control_times"]


@dataclass(frozen=True)
class ControlTime:
    """One control-flow node of the optimized model.

    Attributes:
        executed: Its number.
        depth: Control-flow nodes around it.
        exclusive_us: Time of the node without its bodies' nodes.
        inclusive_us: Its own time and that of all nodes inside.
        calls: How often it ran in a step.
        iterations: Body name to how often that body ran in a step, over all calls; 0 for a branch not taken.
    """

    executed: int
    depth: int
    exclusive_us: float
    inclusive_us: float
    calls: float
    iterations: Mapping[str, float]


def control_times(
    attribution: Attribution, exclusive_us: Mapping[int, float], calls: Mapping[int, float]
) -> tuple[ControlTime, ...]:
    """The control-flow nodes that ran, in the order of the model.

    Args:
        attribution: The attribution.
        exclusive_us: Number of an executed node to its exclusive time in a step; 0 for what did not run.
        calls: Number of an executed node to its executions in a step.

    A body ran as often as its most-run node did: every node of a body runs once an iteration, but for those inside
    further control flow. A body without nodes (all of it folded) leaves no trace and is not listed.
    """
    nodes = attribution.executed
    inclusive = {entry.index: exclusive_us.get(entry.index, 0.0) for entry in nodes}
    runs: dict[tuple[int, str], float] = {}
    for entry in reversed(nodes):  # a node comes before the nodes of its bodies
        if entry.parent is not None:
            inclusive[entry.parent] += inclusive[entry.index]
            place = entry.parent, entry.body
            runs[place] = max(runs.get(place, 0.0), calls.get(entry.index, 0.0))
    found = []
    for entry in nodes:
        inside = [name for name, _ in bodies(entry.node)]
        if inside and calls.get(entry.index):
            found.append(
                ControlTime(
                    entry.index,
                    _depth(nodes, entry),
                    exclusive_us.get(entry.index, 0.0),
                    inclusive[entry.index],
                    calls[entry.index],
                    {name: runs[entry.index, name] for name in inside if (entry.index, name) in runs},
                )
            )
    return tuple(found)


def control_facts(attribution: Attribution, times: StepTimes) -> list[dict[str, Any]]:
    """The control flow of a run as its manifest has it: medians over the steps, in the order of the model."""
    place = {executed_name(entry.index): entry.index for entry in attribution.executed}
    columns = [(place[name], column) for column, name in enumerate(times.names) if name in place]
    us, calls = np.median(times.self_us, axis=0), np.median(times.calls, axis=0)
    found = control_times(attribution, {i: float(us[c]) for i, c in columns}, {i: float(calls[c]) for i, c in columns})
    labels = label_nodes(attribution.originals)
    facts = []
    for control in found:
        node = attribution.executed[control.executed].node
        shares = attribution.nodes[control.executed].shares
        facts.append(
            {
                "node": node.name or f"{node.op_type}#{control.executed}",
                "op_type": node.op_type,
                "layer": labels[shares[0].original].layer if shares else "",
                "depth": control.depth,
                "exclusive_us": control.exclusive_us,
                "inclusive_us": control.inclusive_us,
                "calls": control.calls,
                "iterations": dict(control.iterations),
            }
        )
    return facts


def _depth(nodes: tuple[NumberedNode, ...], entry: NumberedNode) -> int:
    depth = 0
    while entry.parent is not None:
        entry = nodes[entry.parent]
        depth += 1
    return depth
