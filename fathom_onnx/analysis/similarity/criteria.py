"""The criteria for an answer to the framework question, and the numbers that they are asked of.

They were fixed before the first measurement, restated for rounds before the first measurement in rounds, and for more
than two frameworks before the first measurement of three: they are about two frameworks, and asked of every pair.

Since they have thresholds, an answer that is asked for once depends on noise where a number lies at one. What most
resamples answer depends on it less (L. Breiman, Bagging predictors, Machine Learning 24, 1996; P. Buehlmann and B. Yu,
Analyzing bagging, Annals of Statistics 30, 2002). This was restated after four studies, whose answers to one level
differed, and before the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["CRITERIA", "RULES", "Criterion", "FrameworkOutcome", "Statistics", "most_given", "share_of", "together"]

FrameworkOutcome = Literal["little", "much", "mixed", "unknown"]
"""Whether the framework matters: little, much, by some criteria only, or too little data to say. Each claims less than
the ones before it."""


@dataclass(frozen=True)
class Statistics:
    """The numbers that an answer to the framework question is made of.

    Distances are what counts of them (:func:`~.resampling.counted`): the part above the noise floor.

    Attributes:
        workloads: The workloads that all frameworks ran.
        within: Mean distance between the frameworks of a workload.
        between: Mean distance between two workloads, over all frameworks.
        nearest: Of how many workloads every run is nearer to one of its own than to any other, as far as noise lets it
            be told.
        silhouette: Silhouette with workloads as labels, -1 to 1, None where it is not defined.
        silhouette_framework: The same with frameworks as labels.
        p: Probability of a ``within`` this small when workload labels are permuted at random.
        smallest_p: The smallest ``p`` that this number of workloads can give.
        floor: Mean noise floor of the pairs that ``within`` is about; None where no run has several rounds.
        workloads_apart: Mean distance between two workloads, all of it, also what does not count.
    """

    workloads: tuple[str, ...]
    within: float
    between: float
    nearest: int
    silhouette: float | None
    silhouette_framework: float | None
    p: float
    smallest_p: float
    floor: float | None
    workloads_apart: float

    @property
    def ratio(self) -> float | None:
        """``within / between``; None where all workloads are the same."""
        return self.within / self.between if self.between > 0 else None

    @property
    def resolved(self) -> bool:
        """Whether the noise is small enough to answer: it does not hide what the criterion ``ratio`` asks for."""
        return self.floor is None or self.floor <= RATIO_AT_MOST * self.workloads_apart

    @property
    def met(self) -> dict[str, bool]:
        """Criterion to whether it is met."""
        return {c.name: c.met(self) for c in CRITERIA}

    @property
    def outcome(self) -> FrameworkOutcome:
        """Whether the framework matters ``little`` or ``much``, by the criteria; ``mixed`` or ``unknown`` else."""
        if self.smallest_p > P_AT_MOST or not self.resolved:
            return "unknown"
        if all(self.met.values()):
            return "little"
        if self.p > P_AT_MOST or 2 * self.nearest < len(self.workloads):
            return "much"
        return "mixed"


@dataclass(frozen=True)
class Criterion:
    """A condition for the framework to matter little."""

    name: str
    text: str
    met: Callable[[Statistics], bool]


P_AT_MOST = 0.01
RATIO_AT_MOST = 0.25

CRITERIA: tuple[Criterion, ...] = (
    Criterion(
        "nearest",
        "in at least 7 of 8 workloads every framework's profile has another framework's of that workload nearest, or "
        "farther than the nearest by no more than the noise floor",
        lambda a: 8 * a.nearest >= 7 * len(a.workloads),
    ),
    Criterion(
        "ratio",
        "frameworks of one workload are on average at most a quarter as far apart as two workloads",
        lambda a: a.ratio is not None and a.ratio <= RATIO_AT_MOST,
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
workloads: it matters much. Anything between is mixed. Too few workloads for the permutation test, or a mean noise floor
above a quarter of the distance between workloads: unknown. Of a distance, what exceeds the noise floor counts."""

RULES: tuple[tuple[str, str], ...] = (
    (
        "distance",
        "of a distance counts what exceeds the noise floor: the largest distance between two rounds of either run",
    ),
    (
        "noise",
        "no answer where the mean floor is above a quarter of the distance between workloads, which would hide what "
        "the ratio asks for",
    ),
    (
        "resamples",
        "of what was measured the answer is the one that most resamples of rounds and steps give: over all, of each "
        "pair of frameworks, of each mode and grouping; of equally many the measured point's, or else the one that "
        "claims least",
    ),
)
"""Name and text of what else makes an answer: what counts as a distance, and when there is no answer."""


def most_given(resampled: Sequence[FrameworkOutcome], measured: FrameworkOutcome) -> FrameworkOutcome:
    """The outcome that most resamples give; of equally many the measured one, or else the one that claims least.

    Args:
        resampled: The outcomes of the resamples; where there are none, the measured one is the answer.
        measured: The outcome of what was measured.
    """
    counts = Counter(resampled)
    claims_less = get_args(FrameworkOutcome).index
    return max(counts, key=lambda o: (counts[o], o == measured, claims_less(o)), default=measured)


def share_of(outcomes: Sequence[FrameworkOutcome], outcome: FrameworkOutcome) -> float | None:
    """How often an outcome is among some; None where there are none."""
    return outcomes.count(outcome) / len(outcomes) if outcomes else None


def together(outcomes: Iterable[FrameworkOutcome]) -> FrameworkOutcome:
    """The outcome of a level from those of its assessments."""
    found = set(outcomes)
    if not found or "unknown" in found:
        return "unknown"
    if "much" in found:
        return "much"
    return "little" if found == {"little"} else "mixed"
