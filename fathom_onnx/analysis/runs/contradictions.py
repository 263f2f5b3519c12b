"""Times of a run that contradict each other: below zero, or more in the parts than in the whole.

No measurement gives them. They show a clock that was set meanwhile, a trace that is not what it seems, or a fault of
ours, and the run's numbers are not to be believed. Above the roof is looked at in :mod:`.above_roof`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .run import Run

__all__ = ["contradictions"]

_ROUNDING = 1e-6
"""Relative error of sums of float64."""

_CLOCKS_US = 50.0
"""What two clocks may differ by: onnxruntime's for the run within a step, Python's for the step around it."""


def contradictions(run: Run) -> tuple[str, ...]:
    """What contradicts itself in a run, a sentence each; none in a sound one."""
    found = []
    below = run.samples.min(axis=0, initial=0) < 0
    if below.any():
        names = ", ".join(f"'{name}'" for name in run.nodes.loc[below, "name"][:3])
        found.append(f"{int(below.sum())} nodes have times below zero, among them {names}")
    steps = run.steps
    more = int((steps["outside_us"] < 0).sum())
    if more and not _may_overlap(run):
        found.append(f"in {more} of {len(steps)} steps the nodes take more time than the whole run")
    longer = int((steps["run_us"] > steps["wall_us"] + _CLOCKS_US).sum())
    if longer:
        found.append(f"in {longer} of {len(steps)} steps the run takes more time than the step that it is in")
    parts = sum(run.kind_us(kind) for kind in ("attributed", "charged", "unattributed"))
    if not np.isclose(parts, run.node_time_us, rtol=_ROUNDING, atol=_ROUNDING):
        found.append(f"the parts of the node time add up to {parts:.1f} us, the whole is {run.node_time_us:.1f} us")
    attributed = float(run.originals["us"].sum())
    if attributed > run.node_time_us * (1 + _ROUNDING) + _ROUNDING:
        found.append(f"original nodes have {attributed:.1f} us, more than the {run.node_time_us:.1f} us of all nodes")
    floor = run.floor
    if floor is not None and floor.high_us == 0 and run.control_us is not None:
        found.append(
            f"a step takes {run.step_us:.1f} us with the profiler and {run.control_us:.1f} us without it: the machine "
            "was busier in the unprofiled steps"
        )
    return tuple(found)


def _may_overlap(run: Run) -> bool:
    """Whether nodes run side by side: on the streams of a device, or on several threads of a stranger's session."""
    return run.manifest.get("device_time") is not None or bool((run.manifest.get("trace") or {}).get("parallel"))
