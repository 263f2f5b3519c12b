"""Does the framework matter? Distances between frameworks against distances between workloads, with statistics.

The paper (Adolf et al., IISWC 2016, section III-C) states that the primitive operations dominate performance, so that
the choice of framework matters little. The statement is tested at several levels: the graphs alone (modelled cost, no
execution), their time in onnxruntime, and the time of the frameworks themselves. Each level is a set of labelled op
mixes (:class:`~.op_mix.OpMix`), compared by cosine distance within a mode, by op class and by op. The criteria for an
answer are in :data:`CRITERIA`; they were fixed before the first measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fathom_onnx.workloads.contract import MODES

from .op_mix import OpMix
from .resampling import Grid, bootstrap_intervals, cosine_square, silhouette
from .share_differences import ShareDifference, differences
from .similarity import MixGrouping

__all__ = [
    "CRITERIA",
    "Assessment",
    "Criterion",
    "FrameworkLevel",
    "FrameworkOutcome",
    "assess",
]

FrameworkOutcome = Literal["little", "much", "mixed", "unknown"]
"""Whether the framework matters: little, much, by some criteria only, or too little data to say."""


@dataclass(frozen=True)
class Assessment:
    """The framework question for one mode and one grouping of ops.

    Attributes:
        mode: The mode.
        grouping: By op class or by op.
        frameworks: The frameworks.
        workloads: The workloads that all of them ran.
        within: Mean distance between the frameworks of a workload.
        between: Mean distance between two workloads, over all frameworks.
        farthest: The workload whose frameworks are farthest apart, and how far.
        nearest: Of how many workloads every run is nearer to one of its own than to any other.
        silhouette: Silhouette with workloads as labels, -1 to 1, None where it is not defined.
        silhouette_framework: The same with frameworks as labels.
        p: Probability of a ``within`` this small when workload labels are permuted at random.
        smallest_p: The smallest ``p`` that this number of workloads can give.
        intervals: Bootstrap interval over steps of ``within``, ``ratio``, ``nearest`` and ``silhouette``; empty where
            the op mixes have one row.
    """

    mode: str
    grouping: MixGrouping
    frameworks: tuple[str, ...]
    workloads: tuple[str, ...]
    within: float
    between: float
    farthest: tuple[str, float]
    nearest: int
    silhouette: float | None
    silhouette_framework: float | None
    p: float
    smallest_p: float
    intervals: dict[str, tuple[float, float]]

    @property
    def ratio(self) -> float | None:
        """``within / between``; None where all workloads are the same."""
        return self.within / self.between if self.between > 0 else None

    @property
    def met(self) -> dict[str, bool]:
        """Criterion to whether it is met."""
        return {c.name: c.met(self) for c in CRITERIA}

    @property
    def outcome(self) -> FrameworkOutcome:
        """Whether the framework matters ``little`` or ``much``, by the criteria; ``mixed`` or ``unknown`` else."""
        if self.smallest_p > P_AT_MOST:
            return "unknown"
        if all(self.met.values()):
            return "little"
        if self.p > P_AT_MOST or 2 * self.nearest < len(self.workloads):
            return "much"
        return "mixed"

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        fields = {"level" if n == "grouping" else n: getattr(self, n) for n in self.__dataclass_fields__}
        return {**fields, "ratio": self.ratio, "met": self.met, "outcome": self.outcome}

    def __str__(self) -> str:
        silhouette = "undefined" if self.silhouette is None else f"{self.silhouette:.2f}"
        return (
            f"{self.mode} by {self.grouping}: frameworks {self.within:.3f} apart, workloads {self.between:.3f}; "
            f"own workload nearest in {self.nearest} of {len(self.workloads)}; silhouette {silhouette}; p {self.p:.2g}"
        )


@dataclass(frozen=True)
class Criterion:
    """A condition for the framework to matter little."""

    name: str
    text: str
    met: Callable[[Assessment], bool]


P_AT_MOST = 0.01

CRITERIA: tuple[Criterion, ...] = (
    Criterion(
        "nearest",
        "in at least 7 of 8 workloads every framework's profile has another framework's of that workload nearest",
        lambda a: 8 * a.nearest >= 7 * len(a.workloads),
    ),
    Criterion(
        "ratio",
        "frameworks of one workload are on average at most a quarter as far apart as two workloads",
        lambda a: a.ratio is not None and a.ratio <= 0.25,
    ),
    Criterion(
        # Kaufman and Rousseeuw, Finding Groups in Data (1990): above 0.5 a clustering is reasonable
        "silhouette",
        "the silhouette of the workloads is at least 0.5, and above that of the frameworks",
        lambda a: a.silhouette is not None and a.silhouette >= max(0.5, a.silhouette_framework or -1.0),
    ),
    Criterion(
        "permutation",
        f"workload labels dealt at random do as well in at most {P_AT_MOST:.0%} of deals",
        lambda a: a.p <= P_AT_MOST,
    ),
)
"""All met: the framework matters little. Permutation test failed, or the own workload nearest in fewer than half of the
workloads: it matters much. Anything between is mixed. Too few workloads for the permutation test: unknown."""


def assess(mixes: Sequence[OpMix], mode: str, grouping: MixGrouping) -> Assessment | None:
    """Assess the framework question for one mode, over the workloads that every framework has.

    Returns:
        The assessment; None where fewer than two frameworks have two workloads in common.
    """
    amounts = {(m.label.workload, m.label.framework): m.amounts(grouping) for m in mixes if m.label.mode == mode}
    frameworks = tuple(dict.fromkeys(f for _, f in amounts))
    workloads = tuple(dict.fromkeys(w for w, _ in amounts if all((w, f) in amounts for f in frameworks)))
    if len(frameworks) < 2 or len(workloads) < 2:
        return None
    tables = [amounts[w, f] for f in frameworks for w in workloads]
    columns = list(dict.fromkeys(name for table in tables for name in table.columns))
    steps = [table.reindex(columns=columns, fill_value=0.0).to_numpy(float) for table in tables]
    grid = Grid(len(workloads), len(frameworks))
    square = cosine_square(np.stack([np.median(rows, axis=0) for rows in steps]))
    spreads = [float(square[np.ix_(grid.workload == w, grid.workload == w)].max()) for w in range(len(workloads))]
    widest = int(np.argmax(spreads))
    return Assessment(
        mode=mode,
        grouping=grouping,
        frameworks=frameworks,
        workloads=workloads,
        within=float(grid.within(square)),
        between=float(grid.between(square)),
        farthest=(workloads[widest], spreads[widest]),
        nearest=int(grid.nearest(square)),
        silhouette=silhouette(square, grid.workload),
        silhouette_framework=silhouette(square, grid.framework),
        p=grid.permutation_p(square),
        smallest_p=1 / math.factorial(len(workloads)) ** (len(frameworks) - 1),
        intervals=bootstrap_intervals(steps, grid),
    )


@dataclass(frozen=True)
class FrameworkLevel:
    """The framework question at one level: the graphs, their time in onnxruntime, or the frameworks' own time.

    Attributes:
        name: ``structure``, ``onnxruntime``, ``native``.
        what: What the op mixes are shares of, in words.
        assessments: By mode and by class and op, where there was enough data.
        differences: The ops in which frameworks differ most, with their largest nodes.
        unknown: Nodes left out because their cost is not known.
    """

    name: str
    what: str
    assessments: tuple[Assessment, ...]
    differences: tuple[ShareDifference, ...]
    unknown: int = 0

    @classmethod
    def of(cls, name: str, what: str, mixes: Sequence[OpMix]) -> FrameworkLevel:
        """The level of a set of labelled op mixes."""
        assessments = [assess(mixes, mode, grouping) for mode in MODES for grouping in ("class", "op")]
        return cls(
            name,
            what,
            tuple(a for a in assessments if a is not None),
            differences(mixes),
            sum(m.unknown for m in mixes),
        )

    @property
    def outcome(self) -> FrameworkOutcome:
        """``little`` where every assessment says so, ``much`` where one does; else ``mixed`` or ``unknown``."""
        outcomes = {a.outcome for a in self.assessments}
        if not outcomes or "unknown" in outcomes:
            return "unknown"
        if "much" in outcomes:
            return "much"
        return "little" if outcomes == {"little"} else "mixed"

    @property
    def verdict(self) -> str:
        """One line: the answer at this level, with its numbers."""
        head = f"By {self.what}"
        if not self.assessments:
            return (
                f"{head} it cannot be told whether the framework matters: that takes two workloads from two frameworks."
            )
        worst = max(self.assessments, key=lambda a: (a.ratio is None, a.ratio or 0.0))
        numbers = (
            f"frameworks of one workload are {worst.within:.3f} apart where workloads are {worst.between:.3f} "
            f"({worst.mode} by {worst.grouping}, the worst case)"
        )
        if self.outcome == "unknown":
            few = min(self.assessments, key=lambda a: len(a.workloads))
            return (
                f"{head} it cannot be told whether the framework matters: {len(few.workloads)} workloads are too few "
                f"for the permutation test; {numbers}."
            )
        failed = [f"{c} ({a.mode} by {a.grouping})" for a in self.assessments for c, met in a.met.items() if not met]
        if not failed:
            return f"{head} the framework matters little, by every criterion: {numbers}."
        total = len(CRITERIA) * len(self.assessments)
        answer = "the framework matters" if self.outcome == "much" else "the answer is mixed"
        return f"{head} {answer}: {len(failed)} of {total} criteria are not met, {', '.join(failed)}; {numbers}."

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "name": self.name,
            "what": self.what,
            "outcome": self.outcome,
            "verdict": self.verdict,
            "criteria": {c.name: c.text for c in CRITERIA},
            "assessments": [a.json() for a in self.assessments],
            "differences": [d.json() for d in self.differences],
            "unknown_nodes": self.unknown,
        }
