"""Statistics of a run's steps: spread, warm-up, trends, and the profiler's own cost.

Times are microseconds; a matrix of samples is [steps, nodes]. What too few steps cannot tell is NaN or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

__all__ = ["Floor", "WarmUp", "drifts", "node_statistics", "profiler_floor", "warm_up"]

LEVEL = 0.05
"""Level of significance, after correction over the nodes."""

TREND_STEPS = 5
"""Steps below which no order of times is rarer than the level: 2 of 4! orders are rising or falling throughout."""

MINIMUM_DRIFT = 0.05
"""Relative change over the run below which a trend, however significant, is not called one."""

MINIMUM_CHANGE_US = 2.0
"""The same in microseconds: durations are rounded down to whole ones, so that a smaller change may be all rounding."""

WARM_UP_STEPS = 10
"""Steps below which no warm-up is looked for."""

BATCH, BATCHED_STEPS = 5, 50
"""Steps that are averaged before looking for warm-up, where there are at least so many."""

Samples = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class WarmUp:
    """Steps at the start that are not yet as the rest.

    Attributes:
        steps: Their number; never more than half of the steps.
        settled: Whether the rest is steady as far as the rule can tell; None where it cannot tell.
        reason: Why it cannot tell or is not settled; else empty.
    """

    steps: int
    settled: bool | None
    reason: str = ""


def warm_up(step_us: Sequence[float] | Samples) -> WarmUp:
    """Find warm-up by the rule MSER (marginal standard error), with batches of 5 where there are 50 steps.

    It cuts off the first d steps so that ``variance(rest) / len(rest)`` is smallest, with d up to half of the steps: a
    minimum at the half means that the run was too short. Of those d, warm-up is the longest start most steps of which
    lie outside the rest's usual range (quartiles and 1.5 times their distance beyond): a disturbance later on is none.

    Source: K. P. White, An effective truncation heuristic for bias reduction in simulation output, Simulation 69(6),
    1997; batches: K. P. White, M. J. Cobb, S. C. Spratt, A comparison of five steady-state truncation heuristics for
    simulation, Winter Simulation Conference 2000.
    """
    times = np.asarray(step_us, float)
    if len(times) < WARM_UP_STEPS:
        return WarmUp(0, None, f"{len(times)} steps are too few to look for warm-up, which takes {WARM_UP_STEPS}")
    size = BATCH if len(times) >= BATCHED_STEPS else 1
    count = len(times) // size
    means = times[: count * size].reshape(count, size).mean(axis=1)
    errors = [means[cut:].var() / (count - cut) for cut in range(count // 2 + 1)]
    cut = int(np.argmin(errors))
    rest = times[cut * size :]
    low, high = np.percentile(rest, [25, 75])
    reach = stats.iqr(rest) * 1.5
    start = times[: cut * size]
    unusual = (start < low - reach) | (start > high + reach)
    ends = np.flatnonzero(unusual & (np.cumsum(unusual) * 2 > np.arange(1, len(start) + 1)))
    if not len(ends):
        return WarmUp(0, True)
    if cut == count // 2:
        return WarmUp(
            0, False, "the steps were still changing at half of the run; more warm-up or more steps are needed"
        )
    return WarmUp(int(ends[-1]) + 1, True)


def drifts(samples: Samples) -> npt.NDArray[np.float64]:
    """Relative change of each column over the run, 0 where there is no trend, NaN where the steps are too few.

    A trend is significant by Kendall's tau of time against step, corrected over the columns by Benjamini and Hochberg's
    procedure, and large enough: the Theil-Sen slope over the whole run is at least :data:`MINIMUM_DRIFT` of the median
    and :data:`MINIMUM_CHANGE_US`. Source: H. B. Mann, Nonparametric tests against trend, Econometrica 13, 1945.

    Args:
        samples: Times, [steps, columns].
    """
    times = np.asarray(samples, float)
    steps, columns = times.shape
    if steps < TREND_STEPS:
        return np.full(columns, np.nan)
    found = np.zeros(columns)
    # what varies by less has no trend that could be told, and need not be tested
    moving = np.flatnonzero(np.ptp(times, axis=0) >= MINIMUM_CHANGE_US)
    if not len(moving):
        return found
    order = np.arange(steps)
    chances = np.ones(columns)
    chances[moving] = [stats.kendalltau(order, times[:, column]).pvalue for column in moving]
    for column in np.flatnonzero(stats.false_discovery_control(chances) < LEVEL):
        change = stats.theilslopes(times[:, column], order).slope * (steps - 1)
        usual = float(np.median(times[:, column]) or times[:, column].mean())
        if abs(change) >= max(MINIMUM_CHANGE_US, MINIMUM_DRIFT * usual):
            found[column] = change / usual
    return found


def node_statistics(samples: Samples) -> pd.DataFrame:
    """A row for each column of samples: ``median_us``, ``q1_us``, ``q3_us``, ``mean_us``, ``cv`` and ``drift``.

    ``cv`` is the sample standard deviation over the mean: NaN for a single step, and where the mean is 0.
    """
    table = pd.DataFrame(np.asarray(samples, float))
    quartiles = table.quantile([0.25, 0.5, 0.75])
    mean = table.mean()
    return pd.DataFrame(
        {
            "median_us": quartiles.loc[0.5],
            "q1_us": quartiles.loc[0.25],
            "q3_us": quartiles.loc[0.75],
            "mean_us": mean,
            "cv": table.std() / mean.where(mean > 0),
            "drift": drifts(samples),
        }
    )


@dataclass(frozen=True)
class Floor:
    """The profiler's own cost of one executed node, microseconds.

    Attributes:
        us: (median profiled step - median unprofiled step) / nodes executed in a step; 0 where the profiled step is
            the faster one.
        low_us: Lower end of its 95 % bootstrap interval; None with a single step of either kind.
        high_us: Upper end.
        executions: Nodes executed in a step.
    """

    us: float
    low_us: float | None
    high_us: float | None
    executions: float


def profiler_floor(step_us: Sequence[float], control_us: Sequence[float], executions: float) -> Floor:
    """Estimate the profiler's cost of a node from a run's profiled and unprofiled steps.

    The interval is a percentile bootstrap of the difference of the medians (scipy), from a fixed seed.

    Args:
        step_us: Wall times of the profiled steps.
        control_us: Wall times of the unprofiled steps.
        executions: Nodes executed in a step, above 0.
    """

    def cost(profiled: npt.NDArray[np.float64], control: npt.NDArray[np.float64], axis: int = -1) -> Samples:
        difference = np.median(profiled, axis=axis) - np.median(control, axis=axis)
        clipped: Samples = np.maximum(difference, 0.0) / executions
        return clipped

    data = np.asarray(step_us, float), np.asarray(control_us, float)
    us = float(cost(*data))
    if min(len(part) for part in data) < 2:
        return Floor(us, None, None, executions)
    spread = stats.bootstrap(
        data, cost, n_resamples=2000, method="percentile", vectorized=True, random_state=np.random.default_rng(0)
    ).confidence_interval
    return Floor(us, float(spread.low), float(spread.high), executions)
