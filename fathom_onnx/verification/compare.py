"""Comparing two steps: errors relative to each tensor's largest value, and flips, branches taken differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fathom_onnx.exporting import Kink
from fathom_onnx.workloads.contract import Array

__all__ = ["Flips", "Worst", "change_error", "find_flips", "relative_error", "worst_of"]


ZERO = 1e-12
"""A float64 tensor whose largest value is below this part of the largest of its kind is zero but for rounding."""


def relative_error(value: Array, reference: Array, largest: float = 0.0) -> float:
    """Largest difference, relative to the largest value of ``reference``; infinite where ``value`` is not finite.

    A reference that is zero but for rounding beside ``largest`` (a gradient that cancels, of a bias before a softmax)
    gives no scale of its own; the difference is then relative to ``largest``.
    """
    if not reference.size:
        return 0.0
    if not np.isfinite(value).all():
        return float("inf")
    difference = float(np.abs(value.astype(np.float64) - reference).max())
    scale = float(np.abs(reference).max())
    if scale <= ZERO * largest:
        scale = largest
    if difference == 0:
        return 0.0
    return difference / scale if scale else float("inf")


def change_error(old: Array, new: Array, reference: Array) -> float:
    """Error of the change from ``old``, beyond the rounding of the value itself, relative to the largest change.

    A small step on a large parameter would look right whatever its direction if it were judged by the parameter's size.
    """
    if not np.isfinite(new).all():
        return float("inf")
    rounding = float(np.finfo(np.float32).eps) * np.maximum(np.abs(reference), np.abs(old))
    beyond = float(np.maximum(np.abs(new.astype(np.float64) - reference) - rounding, 0).max(initial=0.0))
    largest = float(np.abs(reference - old.astype(np.float64)).max(initial=0.0))
    if beyond == 0:
        return 0.0
    return beyond / largest if largest else float("inf")


@dataclass(frozen=True)
class Worst:
    """The tensor with the largest relative error."""

    name: str = ""
    error: float = 0.0

    def max(self, other: Worst) -> Worst:
        """The larger of two."""
        return other if other.error > self.error else self


def worst_of(values: Mapping[str, Array], reference: Mapping[str, Array], names: list[str]) -> Worst:
    """The worst of the tensors ``names``, each beside the largest of its kind."""
    kinds: dict[str, float] = {}
    for name in names:
        kind = _kind(name)
        kinds[kind] = max(kinds.get(kind, 0.0), float(np.abs(reference[name]).max(initial=0.0)))
    worst = Worst()
    for name in names:
        worst = worst.max(Worst(name, relative_error(values[name], reference[name], kinds[_kind(name)])))
    return worst


def _kind(name: str) -> str:
    """``adam_m`` for ``fc.weight.adam_m.next``; the name itself for what is no optimizer slot."""
    parts = name.removesuffix(".next").split(".")
    return parts[-1] if len(parts) > 2 and "_" in parts[-1] else name


@dataclass(frozen=True)
class Flips:
    """Branches taken differently by two steps.

    Attributes:
        relu: ReLU inputs of different sign, and inputs of a clipping on different sides of a bound.
        pool: Max-pool windows and argmax rows with another winner.
        margin: Distance of the flipped value from the kink, relative to its layer's largest value: the largest over all
            flips. It is tiny for a flip by rounding, and large where the graph is wrong.
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


def _layer_flips(actual: Kink, expected: Kink, bounds: tuple[float, float]) -> Flips:
    differ = actual.branches != expected.branches
    count = int(differ.sum())
    if not count:
        return Flips()
    scale = float(np.abs(expected.value).max()) or 1.0
    if actual.op in ("Relu", "Clip"):
        x = expected.value[differ]
        points = (0.0,) if actual.op == "Relu" else bounds
        return Flips(relu=count, margin=float(np.min([np.abs(x - p) for p in points], axis=0).max()) / scale)
    # each step has a winner: the margin is their difference in the reference's values
    rows = expected.value if actual.op == "ArgMax" else expected.value.reshape(*expected.value.shape[:2], -1)
    index = [k.branches.reshape(*rows.shape[:-1], -1) for k in (actual, expected)]
    picked = [np.take_along_axis(rows, i, axis=-1) for i in index]
    return Flips(pool=count, margin=float(np.abs(picked[1] - picked[0]).max()) / scale)


def find_flips(
    actual: Mapping[str, Kink],
    expected: Mapping[str, Kink],
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> Flips:
    """Branches that two steps took differently, over all layers.

    Args:
        actual: Kinks of the step that is judged.
        expected: Kinks of the reference step.
        bounds: Layer to the bounds of its clipping.

    Raises:
        ValueError: They do not have the same layers.
    """
    if actual.keys() != expected.keys():
        raise ValueError(f"not the same layers that take branches: {sorted(actual.keys() ^ expected.keys())[:4]}")
    total = Flips()
    for key, kink in actual.items():
        limits = (bounds or {}).get(key.partition("#")[0], (0.0, 0.0))
        total = total.plus(_layer_flips(kink, expected[key], limits))
    return total
