"""The suite of 2026 among that of 2016: placements, op classes, intensity and memory of a study's runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import geometric_mean
from typing import Any

from fathom_onnx.analysis.runs.roofline import Roofline
from fathom_onnx.analysis.similarity.movement import (
    CRITERIA,
    FACTOR,
    POINTS,
    ClassShift,
    Movement,
    class_shifts,
    movement,
    verdict,
)
from fathom_onnx.study.cells.plan import Job
from fathom_onnx.study.cells.results import CellResult
from fathom_onnx.workloads import suite_of
from fathom_onnx.workloads.contract import MODES

__all__ = ["NEWER", "OLDER", "StepWork", "SuiteComparison", "compare_suites"]

OLDER, NEWER = "2016", "2026"


@dataclass(frozen=True)
class StepWork:
    """What a training step computes and holds.

    Attributes:
        workload: The workload.
        framework: The framework that its graph came from.
        suite: Its suite.
        intensity: FLOPs over bytes moved of the executed nodes; None where the study measured no ceilings.
        memory: Bytes of the tensors alive at the peak over those of the parameters; None where not recorded.
    """

    workload: str
    framework: str
    suite: str
    intensity: float | None
    memory: float | None


@dataclass(frozen=True)
class SuiteComparison:
    """The suites of a study beside each other.

    Attributes:
        movements: One a framework, mode and grouping.
        shifts: Mean shares of op classes in training, by framework, the largest difference first.
        work: Intensity and memory of the training steps.
    """

    movements: tuple[Movement, ...]
    shifts: tuple[ClassShift, ...]
    work: tuple[StepWork, ...]

    @property
    def verdict(self) -> str:
        """One line: how far workloads have moved."""
        return verdict(self.asked("training", "op"))[1]

    def asked(self, mode: str, grouping: str) -> list[Movement]:
        """The movements of a mode and grouping, one a framework."""
        return [m for m in self.movements if (m.mode, m.grouping) == (mode, grouping)]

    @property
    def moved_classes(self) -> dict[str, list[ClassShift]]:
        """Op classes whose mean share changed enough, in the same direction in every framework."""
        by_class: dict[str, list[ClassShift]] = {}
        for shift in self.shifts:
            by_class.setdefault(shift.op_class, []).append(shift)
        return {
            name: shifts
            for name, shifts in by_class.items()
            if all(s.points >= POINTS for s in shifts) or all(s.points <= -POINTS for s in shifts)
        }

    def means(self, what: str) -> dict[str, tuple[float, float]]:
        """Framework to the geometric means (older, newer) of ``intensity`` or ``memory``; those that have both."""
        found = {}
        for framework in dict.fromkeys(w.framework for w in self.work):
            values = [
                [v for w in self.work if (w.framework, w.suite) == (framework, s) and (v := getattr(w, what))]
                for s in (OLDER, NEWER)
            ]
            if all(values):
                found[framework] = (geometric_mean(values[0]), geometric_mean(values[1]))
        return found

    def changed(self, what: str) -> bool | None:
        """Whether ``intensity`` or ``memory`` changed by the factor asked for; None where it is not known."""
        ratios = [math.log(newer / older) for older, newer in self.means(what).values()]
        if not ratios:
            return None
        return min(ratios) >= math.log(FACTOR) or max(ratios) <= -math.log(FACTOR)

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "verdict": self.verdict,
            "outcome": verdict(self.asked("training", "op"))[0],
            "criteria": dict(CRITERIA),
            "movements": [m.json() for m in self.movements],
            "op_classes": [asdict(s) for s in self.shifts],
            "moved_classes": list(self.moved_classes),
            "work": [asdict(w) for w in self.work],
            "means": {what: self.means(what) for what in ("intensity", "memory")},
            "changed": {what: self.changed(what) for what in ("intensity", "memory")},
        }


def compare_suites(
    cells: Sequence[CellResult], rooflines: Mapping[Job, Mapping[str, Roofline]]
) -> SuiteComparison | None:
    """Compare the suites of a study's cells; None where it did not run two workloads of 2016 and one of 2026.

    Args:
        cells: The study's cells on its first provider.
        rooflines: Job to its rooflines, by what their rows are; jobs may be missing.
    """
    done = [c for c in cells if c.op_mix is not None and suite_of(c.cell.workload)]
    movements, shifts = [], []
    for mode in MODES:
        for framework in dict.fromkeys(c.cell.framework for c in done):
            older, newer = (
                [
                    c.op_mix
                    for c in done
                    if c.op_mix is not None
                    and (c.cell.framework, c.cell.mode, suite_of(c.cell.workload)) == (framework, mode, suite)
                ]
                for suite in (OLDER, NEWER)
            )
            if len(older) > 1 and newer:
                movements += [movement(older, newer, "op"), movement(older, newer, "class")]
                shifts += class_shifts(older, newer) if mode == "training" else []
    if not movements:
        return None
    work = [_work(c, rooflines.get(c.job, {})) for c in done if c.cell.mode == "training"]
    return SuiteComparison(tuple(movements), tuple(shifts), tuple(work))


def _work(cell: CellResult, rooflines: Mapping[str, Roofline]) -> StepWork:
    suite = suite_of(cell.cell.workload) or ""
    intensity = None
    if "node" in rooflines:
        table = rooflines["node"].table
        moved = float(table["bytes"].sum())
        intensity = float(table["flops"].sum()) / moved if moved else None
    executed = (cell.summary.get("memory") or {}).get("executed") or {}
    parameters, peak = executed.get("parameters_bytes"), executed.get("peak_bytes")
    memory = peak / parameters if parameters and peak else None
    return StepWork(cell.cell.workload, cell.cell.framework, suite, intensity, memory)
