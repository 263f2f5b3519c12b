"""Steps of the frameworks' own compilers beside the same steps eager and as graphs: how far frameworks are apart.

A compiler's fused kernels have no op mix, so that the framework question is asked of the time of whole steps here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from fathom_onnx.study.cells.results import CellResult

__all__ = ["WAYS", "StepTimes", "apart", "compiled_finding", "framework_pairs", "step_times"]

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

    def ratio(self, way: str, among: Collection[str] | None = None) -> float | None:
        """The slowest framework's step over the fastest one's; None where fewer than two ran it so.

        Args:
            way: How the step is run.
            among: The frameworks that are compared; all for None.
        """
        times = [us for framework, us in self.us[way].items() if among is None or framework in among]
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


def apart(steps: Sequence[StepTimes], way: str, among: Collection[str] | None = None) -> float | None:
    """How far frameworks are apart: the geometric mean of the slowest step over the fastest one; None without any.

    Only steps are taken that all of them ran in all ways, so that the ways can be compared.

    Args:
        steps: The steps.
        way: How they are run.
        among: The frameworks that are compared; all for None.
    """
    names = _frameworks(steps) if among is None else among
    whole = [s for s in steps if all(set(names) <= s.us[one].keys() for one in WAYS) and len(names) > 1]
    ratios = [ratio for s in whole if (ratio := s.ratio(way, names)) is not None]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def framework_pairs(steps: Sequence[StepTimes]) -> list[tuple[str, str]]:
    """Every two of the frameworks that compiled a step."""
    return list(combinations(_frameworks(steps), 2))


def _frameworks(steps: Sequence[StepTimes]) -> list[str]:
    return list(dict.fromkeys(name for step in steps for name in step.compiled))


def compiled_finding(steps: Sequence[StepTimes]) -> str:
    """How far the frameworks are apart compiled, as they run by default, and as graphs, pair by pair.

    Empty where unknown.
    """
    pairs = framework_pairs(steps)
    told = []
    for pair in pairs:
        ratios = {way: apart(steps, way, pair) for way in WAYS}
        said = {way: f"{ratio:.2f}" for way, ratio in ratios.items() if ratio is not None}
        if len(said) == len(WAYS):
            told.append(
                f"a step of the slower {'one' if len(pairs) == 1 else 'of ' + ' and '.join(pair)} takes "
                f"{said['compiled']} times as long as one of the faster; as the frameworks run it by default "
                f"{said['framework']} times, as a graph in onnxruntime {said['graph']} times"
            )
    return f"Compiled by the frameworks themselves, {'; '.join(told)} (geometric means)." if told else ""
