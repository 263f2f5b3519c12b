"""Does the framework matter? The question at one level, of every two frameworks, and the answer in words.

The paper (Adolf et al., IISWC 2016, section III-C) states that the primitive operations dominate performance, so that
the choice of framework matters little. The statement is tested at several levels: the graphs alone (modelled cost, no
execution), their time in onnxruntime, and the time of the frameworks themselves. At each of them there is an
:class:`~.distances.Assessment` for every pair of frameworks, by mode, by op class and by op.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from fathom_onnx.workloads.contract import MODES

from .criteria import CRITERIA, RULES, FrameworkOutcome, most_given, share_of, together
from .distances import Assessment, assess
from .op_mix import OpMix
from .share_differences import ShareDifference, differences
from .similarity import MixGrouping

__all__ = ["FrameworkLevel"]

_ANSWERS: dict[FrameworkOutcome, str] = {
    "little": "the framework matters little",
    "much": "the framework matters",
    "mixed": "the answer is mixed",
    "unknown": "it cannot be told whether the framework matters",
}


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
