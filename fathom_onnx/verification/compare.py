"""Comparing two steps: errors relative to each tensor's largest value, and branches that were taken differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..exporting import Kink
from ..workloads.contract import Array

__all__ = ["Flips", "Worst", "find_flips", "relative_error", "worst_of"]


def relative_error(value: Array, reference: Array) -> float:
    """Largest difference, relative to the largest value of ``reference``; infinite where ``value`` is not finite."""
    if not reference.size:
        return 0.0
    if not np.isfinite(value).all():
        return float("inf")
    difference = float(np.abs(value.astype(np.float64) - reference).max())
    scale = float(np.abs(reference).max())
    if difference == 0:
        return 0.0
    return difference / scale if scale else float("inf")


@dataclass(frozen=True)
class Worst:
    """The tensor with the largest relative error."""

    name: str = ""
    error: float = 0.0

    def max(self, other: Worst) -> Worst:
        """The larger of two."""
        return other if other.error > self.error else self


def worst_of(values: Mapping[str, Array], reference: Mapping[str, Array], names: list[str]) -> Worst:
    """The worst of the tensors ``names``."""
    worst = Worst()
    for name in names:
        worst = worst.max(Worst(name, relative_error(values[name], reference[name])))
    return worst


@dataclass(frozen=True)
class Flips:
    """Branches taken differently by two steps.

    Attributes:
        relu: ReLU inputs of different sign.
        pool: Max-pool windows with another winner.
        margin: How far the flipped value was from the branch point, relative to its layer's largest value: the
            largest over all flips. A flip by rounding has a tiny one; a wrong graph has not.
    """

    relu: int = 0
    pool: int = 0
    margin: float = 0.0

    @property
    def count(self) -> int:
        """All flips."""
        return self.relu + self.pool

    def plus(self, other: Flips) -> Flips:
        """Both together."""
        return Flips(self.relu + other.relu, self.pool + other.pool, max(self.margin, other.margin))


def _layer_flips(ours: Kink, theirs: Kink) -> Flips:
    differ = ours.branches != theirs.branches
    count = int(differ.sum())
    if not count:
        return Flips()
    scale = float(np.abs(theirs.value).max()) or 1.0
    if ours.op == "Relu":
        return Flips(relu=count, margin=float(np.abs(theirs.value[differ]).max()) / scale)
    planes = theirs.value.reshape(*theirs.value.shape[:2], -1)
    picked = [np.take_along_axis(planes, k.branches.reshape(*planes.shape[:2], -1), axis=2) for k in (ours, theirs)]
    gap = np.abs(picked[1] - picked[0]).max()
    return Flips(pool=count, margin=float(gap) / scale)


def find_flips(ours: Mapping[str, Kink], theirs: Mapping[str, Kink]) -> Flips:
    """Branches that two steps took differently, over all layers.

    Raises:
        ValueError: They do not have the same layers, so that nothing can be said.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"not the same ReLU and max-pool layers: {sorted(ours.keys() ^ theirs.keys())[:4]}")
    total = Flips()
    for layer, kink in ours.items():
        total = total.plus(_layer_flips(kink, theirs[layer]))
    return total
