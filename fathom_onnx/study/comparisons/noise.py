"""The noise of a study: how far apart the rounds of each run are, and whether the machine kept its speed meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.analysis.similarity.resampling import noise_floor
from fathom_onnx.analysis.similarity.similarity import MixGrouping
from fathom_onnx.study.cells.plan import Role
from fathom_onnx.study.cells.results import CellResult

__all__ = ["RunNoise", "mix_floor", "noise_finding", "run_noise"]


@dataclass(frozen=True)
class RunNoise:
    """The rounds of one run beside each other.

    Attributes:
        cell: The run's cell and job.
        step_us: Median unprofiled step of each round, microseconds.
        floors: Noise floor of its op mix (:func:`~fathom_onnx.analysis.similarity.resampling.noise_floor`) by class
            and by op; None where it has no op mix of several rounds.
        unsteady: Rounds during which the machine changed its speed, whatever was repeated.
        repeated: Measurements that were repeated for that.
        speed_between: The machine's slowest round over its fastest, less 1, by the speed gauge; None where not known.
    """

    cell: CellResult
    step_us: tuple[float, ...]
    floors: dict[MixGrouping, float | None]
    unsteady: int
    repeated: int
    speed_between: float | None

    @property
    def step_spread(self) -> float | None:
        """The slowest round's step over the fastest's, less 1; None where not known."""
        return max(self.step_us) / min(self.step_us) - 1 if len(self.step_us) > 1 and min(self.step_us) > 0 else None

    @property
    def is_native(self) -> bool:
        """Whether it is a run of the framework itself."""
        return self.cell.job.role is Role.NATIVE

    @property
    def name(self) -> str:
        """The run in words, with how its op mix was made where that needs to be said."""
        way = self.cell.profiled_as
        return f"{self.cell.job.name} ({way})" if way else self.cell.job.name

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        job = self.cell.job
        return {
            "cell": vars(job.cell),
            "runtime": "native" if self.is_native else "onnxruntime",
            "profiled_as": self.cell.profiled_as,
            "provider": job.options.ep,
            "threads": job.options.threads,
            "step_us": list(self.step_us),
            "step_spread": self.step_spread,
            "floor_by_class": self.floors["class"],
            "floor_by_op": self.floors["op"],
            "unsteady_rounds": self.unsteady,
            "repeated": self.repeated,
            "speed_between": self.speed_between,
        }


def mix_floor(mix: OpMix, grouping: MixGrouping) -> float | None:
    """The noise floor of an op mix; None where it was measured in one round."""
    return noise_floor([table.to_numpy(float) for table in mix.in_rounds(grouping)])


def run_noise(cells: Iterable[CellResult]) -> tuple[RunNoise, ...]:
    """The noise of the runs that were measured in several rounds, in their order."""
    return tuple(_of(cell) for cell in cells if cell.done and len(cell.summary.get("rounds") or ()) > 1)


def _of(cell: CellResult) -> RunNoise:
    rounds, measured = cell.summary["rounds"], cell.profile.get("rounds") or ()
    mix = cell.op_mix
    floors: dict[MixGrouping, float | None] = {
        "class": None if mix is None else mix_floor(mix, "class"),
        "op": None if mix is None else mix_floor(mix, "op"),
    }
    gauges = [one["gauge"] for one in rounds if one.get("gauge")]
    speeds = [float(np.median(g["readings_us"])) for g in gauges if g.get("readings_us")]
    return RunNoise(
        cell,
        tuple(float(one["control_us"]) for one in rounds if one.get("control_us") is not None),
        floors,
        sum(g["steady"] is False for g in gauges),
        sum(int(one.get("attempts") or 1) - 1 for one in measured),
        max(speeds) / min(speeds) - 1 if speeds else None,
    )


def noise_finding(noise: Iterable[RunNoise]) -> str:
    """One line: how far rounds are apart, and how often the machine changed speed; empty without rounds."""
    runs = [n for n in noise if n.step_spread is not None]
    if not runs:
        return ""
    widest = max(runs, key=lambda n: n.step_spread or 0.0)
    floors = [n.floors["op"] for n in runs if n.floors["op"] is not None]
    mixes = f"; their op mixes by {median(floors):.4f} (median) to {max(floors):.4f}" if floors else ""
    rounds, unsteady = sum(len(n.step_us) for n in runs), sum(n.unsteady for n in runs)
    spread = median(n.step_spread or 0.0 for n in runs)
    speed = f"The machine changed speed in {unsteady} of {rounds} rounds." if unsteady else ""
    line = (
        f"Between rounds the step of a run differs by {spread:.1%} (median) to {widest.step_spread:.1%} (most, in "
        f"{widest.name}){mixes}."
    )
    return f"{line} {speed}".rstrip()
