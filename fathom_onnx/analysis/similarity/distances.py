"""Does the framework matter? Distances between frameworks against distances between workloads, with statistics.

The paper (Adolf et al., IISWC 2016, section III-C) states that the primitive operations dominate performance, so that
the choice of framework matters little. The statement is tested at several levels: the graphs alone (modelled cost, no
execution), their time in onnxruntime, and the time of the frameworks themselves. Each level is a set of labelled op
mixes (:class:`~.op_mix.OpMix`), compared by cosine distance within a mode, by op class and by op. The criteria for an
answer are in :mod:`.criteria`; what counts of a distance, in :mod:`.resampling`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from fathom_onnx.workloads.contract import MODES

from .criteria import CRITERIA, RULES, FrameworkOutcome, Statistics, most_given, share_of, together
from .op_mix import OpMix
from .resampling import Grid, cosine_square, counted, drawn_medians, interval, noise_floor, silhouette
from .share_differences import ShareDifference, differences
from .similarity import MixGrouping, RunLabel

__all__ = [
    "Assessment",
    "FrameworkLevel",
    "MixDistance",
    "assess",
]

Floats = npt.NDArray[np.float64]
_SEED = 0
OUTCOME_RESAMPLES = 200
"""Resamples whose outcome is determined: each takes a permutation test."""

_ANSWERS: dict[FrameworkOutcome, str] = {
    "little": "the framework matters little",
    "much": "the framework matters",
    "mixed": "the answer is mixed",
    "unknown": "it cannot be told whether the framework matters",
}


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
    square: Floats, grid: Grid, floors: Floats, workloads: tuple[str, ...], floor: float | None
) -> Statistics:
    counts = counted(square, floors)
    of_workloads, of_frameworks = silhouette(counts, grid.workload), silhouette(counts, grid.framework)
    return Statistics(
        workloads=workloads,
        within=float(grid.within(counts)),
        between=float(grid.between(counts)),
        nearest=int(grid.nearest(counts, square)),
        silhouette=None if of_workloads is None else float(of_workloads),
        silhouette_framework=None if of_frameworks is None else float(of_frameworks),
        p=grid.permutation_p(counts),
        smallest_p=1 / grid.every,
        floor=floor,
        workloads_apart=float(grid.between(square)),
    )


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
    grid = Grid(len(workloads), len(frameworks))
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
        of_each = (_statistics(s, grid, floors, workloads, floor) for s in squares[:OUTCOME_RESAMPLES])
        resampled = tuple(statistics.outcome for statistics in of_each)
    return Assessment(
        **vars(_statistics(square, grid, floors, workloads, floor)),
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


@dataclass(frozen=True)
class FrameworkLevel:
    """The framework question at one level: the graphs, their time in onnxruntime, or the frameworks' own time.

    It is asked of every two frameworks.

    Attributes:
        name: ``structure``, ``onnxruntime``, ``native``.
        what: What the op mixes are shares of, in words.
        assessments: By pair of frameworks, by mode, and by class and op, where there was enough data.
        differences: The ops in which frameworks differ most, with their largest nodes.
        unknown: Nodes left out because their cost is not known.
        between: The frameworks that it is asked of, where it is not all of them.
    """

    name: str
    what: str
    assessments: tuple[Assessment, ...]
    differences: tuple[ShareDifference, ...]
    unknown: int = 0
    between: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, what: str, mixes: Sequence[OpMix]) -> FrameworkLevel:
        """The level of a set of labelled op mixes."""
        pairs = combinations(dict.fromkeys(m.label.framework for m in mixes), 2)
        asked: tuple[MixGrouping, ...] = ("class", "op")
        assessments = [assess(mixes, mode, g, pair) for pair in pairs for mode in MODES for g in asked]
        return cls(
            name,
            what,
            tuple(a for a in assessments if a is not None),
            differences(mixes),
            sum(m.unknown for m in mixes),
        )

    @cached_property
    def pairs(self) -> tuple[FrameworkLevel, ...]:
        """The level of each pair of frameworks alone; empty where there is only one pair."""
        names = dict.fromkeys(a.frameworks for a in self.assessments)
        if len(names) < 2:
            return ()
        return tuple(
            replace(self, assessments=tuple(a for a in self.assessments if a.frameworks == pair), between=pair)
            for pair in names
        )

    def asked(self, assessment: Assessment) -> str:
        """What an assessment is asked of, in words: mode, grouping and, where there are several, the frameworks."""
        pair = f", {' and '.join(assessment.frameworks)}" if self.pairs else ""
        return f"{assessment.mode} by {assessment.grouping}{pair}"

    @property
    def worst(self) -> Assessment | None:
        """The assessment whose frameworks are farthest apart beside its workloads; None without any."""
        return max(self.assessments, key=lambda a: (a.ratio is None, a.ratio or 0.0), default=None)

    @property
    def measured(self) -> FrameworkOutcome:
        """``little`` where every measured point says so, ``much`` where one does; else ``mixed`` or ``unknown``."""
        return together(a.measured for a in self.assessments)

    @cached_property
    def _drawn(self) -> tuple[FrameworkOutcome, ...]:
        """The outcome of each resample of all runs; empty where nothing can be drawn."""
        if not all(a.resampled for a in self.assessments):
            return ()
        return tuple(together(several) for several in zip(*(a.resampled for a in self.assessments), strict=True))

    @property
    def outcome(self) -> FrameworkOutcome:
        """The outcome of most resamples; where nothing can be drawn, of the measured point."""
        return most_given(self._drawn, self.measured)

    @property
    def resampled(self) -> dict[FrameworkOutcome, float]:
        """Outcome to how often it comes out when rounds and steps are resampled; empty where nothing can be drawn."""
        return {name: share for name in dict.fromkeys(self._drawn) if (share := share_of(self._drawn, name))}

    @property
    def holds(self) -> float | None:
        """The share of the resamples that give the outcome; None where nothing can be drawn."""
        return share_of(self._drawn, self.outcome)

    @property
    def verdict(self) -> str:
        """The answer at this level in words: with numbers, how often it holds, and what the measured point says."""
        head = f"By {self.what}"
        if self.between:
            head += f", between {' and '.join(self.between)},"
        worst = self.worst
        if worst is None:
            return f"{head} {_ANSWERS['unknown']}: that takes two workloads from two frameworks."
        numbers = (
            f"frameworks of one workload are {worst.within:.3f} apart where workloads are {worst.between:.3f} "
            f"({self.asked(worst)}, the worst case{_floor(worst)})"
        )
        first, then = (", ", ": ") if self.measured == "little" else (": ", "; ")
        measured = f"{_ANSWERS[self.measured]}{first}{self._reason}"
        often = "" if self.holds is None else f"It holds in {self.holds:.0%} of resamples of rounds and steps"
        if self.outcome != self.measured:
            return f"{head} {_ANSWERS[self.outcome]}: {numbers}. {often}; by the measured point itself {measured}."
        held = f" {often}." if often and self.outcome != "unknown" else ""
        return f"{head} {measured}{then}{numbers}.{held}"

    @property
    def _reason(self) -> str:
        """Why the measured point says what it does."""
        noisy = [a for a in self.assessments if not a.resolved]
        if noisy:
            loudest = max(noisy, key=lambda a: (a.floor or 0.0) / a.workloads_apart if a.workloads_apart else math.inf)
            return (
                f"rounds of one framework are {loudest.floor:.3f} apart ({self.asked(loudest)}), too much beside "
                f"{loudest.workloads_apart:.3f} between workloads"
            )
        if self.measured == "unknown":
            few = min(len(a.workloads) for a in self.assessments)
            return f"{few} workloads are too few for the permutation test"
        if self.measured == "little":
            return "by every criterion"
        # which they are is said by the line of each pair, where there are several
        by_pair = [
            f"{_unmet(pair)} between {' and '.join(pair.between)}" for pair in self.pairs if pair.criteria_not_met
        ]
        return f"{_unmet(self)} criteria are not met, {', '.join(by_pair or self.criteria_not_met)}"

    @property
    def criteria_not_met(self) -> list[str]:
        """The criteria that are not met, each with what it is asked of."""
        return [f"{c} ({self.asked(a)})" for a in self.assessments for c, met in a.met.items() if not met]

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "name": self.name,
            "what": self.what,
            "outcome": self.outcome,
            "measured": self.measured,
            "holds": self.holds,
            "resampled": self.resampled,
            "verdict": self.verdict,
            "pairs": [
                {
                    "frameworks": pair.between,
                    "outcome": pair.outcome,
                    "measured": pair.measured,
                    "holds": pair.holds,
                    "resampled": pair.resampled,
                    "verdict": pair.verdict,
                }
                for pair in self.pairs
            ],
            "criteria": {c.name: c.text for c in CRITERIA},
            "rules": dict(RULES),
            "assessments": [a.json() for a in self.assessments],
            "differences": [d.json() for d in self.differences],
            "unknown_nodes": self.unknown,
        }


def _floor(assessment: Assessment) -> str:
    """The noise floor in words, after the numbers that it belongs to."""
    return "" if assessment.floor is None else f", above a noise floor of {assessment.floor:.3f}"


def _unmet(level: FrameworkLevel) -> str:
    """How many criteria a level does not meet, of how many."""
    return f"{len(level.criteria_not_met)} of {len(CRITERIA) * len(level.assessments)}"
