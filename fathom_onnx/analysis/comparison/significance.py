"""Significance of the difference of two runs' step times: test, bootstrap intervals, and the number of steps needed.

A row (a layer, an op, ...) has one total per step in each run. The totals of two runs are compared with the
Mann-Whitney U test: steps are few and their times are skewed by disturbances of the machine, so that ranks are more
robust than means; and U has an exact distribution for any number of steps, so that a p-value is valid even for three.
Over the rows of a table the p-values are corrected by the procedure of Benjamini and Hochberg (1995). With few steps
even two runs without any overlap give a large p-value; the number of steps that would be enough is then part of the
answer.

Times are microseconds. The size of a row is the sum over its parts of each part's median over the steps, as everywhere
in a run. The interval of the ratio of two sizes is a percentile bootstrap over whole steps, which preserves the
correlation between the parts of a step.
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

__all__ = [
    "ALPHA",
    "CONFIDENCE",
    "RowSamples",
    "SignificanceTest",
    "compare_steps",
    "steps_to_separate",
    "steps_to_show",
]

FloatArray = npt.NDArray[np.float64]

ALPHA = 0.05
"""Accepted share of false discoveries among the rows called slower or faster."""

CONFIDENCE = 0.95
"""Confidence of the bootstrap intervals."""

_POWER = 0.8
_RESAMPLES = 1000
_SEED = 0
_EXACT_UP_TO = 50
"""Steps up to which the exact distribution of U is used; beyond, the normal approximation agrees to three digits."""

_BATCH_ELEMENTS = 4_000_000
_MOST_STEPS = 10_000


@dataclass(frozen=True)
class RowSamples:
    """The step times of one run's parts, and the weights with which they add up to rows.

    Attributes:
        samples: Times of the parts, [steps, parts], microseconds.
        weights: Share of each part that counts towards each row, [parts, rows]; an array, also of ``scipy.sparse``.
    """

    samples: FloatArray
    weights: Any

    @cached_property
    def sizes(self) -> FloatArray:
        """Median of each part over the steps, summed by row, [rows]."""
        return cast(FloatArray, np.median(self.samples, axis=0) @ self.weights)

    @property
    def totals(self) -> FloatArray:
        """Total of each row in each step, [steps, rows], rounded so that equal totals tie despite divided weights."""
        return cast(FloatArray, np.round(self.samples @ self.weights, 6))

    def resampled(self, steps: npt.NDArray[np.int64]) -> FloatArray:
        """Sizes of the rows, [choices, rows], for resampled steps, [choices, steps]."""
        return cast(FloatArray, np.median(self.samples[steps], axis=1) @ self.weights)


@dataclass(frozen=True)
class SignificanceTest:
    """The result of testing each row of two runs; arrays are [rows].

    Attributes:
        p: Two-sided p-value of the Mann-Whitney U test, not yet corrected.
        above: Share of the pairs (a step of A, a step of B) in which B's is longer, ties half: 0 to 1.
        low: Lower end of the interval of size B / size A; NaN where unknown.
        high: Upper end of the interval.
    """

    p: FloatArray
    above: FloatArray
    low: FloatArray
    high: FloatArray

    def rows(self, chosen: slice) -> SignificanceTest:
        """The result for some of the rows."""
        return SignificanceTest(self.p[chosen], self.above[chosen], self.low[chosen], self.high[chosen])


def _mann_whitney(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """P-values, and share of pairs in which B is longer, from totals [steps, rows]."""
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


def _intervals(a: RowSamples, b: RowSamples) -> tuple[FloatArray, FloatArray]:
    """Bootstrap intervals of size B / size A; the steps of the two runs are resampled independently."""
    from scipy import stats

    rows = a.weights.shape[1]
    unknown = np.full(rows, np.nan)
    if min(len(a.samples), len(b.samples)) < 2 or not rows:
        return unknown, unknown.copy()

    def ratio(steps_a: npt.NDArray[np.int64], steps_b: npt.NDArray[np.int64], axis: int = -1) -> FloatArray:
        sizes_a, sizes_b = a.resampled(steps_a), b.resampled(steps_b)
        return np.divide(sizes_b, sizes_a, out=np.full_like(sizes_b, np.nan), where=sizes_a > 0).T

    largest = max(a.samples.size, b.samples.size)
    with warnings.catch_warnings():
        # a row with no time in one of the resamples has no ratio there and hence no interval
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


def compare_steps(a: RowSamples, b: RowSamples) -> SignificanceTest:
    """Test each row of two runs.

    Args:
        a: Samples of run A.
        b: Samples of run B; the same rows in the same order.
    """
    p, above = _mann_whitney(a.totals, b.totals)
    low, high = _intervals(a, b)
    return SignificanceTest(p, above, low, high)


def steps_to_separate(rows: int, steps_a: int | None = None, steps_b: int | None = None) -> int | None:
    """Steps that each run needs for a difference without any overlap to be significant among ``rows`` rows.

    The smallest p-value of the exact test is ``2 / C(a + b, a)``. It must not exceed ``ALPHA / rows``, the limit of the
    correction for the only row that differs.

    Args:
        rows: Rows that are tested together.
        steps_a: Existing steps of run A, to check whether they are enough.
        steps_b: Existing steps of run B.

    Returns:
        Steps for each of the two runs, or None if the existing ones are enough.
    """
    limit = ALPHA / max(rows, 1)
    if steps_a is not None and steps_b is not None and limit * math.comb(steps_a + steps_b, steps_a) >= 2:
        return None
    count = 1
    while limit * math.comb(2 * count, count) < 2:
        count += 1
    return count


def steps_to_show(above: float, rows: int) -> int | None:
    """Steps that each run needs for a difference of this size to be detected with a power of 0.8.

    Noether's formula for the Mann-Whitney U test with groups of equal size ("Sample size determination for some common
    nonparametric tests", JASA 1987): ``N = (z_alpha/2 + z_power)^2 / (3 (above - 1/2)^2)`` steps in both runs together.

    Args:
        above: Share of the pairs of steps in which the second run's is longer.
        rows: Rows that are tested together.

    Returns:
        Steps for each of the two runs; None without a difference, or if over 10,000 steps would be needed.
    """
    if above == 0.5:
        return None
    z = NormalDist().inv_cdf(_POWER) - NormalDist().inv_cdf(ALPHA / max(rows, 1) / 2)
    each = math.ceil(z**2 / (3 * (above - 0.5) ** 2) / 2)
    return each if each <= _MOST_STEPS else None
