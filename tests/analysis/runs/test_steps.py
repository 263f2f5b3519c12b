"""Statistics of steps: warm-up, trends, spread, the profiler's own cost."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from fathom_onnx.analysis.runs.steps import (
    COMPARED_STEPS,
    WarmUp,
    _trend_p_values,
    drifts,
    node_statistics,
    profiler_floor,
    warm_up,
)

NOISE = np.array([0, 3, -2, 1, -1, 2, -3, 0, 1, -2, 2, -1, 3, 0, -1, 1, -2, 2, 0, 1])


def test_slow_first_steps_are_warm_up() -> None:
    steady = 100 + NOISE
    assert warm_up(steady) == WarmUp(0, True)
    assert warm_up([900, 300, *steady]) == WarmUp(2, True)
    assert warm_up([20, *steady]) == WarmUp(1, True)  # faster steps are warm-up too
    # one step within the warm-up is like the rest
    assert warm_up([900, 101, 400, *steady]) == WarmUp(3, True)


def test_a_disturbance_later_on_is_no_warm_up() -> None:
    steps = 100 + NOISE
    steps[4:6] = 400
    assert warm_up(steps) == WarmUp(0, True)


def test_many_steps_are_averaged_by_five() -> None:
    steady = np.tile(100 + NOISE, 5)
    assert warm_up(np.concatenate([np.full(7, 900), steady])) == WarmUp(7, True)
    assert warm_up(steady) == WarmUp(0, True)


def test_undetermined_warm_up_is_not_dropped() -> None:
    few = warm_up([900, 100, 100])
    assert (few.steps, few.settled) == (0, None)
    assert "3 steps are too few" in few.reason
    falling = warm_up(np.linspace(1000, 100, 20))
    assert (falling.steps, falling.settled) == (0, False)
    assert "more warm-up or more steps" in falling.reason


@given(hnp.arrays(np.int64, st.integers(1, 80), elements=st.integers(0, 10_000)))
def test_never_more_than_half_of_the_steps_is_dropped(steps: np.ndarray) -> None:
    result = warm_up(steps)
    assert 0 <= result.steps <= len(steps) // 2
    assert bool(result.reason) == (result.settled is not True)


def test_a_trend_must_be_significant_and_large() -> None:
    order = np.arange(20)
    samples = np.column_stack(
        [
            1000 + 50 * order,  # doubles: Theil-Sen 50 a step, 19 steps, of a median of 1475
            1000 + order,  # certain, but 1.9 %
            100 + NOISE,
            np.full(20, 7),
            2 + (order > 9),  # a whole microsecond may be all rounding
            2000 - 50 * order,
        ]
    )
    result = drifts(samples)
    assert result[0] == pytest.approx(19 * 50 / 1475)
    assert result[5] == pytest.approx(-19 * 50 / 1525)
    assert result[[1, 2, 3, 4]].tolist() == [0, 0, 0, 0]


def test_noise_has_no_trend_for_all_the_nodes_there_are() -> None:
    noise = np.random.default_rng(0).gamma(2.0, 50.0, (12, 300))
    # 5 % of them would have one without a correction for their number
    assert not drifts(noise).any()


def test_too_few_steps_have_no_trend() -> None:
    assert np.isnan(drifts(np.array([[1], [2], [3], [4]]))).all()
    assert drifts(np.array([[100], [200], [300], [400], [500]]))[0] == pytest.approx(4 / 3)


def test_spread_of_a_node() -> None:
    result = node_statistics(np.array([[1, 0], [2, 0], [3, 0], [4, 0], [90, 0]]))
    row = result.iloc[0]
    assert (row["median_us"], row["q1_us"], row["q3_us"], row["mean_us"]) == (3, 2, 4, 20)
    assert row["cv"] == pytest.approx(np.std([1, 2, 3, 4, 90], ddof=1) / 20)
    assert math.isnan(result["cv"][1])
    assert math.isnan(node_statistics(np.array([[5]]))["cv"][0])


def test_the_floor_is_the_difference_of_the_medians_over_the_nodes() -> None:
    result = profiler_floor([150, 160, 170], [100, 101, 99], 20)
    assert result.us == 3.0
    assert result.low_us is not None
    assert result.high_us is not None
    assert 150 - 101 <= result.low_us * 20 <= 60 <= result.high_us * 20 <= 170 - 99
    # a profiled step that happens to be faster costs nothing, and not less than nothing
    assert profiler_floor([90, 91], [100, 101], 20).us == 0
    assert profiler_floor([90, 91], [100, 101], 20).low_us == 0
    single = profiler_floor([150], [100], 10)
    assert (single.us, single.low_us, single.high_us) == (5, None, None)


@settings(max_examples=30)
@given(
    st.lists(st.floats(0, 1e6), min_size=2, max_size=12),
    st.lists(st.floats(0, 1e6), min_size=2, max_size=12),
    st.integers(1, 1000),
)
def test_the_floor_is_never_negative_and_within_what_was_seen(a: list[float], b: list[float], count: int) -> None:
    result = profiler_floor(a, b, count)
    assert result.low_us is not None
    assert result.high_us is not None
    assert 0 <= result.low_us <= result.high_us <= max(0, max(a) - min(b)) / count + 1e-9
    assert result.us >= 0


def test_statistics_of_a_matrix_are_those_of_its_columns() -> None:
    samples = np.random.default_rng(1).integers(1, 100, (15, 4))
    whole = node_statistics(samples)
    for column in range(4):
        alone = node_statistics(samples[:, [column]]).drop(columns="drift")
        pd.testing.assert_series_equal(whole.drop(columns="drift").iloc[column], alone.iloc[0], check_names=False)


@pytest.mark.parametrize("steps", [5, 6, 12, COMPARED_STEPS, COMPARED_STEPS + 1])
@pytest.mark.parametrize("largest", [3, 12, 10**6])
def test_nodes_that_are_tested_as_one_have_the_p_value_of_each(steps: int, largest: int) -> None:
    times = np.random.default_rng(steps).integers(0, largest, (steps, 200)).astype(float)
    times += np.outer(np.arange(steps), np.arange(200) % 3)  # two thirds of the columns rise
    times = times[:, np.ptp(times, axis=0) > 0]
    each = [stats.kendalltau(np.arange(steps), column).pvalue for column in times.T]
    assert _trend_p_values(times).tolist() == each
