"""Trends and spread of times over the steps of a run that was measured in rounds: within the rounds, not between them.

The machine, not the operation, decides what differs between rounds, so both are taken within each round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["coefficient_of_variation", "trend_p"]

Floats = npt.NDArray[np.float64]


def trend_p(rounds: Sequence[Floats]) -> float:
    """The p value of Kendall's test of a trend over the steps, the rounds as strata; two-sided and exact without ties.

    The statistic is the sum over the rounds of the pairs of steps that rise less those that fall; without a trend every
    order of a round's steps is equally likely. With one round it is the ordinary test.

    Source: R. M. Hirsch, J. R. Slack, R. A. Smith, Techniques of trend analysis for monthly water quality data, Water
    Resources Research 18(1), 1982.
    """
    score, most = 0, 0
    falling = np.ones(1)  # probability of each number of falling pairs: of n steps, the k-th adds 0 to k - 1
    for times in rounds:
        n = len(times)
        signs = np.sign(times[None, :] - times[:, None])
        score += int(np.triu(signs, 1).sum())
        most += n * (n - 1) // 2
        for k in range(2, n + 1):
            falling = np.convolve(falling, np.full(k, 1 / k))
    scores = most - 2 * np.arange(len(falling))
    return min(1.0, float(falling[np.abs(scores) >= abs(score)].sum()))


def coefficient_of_variation(rounds: Sequence[Floats]) -> float:
    """Standard deviation of the steps about the mean of their round, relative to it; NaN where rounds have one step."""
    about = [times / times.mean() - 1 if times.mean() else times * 0 for times in rounds]
    freedom = sum(len(times) - 1 for times in rounds)
    return float(np.sqrt(sum(float((a**2).sum()) for a in about) / freedom)) if freedom else float("nan")
