"""Steps of the frameworks' own compilers beside the same steps eager and as graphs: how far frameworks are apart.

A compiler's fused kernels have no op mix, so that the framework question is asked of the time of whole steps here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fathom_onnx.study.cells.results import CellResult

__all__ = ["WAYS", "StepTimes", "apart", "compiled_finding", "step_times"]

WAYS = {"framework": "in the framework", "compiled": "compiled", "graph": "as a graph in onnxruntime"}
"""Ways to run a step, and their names in tables."""


@dataclass(frozen=True)
class StepTimes:
    """The unprofiled steps of a workload in a mode.

    Attributes:
        workload: The workload.
        mode: The mode.
        us: Way to framework to the median microseconds of a step; a step that did not run is left out.
        compiled: Framework to the summary of its compiled run.
    """

    workload: str
    mode: str
    us: Mapping[str, Mapping[str, float]]
    compiled: Mapping[str, Mapping[str, Any]]

    def ratio(self, way: str) -> float | None:
        """The slowest framework's step over the fastest one's; None where fewer than two ran it so."""
        times = self.us[way].values()
        return max(times) / min(times) if len(times) > 1 else None

    def gain(self, framework: str, way: str = "framework") -> float | None:
        """How many times as long a step takes in another way as compiled; None where either did not run."""
        found = [self.us[name].get(framework) for name in (way, "compiled")]
        return None if found[0] is None or found[1] is None else found[0] / found[1]


def step_times(
    graphs: Iterable[CellResult], natives: Iterable[CellResult], compiled: Iterable[CellResult]
) -> list[StepTimes]:
    """The steps of every workload and mode of which one was compiled, in the order of the compiled ones.

    Args:
        graphs: The graphs in onnxruntime.
        natives: The frameworks' own runs.
        compiled: The compiled runs.
    """
    several = {"framework": natives, "compiled": compiled, "graph": graphs}
    keys = {"framework": "control_us", "compiled": "step_us", "graph": "control_us"}
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    summaries: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for way, runs in several.items():
        for run in runs:
            us = run.summary.get(keys[way]) if run.done else None
            if us:
                step = run.cell.workload, run.cell.mode
                found.setdefault(step, {name: {} for name in WAYS})[way][run.cell.framework] = float(us)
                if way == "compiled":
                    summaries.setdefault(step, {})[run.cell.framework] = run.summary
    return [StepTimes(*step, found[step], of_step) for step, of_step in summaries.items()]


def apart(steps: Sequence[StepTimes], way: str) -> float | None:
    """How far frameworks are apart: the geometric mean of the slowest step over the fastest one; None without any.

    Only steps are taken that all frameworks ran in all ways, so that the ways can be compared.
    """
    whole = [s for s in steps if all(s.ratio(one) is not None for one in WAYS)]
    ratios = [ratio for s in whole if (ratio := s.ratio(way)) is not None]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def compiled_finding(steps: Sequence[StepTimes]) -> str:
    """How far the frameworks are apart compiled, as they run by default, and as graphs; empty where unknown."""
    ratios = {way: apart(steps, way) for way in WAYS}
    said = {way: f"{ratio:.2f}" for way, ratio in ratios.items() if ratio is not None}
    if len(said) < len(WAYS):
        return ""
    return (
        f"Compiled by the frameworks themselves, a step of the slower one takes {said['compiled']} times as long as "
        f"one of the faster; as the frameworks run it by default {said['framework']} times, as a graph in onnxruntime "
        f"{said['graph']} times (geometric means)."
    )
