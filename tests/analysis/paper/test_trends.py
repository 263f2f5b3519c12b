"""Trends and spread within rounds, against exact counts of orders and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fathom_onnx.analysis.paper.trends import coefficient_of_variation, trend_p


@pytest.mark.parametrize("times", [[1, 2, 3, 4, 5.0], [3, 1, 4, 2, 6, 5.0], [9, 7, 8, 3, 1.0], [2, 1.0]])
def test_one_round_is_kendalls_exact_test(times: list[float]) -> None:
    expected = stats.kendalltau(np.arange(len(times)), times, method="exact").pvalue
    assert trend_p([np.array(times)]) == pytest.approx(expected)


def test_three_rounds_that_all_rise_are_one_order_of_each() -> None:
    rising = np.array([1.0, 2, 3, 4])
    assert trend_p([rising] * 3) == pytest.approx(2 / 24**3)  # and all that fall
    assert trend_p([rising, rising[::-1]]) == pytest.approx(1)


def test_a_machine_that_is_slower_in_a_later_round_is_no_trend() -> None:
    rounds = [np.array([1.0, 1, 1, 1]) * slower for slower in (1, 2, 3)]
    assert trend_p(rounds) == pytest.approx(1)
    assert stats.kendalltau(np.arange(12), np.concatenate(rounds)).pvalue < 0.001  # if the rounds were one series
    assert coefficient_of_variation(rounds) == 0


def test_the_spread_is_about_the_mean_of_each_round() -> None:
    one = np.array([8.0, 12.0])
    assert coefficient_of_variation([one]) == pytest.approx(stats.variation(one, ddof=1))
    # relative deviations of 0.2 four times, two degrees of freedom
    assert coefficient_of_variation([one, one * 10]) == pytest.approx(math.sqrt(4 * 0.04 / 2))
    assert math.isnan(coefficient_of_variation([np.array([3.0])]))
