"""The steps of a run: which of them count after warm-up, their trend and spread, and the profiler's own cost.

Times are microseconds; a matrix of samples is [steps, nodes]. A value that too few steps cannot determine is NaN or
None.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fathom_onnx.runtime.traces.steps import Microseconds, StepTimes

__all__ = [
    "CountedSteps",
    "Floor",
    "WarmUp",
    "count_steps",
    "drifts",
    "node_statistics",
    "profiler_floor",
    "warm_up",
]

SIGNIFICANCE = 0.05
"""Level of significance of a trend, after correction over the nodes."""

TREND_STEPS = 5
"""Fewest steps with a significant order of times: of 4 steps, 2 of the 4! orders rise or fall throughout, over 5 %."""

MINIMUM_DRIFT = 0.05
"""Relative change over the run below which even a significant trend is ignored."""

MINIMUM_CHANGE_US = 2.0
"""The same in microseconds: durations are rounded down to whole ones, so a smaller change may be rounding alone."""

COMPARED_STEPS = 30
"""Most steps of which nodes are compared before their trends are tested: with more, few of them are alike."""

WARM_UP_STEPS = 10
"""Fewest steps in which warm-up is detected."""

BATCH, BATCHED_STEPS = 5, 50
"""Steps are averaged in batches of ``BATCH`` before warm-up is detected if there are at least ``BATCHED_STEPS``."""


@dataclass(frozen=True)
class WarmUp:
    """The warm-up at the start of a series of steps.

    Attributes:
        steps: Number of warm-up steps; never more than half of the steps.
        settled: Whether the remaining steps are steady by the rule; None if there are too few steps to decide.
        reason: Why ``settled`` is None or False; else empty.
    """

    steps: int
    settled: bool | None
    reason: str = ""


def warm_up(step_us: Sequence[float] | Microseconds) -> WarmUp:
    """Detect warm-up by the MSER rule (marginal standard error rule), in batches of 5 from 50 steps on.

    The rule cuts off the first d steps so that ``variance(rest) / len(rest)`` is smallest, with d up to half of the
    steps; a minimum at half of the steps means that the run was too short. Of those d steps, warm-up is the longest
    prefix in which most steps are outliers of the rest (more than 1.5 interquartile ranges beyond its quartiles), so
    that a disturbance later in the run is not taken for warm-up.

    Source: K. P. White, An effective truncation heuristic for bias reduction in simulation output, Simulation 69(6),
    1997; batches: K. P. White, M. J. Cobb, S. C. Spratt, A comparison of five steady-state truncation heuristics for
    simulation, Winter Simulation Conference 2000.
    """
    from scipy import stats

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
    margin = stats.iqr(rest) * 1.5
    start = times[: cut * size]
    outlying = (start < low - margin) | (start > high + margin)
    ends = np.flatnonzero(outlying & (np.cumsum(outlying) * 2 > np.arange(1, len(start) + 1)))
    if not len(ends):
        return WarmUp(0, True)
    if cut == count // 2:
        return WarmUp(
            0, False, "the steps were still changing at half of the run; more warm-up or more steps are needed"
        )
    return WarmUp(int(ends[-1]) + 1, True)


@dataclass(frozen=True)
class CountedSteps:
    """The steps of a measurement that count, and those dropped as warm-up.

    Attributes:
        times: Times of the counted profiled steps.
        step_us: Wall times of the counted profiled steps.
        control_series: Wall times of the counted unprofiled steps, by session.
        dropped: Indices of the profiled steps that were dropped as warm-up.
        skipped: Runs at the start of each session's trace that do not count, the requested warm-up included.
        dropped_control_us: Wall times of the unprofiled steps that were dropped as warm-up.
        profiled: Warm-up of each profiling session.
        control: Warm-up of each unprofiled session.
    """

    times: StepTimes
    step_us: tuple[float, ...]
    control_series: tuple[tuple[float, ...], ...]
    dropped: tuple[int, ...]
    skipped: tuple[int, ...]
    dropped_control_us: tuple[float, ...]
    profiled: tuple[WarmUp, ...]
    control: tuple[WarmUp, ...]

    @property
    def control_us(self) -> tuple[float, ...]:
        """Wall times of the counted unprofiled steps."""
        return tuple(us for series in self.control_series for us in series)

    def facts(self) -> dict[str, Any]:
        """The entries about steps in a run's manifest."""
        return {
            "steps": len(self.step_us),
            "control_steps_us": list(self.control_us),
            "dropped_control_steps_us": list(self.dropped_control_us),
            "warmup_check": {
                "profiled": [asdict(w) for w in self.profiled],
                "control": [asdict(w) for w in self.control],
            },
        }


def count_steps(
    times: StepTimes,
    step_us: Sequence[float],
    control_us: Sequence[Sequence[float]],
    session_steps: Sequence[int],
    warmup: int,
) -> CountedSteps:
    """Detect and drop warm-up in every session, beyond the requested warm-up steps.

    Args:
        times: Times of the profiled steps of all sessions, one after the other.
        step_us: Wall times of the profiled steps.
        control_us: Wall times of the unprofiled steps of each session that had any.
        session_steps: Number of profiled steps of each session.
        warmup: Runs at the start of each session's trace that are not in ``times``.
    """
    starts = np.cumsum([0, *session_steps[:-1]])
    profiled = [warm_up(times.run_us[start : start + n]) for start, n in zip(starts, session_steps, strict=True)]
    dropped = {int(start) + i for start, check in zip(starts, profiled, strict=True) for i in range(check.steps)}
    control = tuple(warm_up(series) for series in control_us)
    return CountedSteps(
        times=times.without(dropped),
        step_us=tuple(us for i, us in enumerate(step_us) if i not in dropped),
        control_series=tuple(tuple(us[check.steps :]) for us, check in zip(control_us, control, strict=True)),
        dropped=tuple(sorted(dropped)),
        skipped=tuple(warmup + check.steps for check in profiled),
        dropped_control_us=tuple(t for us, check in zip(control_us, control, strict=True) for t in us[: check.steps]),
        profiled=tuple(profiled),
        control=control,
    )


def drifts(samples: Microseconds) -> npt.NDArray[np.float64]:
    """Relative change of each column over the run: 0 without a trend, NaN with too few steps.

    A trend must be significant by Kendall's tau of time against step, corrected over the columns by Benjamini and
    Hochberg's procedure, and large: the Theil-Sen slope over the whole run is at least :data:`MINIMUM_DRIFT` of the
    median and at least :data:`MINIMUM_CHANGE_US`.

    Source: H. B. Mann, Nonparametric tests against trend, Econometrica 13, 1945.

    Args:
        samples: Times, [steps, columns].
    """
    from scipy import stats

    times = np.asarray(samples, float)
    steps, columns = times.shape
    if steps < TREND_STEPS:
        return np.full(columns, np.nan)
    changes = np.zeros(columns)
    # a column that varies by less cannot have a trend and need not be tested
    varying = np.flatnonzero(np.ptp(times, axis=0) >= MINIMUM_CHANGE_US)
    if not len(varying):
        return changes
    order = np.arange(steps)
    p_values = np.ones(columns)
    p_values[varying] = _trend_p_values(times[:, varying])
    for column in np.flatnonzero(stats.false_discovery_control(p_values) < SIGNIFICANCE):
        change = stats.theilslopes(times[:, column], order).slope * (steps - 1)
        typical = float(np.median(times[:, column]) or times[:, column].mean())
        if abs(change) >= max(MINIMUM_CHANGE_US, MINIMUM_DRIFT * typical):
            changes[column] = change / typical
    return changes


def _trend_p_values(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The p-value of Kendall's tau of each column against the steps, [columns]."""
    from scipy import stats

    steps, columns = times.shape
    one = which = np.arange(columns)
    if steps <= COMPARED_STEPS:
        one, which = _alike(times)
    # scipy's handling of axes and missing values takes three times as long as its test, and a run has thousands
    test = inspect.unwrap(stats.kendalltau)
    order = np.arange(steps)
    p_values: npt.NDArray[np.float64] = np.array([test(order, times[:, column]).pvalue for column in one])[which]
    return p_values


def _alike(times: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Columns of which no two have the same p-value for certain, and for each column the place of its like among them.

    The p-value follows from the number of steps, how far Kendall's S (pairs of steps that rise less those that fall) is
    from 0, and the sums over ties in its variance, which follow from how many times are equal to each.
    """
    balance, equal = np.zeros(times.shape[1]), np.zeros(times.shape)
    for apart in range(1, len(times)):
        rises = np.sign(times[apart:] - times[:-apart])
        balance += rises.sum(axis=0)
        equal[apart:] += rises == 0
        equal[:-apart] += rises == 0
    keys = np.stack([abs(balance), equal.sum(axis=0), (equal**2).sum(axis=0)])
    _, one, which = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    return one, which.reshape(-1)


def node_statistics(samples: Microseconds) -> pd.DataFrame:
    """One row per column of samples: ``median_us``, ``q1_us``, ``q3_us``, ``mean_us``, ``cv`` and ``drift``.

    ``cv`` is the sample standard deviation divided by the mean: NaN for a single step or a mean of 0.
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
        us: (median profiled step - median unprofiled step) / node executions per step; 0 if the profiled step is
            faster.
        low_us: Lower end of its 95 % bootstrap interval; None with a single step of either kind.
        high_us: Upper end of the interval.
        executions: Node executions per step.
    """

    us: float
    low_us: float | None
    high_us: float | None
    executions: float


def profiler_floor(step_us: Sequence[float], control_us: Sequence[float], executions: float) -> Floor:
    """Estimate the profiler's cost per node execution from a run's profiled and unprofiled steps.

    The interval is a percentile bootstrap of the difference of the medians, with a fixed seed.

    Args:
        step_us: Wall times of the profiled steps.
        control_us: Wall times of the unprofiled steps.
        executions: Node executions per step, above 0.
    """
    from scipy import stats

    def cost(profiled: npt.NDArray[np.float64], control: npt.NDArray[np.float64], axis: int = -1) -> Microseconds:
        difference = np.median(profiled, axis=axis) - np.median(control, axis=axis)
        clipped: Microseconds = np.maximum(difference, 0.0) / executions
        return clipped

    data = np.asarray(step_us, float), np.asarray(control_us, float)
    us = float(cost(*data))
    if min(len(part) for part in data) < 2:
        return Floor(us, None, None, executions)
    interval = stats.bootstrap(
        data, cost, n_resamples=2000, method="percentile", vectorized=True, random_state=np.random.default_rng(0)
    ).confidence_interval
    return Floor(us, float(interval.low), float(interval.high), executions)
