"""Control flow in a run: exclusive and inclusive times of Loop, Scan and If nodes, and iterations of their bodies.

Everywhere else a node's time is exclusive, so that sums count each microsecond once. Inclusive time contains the time
of the nodes inside and must not be summed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.graph.bodies import NumberedNode, bodies
from fathom_onnx.runtime.traces.steps import StepTimes

from .executed import display_name, numbers_by_name

__all__ = ["ControlTime", "control_facts", "control_times"]


@dataclass(frozen=True)
class ControlTime:
    """One control-flow node of the optimized model.

    Attributes:
        executed: Number of the executed node.
        depth: Number of control-flow nodes around it.
        exclusive_us: Time of the node without the nodes of its bodies.
        inclusive_us: Time of the node and of all nodes inside.
        calls: Executions per step.
        iterations: Body name to executions of that body per step, over all calls; 0 for a branch not taken.
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
        exclusive_us: Number of an executed node to its exclusive time per step; 0 for a node that did not run.
        calls: Number of an executed node to its executions per step.

    The iterations of a body are the largest number of executions among its nodes: every node of a body runs once per
    iteration, except nodes inside further control flow. A body without executed nodes (all folded) is not listed.
    """
    nodes = attribution.executed
    inclusive = {entry.index: exclusive_us.get(entry.index, 0.0) for entry in nodes}
    iterations: dict[tuple[int, str], float] = {}
    for entry in reversed(nodes):  # a node comes before the nodes of its bodies
        if entry.parent is not None:
            inclusive[entry.parent] += inclusive[entry.index]
            body = entry.parent, entry.body
            iterations[body] = max(iterations.get(body, 0.0), calls.get(entry.index, 0.0))
    controls = []
    for entry in nodes:
        body_names = [name for name, _ in bodies(entry.node)]
        if body_names and calls.get(entry.index):
            controls.append(
                ControlTime(
                    entry.index,
                    _depth(nodes, entry),
                    exclusive_us.get(entry.index, 0.0),
                    inclusive[entry.index],
                    calls[entry.index],
                    {name: iterations[entry.index, name] for name in body_names if (entry.index, name) in iterations},
                )
            )
    return tuple(controls)


def control_facts(attribution: Attribution, times: StepTimes) -> list[dict[str, Any]]:
    """The control flow of a run for its manifest: medians over the steps, in the order of the model."""
    numbers = numbers_by_name(attribution)
    columns = [(numbers[name], column) for column, name in enumerate(times.names) if name in numbers]
    us, calls = np.median(times.self_us, axis=0), np.median(times.calls, axis=0)
    controls = control_times(
        attribution, {i: float(us[c]) for i, c in columns}, {i: float(calls[c]) for i, c in columns}
    )
    labels = attribution.labels
    facts = []
    for control in controls:
        entry = attribution.executed[control.executed]
        shares = attribution.nodes[control.executed].shares
        facts.append(
            {
                "node": display_name(entry),
                "op_type": entry.node.op_type,
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
    """Number of control-flow nodes around a node."""
    depth = 0
    while entry.parent is not None:
        entry = nodes[entry.parent]
        depth += 1
    return depth
