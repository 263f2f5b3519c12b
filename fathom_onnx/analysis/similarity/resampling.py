"""Statistics of distances between op mixes of workloads from several frameworks: silhouette, permutations, bootstrap.

The permutation test keeps the first framework's op mixes and permutes the workload labels of the others: under the
hypothesis that an op mix says nothing about the workload in another framework, every permutation is equally likely.
Labels are not moved between frameworks, whose op mixes need not be exchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Grid", "bootstrap_intervals", "cosine_square", "silhouette"]

Floats = npt.NDArray[np.float64]

EXACT_PERMUTATIONS = 50_000
"""Up to this number of permutations the test takes them all: 8 workloads in 2 frameworks have 40,320."""

DRAWN_PERMUTATIONS = 10_000
RESAMPLES = 1000
CONFIDENCE = 0.95
_SEED = 0


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def cosine_square(mixes: Floats) -> Floats:
    """Cosine distances [..., runs, runs] of op mixes [..., runs, columns]."""
    unit = _unit(mixes)
    square = np.clip(1.0 - unit @ np.swapaxes(unit, -1, -2), 0.0, 1.0)
    square[..., np.arange(square.shape[-1]), np.arange(square.shape[-1])] = 0.0
    return np.asarray(square)


def silhouette(square: Floats, labels: npt.NDArray[np.int64]) -> float | None:
    """The silhouette score (sklearn) of a square of cosine distances; None where it is not defined."""
    from sklearn.metrics import silhouette_score

    if not 2 <= len(set(labels.tolist())) <= len(labels) - 1:
        return None
    return float(silhouette_score(square, labels, metric="precomputed"))


class Grid:
    """Which runs are of one workload: run ``f * workloads + w`` is workload ``w`` from framework ``f``."""

    def __init__(self, workloads: int, frameworks: int) -> None:
        self.workloads, self.frameworks = workloads, frameworks
        self.workload = np.tile(np.arange(workloads), frameworks)
        self.framework = np.repeat(np.arange(frameworks), workloads)
        same = self.workload[:, None] == self.workload[None, :]
        self.framework_pairs = same & ~np.eye(len(same), dtype=bool)
        self.workload_pairs = ~same

    def within(self, square: Floats) -> Floats:
        """Mean distance between the frameworks of a workload, of squares [..., runs, runs]."""
        return np.asarray(square[..., self.framework_pairs].mean(axis=-1))

    def between(self, square: Floats) -> Floats:
        """Mean distance between two workloads."""
        return np.asarray(square[..., self.workload_pairs].mean(axis=-1))

    def nearest(self, square: Floats) -> Floats:
        """How many workloads have all their runs nearer to one another than to any other; a tie is not nearer."""
        own = np.where(self.framework_pairs, square, np.inf).min(axis=-1)
        other = np.where(self.workload_pairs, square, np.inf).min(axis=-1)
        near = (own < other).reshape(*square.shape[:-2], self.frameworks, self.workloads)
        return np.asarray(near.all(axis=-2).sum(axis=-1))

    def permutation_p(self, square: Floats) -> float:
        """The p value of the permutation test."""
        from scipy.stats import permutation_test

        n, others = self.workloads, self.frameworks - 1

        def statistic(*permuted: Any, axis: int = -1) -> Any:
            runs = [np.broadcast_to(np.arange(n), np.shape(permuted[0]))]
            runs += [np.asarray(d, int) + (f + 1) * n for f, d in enumerate(permuted)]
            pairs = [square[a, b].mean(axis=axis) for a, b in combinations(runs, 2)]
            return np.mean(pairs, axis=0)

        every = math.factorial(n) ** others
        test = permutation_test(
            (np.arange(n),) * others,
            statistic,
            permutation_type="pairings",
            vectorized=True,
            alternative="less",
            n_resamples=every if every <= EXACT_PERMUTATIONS else DRAWN_PERMUTATIONS,
            rng=np.random.default_rng(_SEED),
        )
        return float(test.pvalue)


def bootstrap_intervals(steps: Sequence[Floats], grid: Grid) -> dict[str, tuple[float, float]]:
    """Percentile intervals over steps drawn with replacement, for each run by itself."""
    from scipy.stats import bootstrap
    from sklearn import config_context

    if min(len(rows) for rows in steps) < 2:
        return {}
    names = ("within", "ratio", "nearest", "silhouette")

    def statistic(*drawn: Any, axis: int = -1) -> Any:
        # scipy asks with steps on the last axis: [steps] for the sample itself, [resamples, steps] for the drawn ones
        medians = [np.median(rows[np.asarray(d, int)], axis=-2) for rows, d in zip(steps, drawn, strict=True)]
        square = cosine_square(np.stack(medians, axis=-2))
        flat = square.reshape(-1, *square.shape[-2:])
        with config_context(assume_finite=True, skip_parameter_validation=True):  # they take longer than the score
            scores = [silhouette(s, grid.workload) for s in flat]
        silhouettes = np.reshape([np.nan if s is None else s for s in scores], square.shape[:-2])
        within, between = grid.within(square), grid.between(square)
        ratio = np.divide(within, between, out=np.full_like(within, np.nan), where=between > 0)
        return np.stack([within, ratio, grid.nearest(square), silhouettes])

    interval = bootstrap(
        tuple(np.arange(len(rows)) for rows in steps),
        statistic,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    intervals = {n: (float(low), float(high)) for n, low, high in zip(names, interval.low, interval.high, strict=True)}
    return {n: ends for n, ends in intervals.items() if not any(math.isnan(end) for end in ends)}
