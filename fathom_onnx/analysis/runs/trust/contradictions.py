"""Times of a run that contradict each other: below zero, or more in the parts than in the whole.

No measurement gives them. They show a clock that was set meanwhile, a trace that is not what it seems, or a fault of
ours, and the run's numbers are not to be believed. What is above the roof, :mod:`fathom_onnx.analysis.runs.above_roof`
tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.analysis.runs.steps import Floor
from fathom_onnx.runtime.traces.steps import Microseconds

__all__ = ["contradictions"]

_ROUNDING = 1e-6
"""Relative error of sums of float64."""

_KINDS = ("attributed", "charged", "unattributed")
"""Kinds of executed nodes, of which each is one."""

_CLOCKS_US = 50.0
"""What two clocks may differ by: onnxruntime's for the run within a step, Python's for the step around it."""


def contradictions(
    manifest: Mapping[str, Any],
    nodes: pd.DataFrame,
    steps: pd.DataFrame,
    samples: Microseconds,
    originals: pd.DataFrame,
) -> tuple[str, ...]:
    """What contradicts itself in a run, a sentence each; none in a sound one. The arguments are the run's own."""
    found = []
    below = samples.min(axis=0, initial=0) < 0
    if below.any():
        names = ", ".join(f"'{name}'" for name in nodes.loc[below, "name"][:3])
        found.append(f"{int(below.sum())} nodes have times below zero, among them {names}")
    more = int((steps["outside_us"] < 0).sum())
    if more and not _may_overlap(manifest):
        found.append(f"in {more} of {len(steps)} steps the nodes take more time than the whole run")
    longer = int((steps["run_us"] > steps["wall_us"] + _CLOCKS_US).sum())
    if longer:
        found.append(f"in {longer} of {len(steps)} steps the run takes more time than the step that it is in")
    whole = float(nodes["median_us"].sum())
    parts = float(nodes.loc[nodes["kind"].isin(_KINDS), "median_us"].sum())
    if not np.isclose(parts, whole, rtol=_ROUNDING, atol=_ROUNDING):
        found.append(f"the parts of the node time add up to {parts:.1f} us, the whole is {whole:.1f} us")
    attributed = float(originals["us"].sum())
    if attributed > whole * (1 + _ROUNDING) + _ROUNDING:
        found.append(f"original nodes have {attributed:.1f} us, more than the {whole:.1f} us of all nodes")
    floor, control = manifest.get("floor"), manifest["control_steps_us"]
    if floor and control and Floor(**floor).high_us == 0:
        profiled = float(steps["wall_us"].median())
        found.append(
            f"a step takes {profiled:.1f} us with the profiler and {np.median(control):.1f} us without it: "
            "the machine was busier in the unprofiled steps"
        )
    return tuple(found)


def _may_overlap(manifest: Mapping[str, Any]) -> bool:
    """Whether nodes run side by side: on the streams of a device, or on several threads of a stranger's session."""
    return manifest.get("device_time") is not None or bool((manifest.get("trace") or {}).get("parallel"))
