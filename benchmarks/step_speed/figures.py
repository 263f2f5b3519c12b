"""Medians, spreads and ratios of the turns that a case gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["Ratio", "best_of_framework", "ratio", "summary"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ratio:
    """A ratio of step times, ours to the other's, and its bootstrap interval."""

    value: float
    low: float
    high: float


def summary(turns: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Median, minimum and spread of a contestant's steps in ms, and its disturbed turns.

    The median is that of the turns' medians; the spread is their range over it. Quiet turns count alone, unless there
    is none.
    """
    quiet = [turn for turn in turns if not turn["disturbed"]] or turns
    medians = np.array([np.median(turn["times_s"]) for turn in quiet]) * 1e3
    median = float(np.median(medians))
    return {
        "median_ms": median,
        "minimum_ms": min(min(turn["times_s"]) for turn in turns) * 1e3,
        "spread": float(np.ptp(medians)) / median,
        "disturbed": sum(turn["disturbed"] for turn in turns),
        "turns": len(turns),
    }


def ratio(ours: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> Ratio:
    """The ratio of two contestants' medians over the turns, with the interval that resampling the rounds gives.

    Both are resampled together, since what slowed a round slowed both of its turns. Rounds in which either turn was
    disturbed are left out, unless fewer than three would stay.
    """
    pairs = list(zip(ours, others, strict=False))
    quiet = [(a, b) for a, b in pairs if not (a["disturbed"] or b["disturbed"])]
    used = quiet if len(quiet) >= min(3, len(pairs)) else pairs
    x, y = (np.array([np.median(turn["times_s"]) for turn in side]) for side in zip(*used, strict=True))

    def of_medians(a: Any, b: Any, axis: int = -1) -> Any:
        return np.median(a, axis=axis) / np.median(b, axis=axis)

    value = float(of_medians(x, y))
    if len(x) < 2:
        return Ratio(value, float("nan"), float("nan"))
    found = stats.bootstrap(
        (x, y),
        of_medians,
        paired=True,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Ratio(value, float(found.low), float(found.high))


def best_of_framework(rows: Sequence[Mapping[str, Any]], framework: str) -> Mapping[str, Any] | None:
    """The row of a framework's own fastest mode, by the median; None where it has none."""
    own = [row for row in rows if row["framework"] == framework and not row["ours"] and row.get("median_ms")]
    return min(own, key=lambda row: row["median_ms"], default=None)
