"""Whether two sets of step times differ: a test, its correction for many rows, intervals, and the steps it takes.

A row (a layer, an op, ...) has one total a step in each run. The totals of two runs are compared with the Mann-Whitney
U test: steps are few, and their times are skewed by whatever disturbs a machine, so that ranks say more than means; and
U has an exact distribution for any number of steps, so that a p-value is right even for three. Over the rows of a table
the p-values are corrected by Benjamini and Hochberg (1995). With few steps even two runs without any overlap give a
large p-value; how many steps would have been enough is then part of the answer.

Times are microseconds. The size of a row is the sum over its parts of each part's median over the steps, as everywhere
in a run; the interval of the ratio of two sizes is a percentile bootstrap over whole steps, which keeps what the parts
of a step have in common.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, cast

import numpy as np
import numpy.typing as npt

__all__ = ["ALPHA", "CONFIDENCE", "Evidence", "Steps", "evidence", "steps_to_separate", "steps_to_show"]

Floats = npt.NDArray[np.float64]

ALPHA = 0.05
"""Share of false alarms among the rows called slower or faster that is accepted."""

CONFIDENCE = 0.95
"""Of the bootstrap intervals."""

_POWER = 0.8
_RESAMPLES = 1000
_SEED = 0
_EXACT_UP_TO = 50
"""Steps up to which the exact distribution of U is used; beyond, the normal one is the same to three digits."""

_BATCH_ELEMENTS = 4_000_000
_MOST_STEPS = 10_000


@dataclass(frozen=True)
class Steps:
    """The times of one run by step, and how they add up to rows.

    Attributes:
        samples: Times of the parts, [steps, parts], in microseconds.
        weights: Share of each part that counts to each row, [parts, rows]; a ``scipy.sparse`` array.
    """

    samples: Floats
    weights: Any

    @cached_property
    def sizes(self) -> Floats:
        """Median of each part over the steps, summed by row, [rows]."""
        return cast(Floats, np.median(self.samples, axis=0) @ self.weights)

    @property
    def totals(self) -> Floats:
        """Total of each row in each step, [steps, rows]; whole up to what divided weights leave."""
        return cast(Floats, np.round(self.samples @ self.weights, 6))

    def resampled(self, steps: npt.NDArray[np.int64]) -> Floats:
        """Sizes of the rows for choices of steps [choices, steps], as [choices, rows]."""
        return cast(Floats, np.median(self.samples[steps], axis=1) @ self.weights)


@dataclass(frozen=True)
class Evidence:
    """What the steps of two runs say about each row; arrays are [rows].

    Attributes:
        p: Two-sided p-value of the Mann-Whitney U test, not yet corrected.
        above: Share of the pairs (a step of A, a step of B) in which B's is longer, ties half: 0 to 1.
        low: Lower end of the interval of size B / size A; NaN where it cannot be told.
        high: Its upper end.
    """

    p: Floats
    above: Floats
    low: Floats
    high: Floats

    def rows(self, chosen: slice) -> Evidence:
        """That of some rows."""
        return Evidence(self.p[chosen], self.above[chosen], self.low[chosen], self.high[chosen])


def _test(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """P-values and share of pairs in which B is longer; ``a`` and ``b`` are totals [steps, rows]."""
    from scipy import stats

    p = np.ones(a.shape[1])
    above = np.full(a.shape[1], 0.5)
    pooled = np.sort(np.concatenate([a, b]), axis=0)
    tied = (np.diff(pooled, axis=0) == 0).any(axis=0)
    exact = ~tied if max(len(a), len(b)) <= _EXACT_UP_TO else np.zeros_like(tied)
    constant = pooled[0] == pooled[-1]
    for chosen, method in ((exact, "exact"), (~exact & ~constant, "asymptotic")):
        if chosen.any():
            result = stats.mannwhitneyu(b[:, chosen], a[:, chosen], axis=0, method=method)
            p[chosen] = result.pvalue
            above[chosen] = result.statistic / (len(a) * len(b))
    return p, above


def _intervals(a: Steps, b: Steps) -> tuple[Floats, Floats]:
    """Bootstrap intervals of size B / size A; steps of the two runs are drawn apart from each other."""
    from scipy import stats

    rows = a.weights.shape[1]
    unknown = np.full(rows, np.nan)
    if min(len(a.samples), len(b.samples)) < 2 or not rows:
        return unknown, unknown.copy()

    def ratio(steps_a: npt.NDArray[np.int64], steps_b: npt.NDArray[np.int64], axis: int = -1) -> Floats:
        below, over = a.resampled(steps_a), b.resampled(steps_b)
        return np.divide(over, below, out=np.full_like(over, np.nan), where=below > 0).T

    largest = max(a.samples.size, b.samples.size)
    with warnings.catch_warnings():
        # a row without time in some choice of steps has no ratio there, and then no interval
        warnings.simplefilter("ignore")
        result = stats.bootstrap(
            (np.arange(len(a.samples)), np.arange(len(b.samples))),
            ratio,
            vectorized=True,
            n_resamples=_RESAMPLES,
            batch=max(1, _BATCH_ELEMENTS // largest),
            confidence_level=CONFIDENCE,
            method="percentile",
            random_state=np.random.default_rng(_SEED),
        )
    return np.asarray(result.confidence_interval.low, float), np.asarray(result.confidence_interval.high, float)


def evidence(a: Steps, b: Steps) -> Evidence:
    """What two runs' steps say about the rows that both have.

    Args:
        a: Steps of the first run.
        b: Steps of the second; the same rows in the same order.
    """
    p, above = _test(a.totals, b.totals)
    low, high = _intervals(a, b)
    return Evidence(p, above, low, high)


def steps_to_separate(rows: int, steps_a: int | None = None, steps_b: int | None = None) -> int | None:
    """Steps a run must have so that a difference without any overlap is significant among ``rows`` rows.

    The smallest p-value of the exact test is ``2 / C(a + b, a)``; it must not exceed ``ALPHA / rows``, which is what
    the correction asks of a row that is the only one to differ.

    Args:
        rows: Rows that are tested together.
        steps_a: Steps of the first run, to ask whether what is there is enough.
        steps_b: Steps of the second.

    Returns:
        Steps for each of the two runs, or None where those given are enough.
    """
    limit = ALPHA / max(rows, 1)
    if steps_a is not None and steps_b is not None and limit * math.comb(steps_a + steps_b, steps_a) >= 2:
        return None
    count = 1
    while limit * math.comb(2 * count, count) < 2:
        count += 1
    return count


def steps_to_show(above: float, rows: int) -> int | None:
    """Steps a run must have so that a difference of this size is found four times in five.

    Noether's formula for the Mann-Whitney U test with groups of equal size ("Sample size determination for some common
    nonparametric tests", JASA 1987): ``N = (z_alpha/2 + z_power)^2 / (3 (above - 1/2)^2)`` steps in both runs together.

    Args:
        above: Share of the pairs of steps in which the second run's is longer.
        rows: Rows that are tested together.

    Returns:
        Steps for each of the two runs; None where there is no difference to show, or over 10,000 would be needed.
    """
    if above == 0.5:
        return None
    z = NormalDist().inv_cdf(_POWER) - NormalDist().inv_cdf(ALPHA / max(rows, 1) / 2)
    each = math.ceil(z**2 / (3 * (above - 0.5) ** 2) / 2)
    return each if each <= _MOST_STEPS else None
