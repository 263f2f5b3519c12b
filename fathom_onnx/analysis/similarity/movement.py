"""How far workloads have moved: which of a newer suite lie outside of the space that an older suite spans.

The *reach* of a suite is the largest distance of one of its workloads from the nearest other one: how isolated the most
isolated of them is. A workload of the newer suite lies *outside* where it is farther than that from every workload of
the older one. Distances are cosine distances of op mixes of one framework in one mode (:mod:`.similarity`), as in the
paper's Figure 4 (Adolf et al., IISWC 2016). What counts as an answer is in :data:`CRITERIA`, which was fixed before the
first measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from fathom_onnx.errors import RunError

from .op_mix import OpMix
from .resampling import cosine_square, drawn_medians
from .similarity import Gap, MixGrouping

__all__ = [
    "CRITERIA",
    "ClassShift",
    "Movement",
    "MovementOutcome",
    "Placement",
    "class_shifts",
    "movement",
    "outside_everywhere",
    "verdict",
]

MovementOutcome = Literal["moved", "extended", "within", "open", "unknown"]
"""Whether a suite has moved: most of it outside, some of it, none of it; open workloads decide; or too little data."""

SURE = 0.95
"""Share of the resamples in which a workload must lie outside (or inside) to be said to."""

POINTS = 0.10
"""Difference of the mean shares of an op class between suites that counts."""

FACTOR = 2.0
"""Ratio of geometric means (FLOPs a byte, memory over parameters) between suites that counts."""

CRITERIA: tuple[tuple[str, str], ...] = (
    (
        "outside",
        "a workload of 2026 lies outside when the workload of 2016 nearest to it is farther than the most isolated "
        f"workload of 2016 is from its own nearest, in at least {SURE:.0%} of resamples of the rounds and steps and in "
        f"every framework; inside, when that is so in at most {1 - SURE:.0%} of them in every framework; else it is "
        "open",
    ),
    ("moved", "more than half of the workloads of 2026 lie outside, by op in training"),
    ("extended", "at least one, and at most half of them, lies outside, also if every open one did"),
    ("within", "all of them lie inside"),
    ("open", "none of these: the answer depends on workloads that are open"),
    (
        "op class",
        f"the mean share of an op class differs by at least {100 * POINTS:.0f} points between the suites, in the same "
        "direction in every framework",
    ),
    (
        "intensity",
        f"the geometric mean of FLOPs a byte of the training steps differs by a factor of {FACTOR:g} or more, in the "
        "same direction in every framework",
    ),
    (
        "memory",
        "the geometric mean of the tensors alive at the peak of a training step, over the bytes of its parameters, "
        f"differs by a factor of {FACTOR:g} or more, in the same direction in every framework",
    ),
)
"""Name and text of what is asked; the first five make the verdict."""

_GAPS = 3
_SEED = 0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """A workload of the newer suite among those of the older one.

    Attributes:
        workload: Its name.
        nearest: The nearest workload of the older suite.
        distance: The distance from that.
        outside_share: Share of the resamples in which it lies outside.
        gaps: Where the two differ most; the newer one's share first.
    """

    workload: str
    nearest: str
    distance: float
    outside_share: float
    gaps: tuple[Gap, ...]

    @property
    def outside(self) -> bool | None:
        """Whether it lies outside of the older suite; None where resampling the steps changes the answer."""
        if self.outside_share >= SURE:
            return True
        return False if self.outside_share <= 1 - SURE else None


@dataclass(frozen=True)
class Movement:
    """The workloads of a newer suite among those of an older one, in one framework and mode.

    Attributes:
        framework: The framework.
        mode: The mode.
        grouping: By op class or by op.
        reach: Distance of the most isolated workload of the older suite from its nearest.
        isolated: That workload.
        placements: The workloads of the newer suite, in their order.
    """

    framework: str
    mode: str
    grouping: MixGrouping
    reach: float
    isolated: str
    placements: tuple[Placement, ...]

    def json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        rows = [{**asdict(p), "gaps": [gap._asdict() for gap in p.gaps], "outside": p.outside} for p in self.placements]
        return {**asdict(self), "placements": rows}


def _nearest(square: Floats, old: int) -> tuple[Floats, Floats]:
    """Distances [..., old] and [..., new] of every workload from the nearest other one of the older suite."""
    among = square[..., :old, :old] + np.where(np.eye(old, dtype=bool), np.inf, 0.0)
    return among.min(axis=-1), square[..., old:, :old].min(axis=-1)


def movement(older: Sequence[OpMix], newer: Sequence[OpMix], grouping: MixGrouping) -> Movement:
    """Place the workloads of a newer suite among those of an older one.

    Rounds and steps are drawn with replacement, for each run by itself (:func:`~.resampling.drawn_medians`), to say how
    sure the answer is; a mix of one row has nothing to draw.

    Args:
        older: Op mixes of different workloads, two or more.
        newer: Op mixes of other workloads, all of the same framework and mode.
        grouping: By op class or by op.

    Raises:
        RunError: Fewer than two older workloads or none of the newer, or mixed frameworks, modes or names.
    """
    mixes = [*older, *newer]
    kinds = {(m.label.framework, m.label.mode) for m in mixes}
    names = [m.label.workload for m in mixes]
    if len(older) < 2 or not newer or len(kinds) != 1 or len(set(names)) != len(names):
        raise RunError("suites are compared by runs of one framework and mode: two workloads or more, and one or more")
    ((framework, mode),) = kinds
    tables = [m.in_rounds(grouping) for m in mixes]
    columns = list(dict.fromkeys(name for several in tables for table in several for name in table.columns))
    steps = [[t.reindex(columns=columns, fill_value=0.0).to_numpy(float) for t in several] for several in tables]
    medians = np.stack([np.median(np.concatenate(several), axis=0) for several in steps])
    square = cosine_square(medians)
    own, away = _nearest(square, len(older))
    generator = np.random.default_rng(_SEED)
    drawn = np.stack([drawn_medians(several, generator) for several in steps], axis=1)
    drawn_own, drawn_away = _nearest(cosine_square(drawn), len(older))
    outside = (drawn_away > drawn_own.max(axis=-1, keepdims=True)).mean(axis=0)
    shares = pd.DataFrame(medians / medians.sum(axis=1, keepdims=True), index=names, columns=columns)
    placements = []
    for place, mix in enumerate(newer):
        name, near = mix.label.workload, names[int(square[len(older) + place, : len(older)].argmin())]
        placements.append(
            Placement(name, near, float(away[place]), float(outside[place]), _gaps(shares.loc[name], shares.loc[near]))
        )
    return Movement(framework, mode, grouping, float(own.max()), names[int(own.argmax())], tuple(placements))


def _gaps(new: pd.Series[float], old: pd.Series[float]) -> tuple[Gap, ...]:
    largest = (new - old).abs().sort_values(ascending=False, kind="stable").index[:_GAPS]
    return tuple(Gap(str(name), float(new[name]), float(old[name])) for name in largest if new[name] != old[name])


def outside_everywhere(movements: Sequence[Movement]) -> dict[str, bool | None]:
    """Workload to whether it lies outside in every framework, inside in every one (False), or neither (None).

    Args:
        movements: Those of one mode and grouping, one a framework; a workload that one of them lacks is left out.
    """
    answers: dict[str, list[bool | None]] = {}
    for one in movements:
        for placement in one.placements:
            answers.setdefault(placement.workload, []).append(placement.outside)
    whole = {name: found for name, found in answers.items() if len(found) == len(movements)}
    return {name: found[0] if len(set(found)) == 1 else None for name, found in whole.items()}


def verdict(movements: Sequence[Movement]) -> tuple[MovementOutcome, str]:
    """The answer and one line that states it with its numbers.

    Args:
        movements: Those by op in training, one a framework.
    """
    answers = outside_everywhere(movements)
    if not answers:
        return "unknown", "It cannot be told how far workloads have moved: that takes training runs of both suites."
    outside = [name for name, found in answers.items() if found]
    unsure = [name for name, found in answers.items() if found is None]
    reaches = "; ".join(f"{m.framework}: {m.reach:.3f} ({m.isolated})" for m in movements)
    count = f"{len(outside)} of {len(answers)} workloads of 2026"
    named = f" ({', '.join(outside)})" if outside else ""
    open_ones = f"; frameworks or resamples do not agree about {', '.join(unsure)}" if unsure else ""
    fewest = _outcome(len(outside), len(answers))
    outcome = fewest if fewest == _outcome(len(outside) + len(unsure), len(answers)) else "open"
    words = {
        "moved": "Workloads have moved: ",
        "extended": "Workloads of today extend the suite of 2016: ",
        "within": "Workloads of today lie within the suite of 2016: ",
        "open": "How far workloads have moved is open: ",
    }[outcome]
    return outcome, f"{words}{count} lie farther from it than its own reach{named}{open_ones}. Reach: {reaches}."


def _outcome(outside: int, workloads: int) -> MovementOutcome:
    """The outcome where so many of so many workloads lie outside."""
    if 2 * outside > workloads:
        return "moved"
    return "extended" if outside else "within"


@dataclass(frozen=True)
class ClassShift:
    """Mean share of an op class over the workloads of each suite, in one framework and mode."""

    framework: str
    op_class: str
    older: float
    newer: float

    @property
    def points(self) -> float:
        """The newer suite's mean share less the older one's."""
        return self.newer - self.older


def class_shifts(older: Sequence[OpMix], newer: Sequence[OpMix]) -> list[ClassShift]:
    """Mean shares of the op classes of runs of one framework and mode, the largest difference first."""
    framework = older[0].label.framework
    means = [pd.DataFrame([m.shares("class") for m in mixes]).mean() for mixes in (older, newer)]
    shifts = [ClassShift(framework, str(c), float(means[0][c]), float(means[1][c])) for c in means[0].index]
    return sorted(shifts, key=lambda s: -abs(s.points))
