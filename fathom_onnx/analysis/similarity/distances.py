"""Distances between frameworks against distances between workloads, with statistics, for one mode and grouping of ops.

Labelled op mixes (:class:`~.op_mix.OpMix`) are compared by cosine distance. The criteria for an answer are in
:mod:`.criteria`; what counts of a distance, in :mod:`.resampling`; what several assessments say together, in
:mod:`.levels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from .criteria import FrameworkOutcome, Statistics, most_given, share_of
from .op_mix import OpMix
from .resampling import Grid, cosine_square, counted, drawn_medians, grid_of, interval, noise_floor, silhouette
from .similarity import MixGrouping, RunLabel

__all__ = [
    "Assessment",
    "MixDistance",
    "assess",
]

Floats = npt.NDArray[np.float64]
_SEED = 0
OUTCOME_RESAMPLES = 200
"""Resamples whose outcome is determined: each takes a permutation test."""


@dataclass(frozen=True)
class MixDistance:
    """The distance of two runs, and the larger noise floor of the two; None where neither has several rounds."""

    a: RunLabel
    b: RunLabel
    distance: float
    floor: float | None

    @property
    def counts(self) -> float:
        """What counts of the distance: the part above the floor."""
        return max(0.0, self.distance - (self.floor or 0.0))

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "a": self.a._asdict(),
            "b": self.b._asdict(),
            "distance": self.distance,
            "floor": self.floor,
            "counts": self.counts,
        }


@dataclass(frozen=True)
class Assessment(Statistics):
    """The framework question for one mode and one grouping of ops.

    Attributes:
        mode: The mode.
        grouping: By op class or by op.
        frameworks: The frameworks.
        farthest: The workload whose frameworks are farthest apart, and how far.
        pairs: The distances within workloads and between them.
        intervals: Bootstrap interval over rounds and steps of ``within``, ``ratio``, ``nearest`` and ``silhouette``;
            empty where the op mixes have one row.
        resampled: The outcome of each resample; empty likewise.
    """

    mode: str
    grouping: MixGrouping
    frameworks: tuple[str, ...]
    farthest: tuple[str, float]
    pairs: tuple[MixDistance, ...]
    intervals: dict[str, tuple[float, float]]
    resampled: tuple[FrameworkOutcome, ...] = ()

    @property
    def above_floor(self) -> int:
        """In how many workloads the distance between two frameworks counts."""
        apart = {p.a.workload for p in self.pairs if p.a.other_framework_of(p.b) and p.counts > 0}
        return len(apart)

    @property
    def measured(self) -> FrameworkOutcome:
        """The outcome of the measured point."""
        return super().outcome

    @property
    def outcome(self) -> FrameworkOutcome:
        """The outcome of most resamples; where there are none, of the measured point."""
        return most_given(self.resampled, self.measured)

    @property
    def holds(self) -> float | None:
        """Share of the resamples that give the outcome; None where there are none."""
        return share_of(self.resampled, self.outcome)

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        left_out = ("pairs", "resampled")
        fields = {
            "level" if n == "grouping" else n: getattr(self, n) for n in self.__dataclass_fields__ if n not in left_out
        }
        return {
            **fields,
            "ratio": self.ratio,
            "resolved": self.resolved,
            "above_floor": self.above_floor,
            "met": self.met,
            "outcome": self.outcome,
            "measured": self.measured,
            "holds": self.holds,
            "within_pairs": [p.json() for p in self.pairs if p.a.other_framework_of(p.b)],
            "between_pairs": [p.json() for p in self.pairs if p.a.other_workload_of(p.b)],
        }

    def __str__(self) -> str:
        silhouette = "undefined" if self.silhouette is None else f"{self.silhouette:.2f}"
        floor = "" if self.floor is None else f" (noise floor {self.floor:.4f})"
        return (
            f"{self.mode} by {self.grouping}: frameworks {self.within:.3f} apart{floor}, workloads {self.between:.3f}; "
            f"own workload nearest in {self.nearest} of {len(self.workloads)}; silhouette {silhouette}; p {self.p:.2g}"
        )


def _statistics(
    squares: Floats, grid: Grid, floors: Floats, workloads: tuple[str, ...], floor: float | None
) -> list[Statistics]:
    """The statistics of each of some squares [squares, runs, runs] of distances."""
    counts = counted(squares, floors)
    within, between, apart = grid.within(counts), grid.between(counts), grid.between(squares)
    nearest, p = grid.nearest(counts, squares), grid.permutation_p(counts)
    of_workloads, of_frameworks = silhouette(counts, grid.workload), silhouette(counts, grid.framework)
    return [
        Statistics(
            workloads=workloads,
            within=float(within[i]),
            between=float(between[i]),
            nearest=int(nearest[i]),
            silhouette=None if of_workloads is None else float(of_workloads[i]),
            silhouette_framework=None if of_frameworks is None else float(of_frameworks[i]),
            p=float(p[i]),
            smallest_p=1 / grid.every,
            floor=floor,
            workloads_apart=float(apart[i]),
        )
        for i in range(len(squares))
    ]


def _intervals(square: Floats, grid: Grid, floors: Floats) -> dict[str, tuple[float, float]]:
    """Intervals of the statistics of resampled squares [resamples, runs, runs] of distances."""
    counts = counted(square, floors)
    within, between = grid.within(counts), grid.between(counts)
    scores = silhouette(counts, grid.workload)
    values = {
        "within": within,
        "ratio": np.divide(within, between, out=np.full_like(within, np.nan), where=between > 0),
        "nearest": grid.nearest(counts, square).astype(float),
        "silhouette": np.full_like(within, np.nan) if scores is None else scores,
    }
    return {name: ends for name, drawn in values.items() if (ends := interval(drawn)) is not None}


def assess(
    mixes: Sequence[OpMix], mode: str, grouping: MixGrouping, among: Sequence[str] | None = None
) -> Assessment | None:
    """Assess the framework question for one mode, over the workloads that every framework has.

    Args:
        mixes: Op mixes of any frameworks and modes.
        mode: The mode.
        grouping: By op class or by op.
        among: The frameworks that are asked about; all for None.

    Returns:
        The assessment; None where fewer than two frameworks have two workloads in common.
    """
    of_mode = [m for m in mixes if m.label.mode == mode]
    everyone = list(dict.fromkeys(m.label.framework for m in of_mode))
    everything = list(dict.fromkeys(m.label.workload for m in of_mode))
    rounds = {
        (m.label.workload, m.label.framework): m.in_rounds(grouping)
        for m in of_mode
        if among is None or m.label.framework in among
    }
    frameworks = tuple(dict.fromkeys(f for _, f in rounds))
    workloads = tuple(dict.fromkeys(w for w, _ in rounds if all((w, f) in rounds for f in frameworks)))
    if len(frameworks) < 2 or len(workloads) < 2:
        return None
    labels = [RunLabel(w, f, mode) for f in frameworks for w in workloads]
    tables = [rounds[label.workload, label.framework] for label in labels]
    columns = list(dict.fromkeys(name for several in tables for table in several for name in table.columns))
    steps = [[t.reindex(columns=columns, fill_value=0.0).to_numpy(float) for t in several] for several in tables]
    grid = grid_of(len(workloads), len(frameworks))
    square = cosine_square(np.stack([np.median(np.concatenate(several), axis=0) for several in steps]))
    known = [noise_floor(several) for several in steps]
    floors = np.array([floor or 0.0 for floor in known])
    pairs = _distances(labels, square, known)
    of_pairs = [p.floor for p in pairs if p.floor is not None and p.a.other_framework_of(p.b)]
    floor = float(np.mean(of_pairs)) if of_pairs else None
    spreads = [float(square[np.ix_(grid.workload == w, grid.workload == w)].max()) for w in range(len(workloads))]
    widest = int(np.argmax(spreads))
    intervals: dict[str, tuple[float, float]] = {}
    resampled: tuple[FrameworkOutcome, ...] = ()
    if min(sum(map(len, several)) for several in steps) > 1:
        # one generator a run, so that both groupings and all pairs resample the same rounds and steps of it
        places = [everyone.index(r.framework) * len(everything) + everything.index(r.workload) for r in labels]
        generators = [np.random.default_rng((_SEED, place)) for place in places]
        medians = [drawn_medians(several, one) for several, one in zip(steps, generators, strict=True)]
        squares = cosine_square(np.stack(medians, axis=1))
        intervals = _intervals(squares, grid, floors)
        of_each = _statistics(squares[:OUTCOME_RESAMPLES], grid, floors, workloads, floor)
        resampled = tuple(statistics.outcome for statistics in of_each)
    (measured,) = _statistics(square[None], grid, floors, workloads, floor)
    return Assessment(
        **vars(measured),
        mode=mode,
        grouping=grouping,
        frameworks=frameworks,
        farthest=(workloads[widest], spreads[widest]),
        pairs=pairs,
        intervals=intervals,
        resampled=resampled,
    )


def _distances(labels: Sequence[RunLabel], square: Floats, floors: Sequence[float | None]) -> tuple[MixDistance, ...]:
    """The distances of runs that differ in framework or in workload."""
    found = []
    for i, j in combinations(range(len(labels)), 2):
        a, b = labels[i], labels[j]
        if a.other_framework_of(b) or a.other_workload_of(b):
            known = [f for f in (floors[i], floors[j]) if f is not None]
            found.append(MixDistance(a, b, float(square[i, j]), max(known, default=None)))
    return tuple(found)
