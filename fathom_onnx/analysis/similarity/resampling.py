"""Statistics of distances between op mixes of workloads from several frameworks: noise floors, permutations, resamples.

A run is measured in *rounds*, each in a process of its own. Two rounds of a run differ by nothing but noise, so the
largest distance between two of them is the run's *noise floor*: of the distance of two runs, what exceeds the larger
floor of the two counts, and the rest does not.

Resamples follow the rounds: rounds are drawn with replacement, then steps within each drawn round (a cluster
bootstrap), since steps of one process are alike in what differs between processes.

The permutation test keeps the first framework's op mixes and permutes the workload labels of the others: under the
hypothesis that an op mix says nothing about the workload in another framework, every permutation is equally likely.
Labels are not moved between frameworks, whose op mixes need not be exchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property
from itertools import combinations, permutations, product

import numpy as np
import numpy.typing as npt

__all__ = [
    "RESAMPLES",
    "Grid",
    "cosine_square",
    "counted",
    "drawn_medians",
    "grid_of",
    "interval",
    "noise_floor",
    "silhouette",
]

Floats = npt.NDArray[np.float64]

EXACT_PERMUTATIONS = 50_000
"""Up to this number of permutations the test takes them all: 8 workloads in 2 frameworks have 40,320."""

DRAWN_PERMUTATIONS = 10_000
RESAMPLES = 1000
"""Resamples of a statistic."""

CONFIDENCE = 0.95
_SEED = 0
_ROUNDING = 1e-14
_SQUARES_AT_ONCE = 50
"""Squares of which the sums of all permutations are held at once."""


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def cosine_square(mixes: Floats) -> Floats:
    """Cosine distances [..., runs, runs] of op mixes [..., runs, columns]."""
    unit = _unit(mixes)
    square = np.clip(1.0 - unit @ np.swapaxes(unit, -1, -2), 0.0, 1.0)
    square[..., np.arange(square.shape[-1]), np.arange(square.shape[-1])] = 0.0
    return np.asarray(square)


def noise_floor(rounds: Sequence[Floats]) -> float | None:
    """The largest cosine distance between two rounds of a run; None where there is one round.

    Args:
        rounds: Amounts [steps, columns] of each round; a round's op mix is the median over its steps.
    """
    if len(rounds) < 2:
        return None
    return float(cosine_square(np.stack([np.median(rows, axis=0) for rows in rounds])).max())


def counted(square: Floats, floors: Floats) -> Floats:
    """The part of each distance that counts: what exceeds the larger noise floor of the two runs.

    Args:
        square: Distances [..., runs, runs].
        floors: Noise floor of each run; 0 where none is known.
    """
    return np.maximum(square - np.maximum(floors[:, None], floors[None, :]), 0.0)


def drawn_medians(rounds: Sequence[Floats], generator: np.random.Generator, count: int = RESAMPLES) -> Floats:
    """Medians [count, columns] over the steps of resamples: rounds with replacement, then steps of each drawn round.

    As many rounds are drawn as there are, and from each as many steps as the longest round has.

    Args:
        rounds: Amounts [steps, columns] of each round.
        generator: What draws.
        count: Number of resamples.
    """
    longest = max(len(rows) for rows in rounds)
    lengths = np.array([len(rows) for rows in rounds])
    starts = np.cumsum([0, *lengths[:-1]])
    which = generator.integers(len(rounds), size=(count, len(rounds)))
    steps = generator.integers(lengths[which][..., None], size=(*which.shape, longest)) + starts[which][..., None]
    return np.asarray(np.median(np.concatenate(rounds)[steps.reshape(count, -1)], axis=1))


def interval(values: Floats) -> tuple[float, float] | None:
    """The percentile interval of resampled values; None where some are not defined."""
    if np.isnan(values).any():
        return None
    outside = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, [outside, 100 - outside])
    return float(low), float(high)


def silhouette(square: Floats, labels: npt.NDArray[np.int64]) -> Floats | None:
    """Silhouette scores [...] of squares of distances [..., runs, runs]; None where they are not defined.

    scikit-learn has the score of one square; thousands of resamples would take it seconds.

    Source: P. J. Rousseeuw, Silhouettes: a graphical aid to the interpretation and validation of cluster analysis,
    Journal of Computational and Applied Mathematics 20, 1987.
    """
    groups, own = np.unique(labels, return_inverse=True)
    if not 2 <= len(groups) <= len(labels) - 1:
        return None
    members = own[:, None] == np.arange(len(groups))[None, :]
    sizes = members.sum(axis=0)
    sums = square @ members
    others = np.where(members, np.inf, sums / sizes).min(axis=-1)
    within = sums[..., np.arange(len(labels)), own] / np.maximum(sizes[own] - 1, 1)
    larger = np.maximum(within, others)
    scores = np.divide(others - within, larger, out=np.zeros_like(within), where=larger > 0)
    return np.asarray(np.where(sizes[own] > 1, scores, 0.0).mean(axis=-1))


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

    def nearest(self, counts: Floats, square: Floats) -> Floats:
        """How many workloads have all their runs nearer to one another than to any other workload's.

        What counts of the distance from the own workload is set against all of the distance from another one: a run
        that is farther from its own by no more than the noise floor is not said to be farther. A run at no distance
        that counts is near, whatever others are there too; any other tie is not nearer.

        Args:
            counts: What counts of the distances (:func:`counted`).
            square: The distances.
        """
        own = np.where(self.framework_pairs, counts, np.inf).min(axis=-1)
        other = np.where(self.workload_pairs, square, np.inf).min(axis=-1)
        near = ((own < other) | (own == 0)).reshape(*square.shape[:-2], self.frameworks, self.workloads)
        return np.asarray(near.all(axis=-2).sum(axis=-1))

    @property
    def every(self) -> int:
        """How many ways there are to permute the labels of all frameworks but the first."""
        return int(math.factorial(self.workloads) ** (self.frameworks - 1))

    @cached_property
    def _deals(self) -> tuple[npt.NDArray[np.int64], Floats]:
        """Distances that permutations bring within workloads: their places in a flattened square, and which has which.

        The second is [places, permutations], 1 where a permutation has the distance; the first permutation is as it is.
        """
        n, others = self.workloads, self.frameworks - 1
        if self.every <= EXACT_PERMUTATIONS:
            one = np.array(list(permutations(range(n))))
            choices = np.array(list(product(range(len(one)), repeat=others)))
            deals = one[choices]
        else:
            generator = np.random.default_rng(_SEED)
            drawn = generator.permuted(np.broadcast_to(np.arange(n), (DRAWN_PERMUTATIONS, others, n)), axis=-1)
            deals = np.concatenate([np.broadcast_to(np.arange(n), (1, others, n)), drawn])
        runs = [np.broadcast_to(np.arange(n), (len(deals), n))]
        runs += [deals[:, f] + (f + 1) * n for f in range(others)]
        taken = np.concatenate([a * (n * self.frameworks) + b for a, b in combinations(runs, 2)], axis=1)
        places, columns = np.unique(taken, return_inverse=True)
        has = np.zeros((len(places), len(deals)))
        has[columns.reshape(taken.shape), np.arange(len(deals))[:, None]] = 1
        return places, has

    def permutation_p(self, square: Floats) -> Floats:
        """The p values of the permutation test: the share of permutations that bring frameworks as close.

        Where permutations are drawn, the labels as they are count among them.

        Args:
            square: Distances [..., runs, runs].

        Returns:
            p [...].
        """
        places, has = self._deals
        rows = square.reshape(-1, square.shape[-1] ** 2)[:, places]
        shares = []
        for start in range(0, len(rows), _SQUARES_AT_ONCE):
            sums = rows[start : start + _SQUARES_AT_ONCE] @ has
            shares.append((sums <= sums[:, :1] * (1 + _ROUNDING) + _ROUNDING).mean(axis=1))
        return np.concatenate(shares).reshape(square.shape[:-2])


@cache
def grid_of(workloads: int, frameworks: int) -> Grid:
    """The grid of so many workloads and frameworks, which is made once."""
    return Grid(workloads, frameworks)
