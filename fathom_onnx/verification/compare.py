"""Comparing tensors: the largest difference, and how large it is beside the tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fathom_onnx.workloads.contract import Array

__all__ = ["Worst", "change_error", "difference", "largest", "relative_error", "worst_of"]

_BLOCK = 1 << 20
"""Elements that are compared at a time: what is made of them stays in the cache, whatever the size of the tensors."""


@dataclass(frozen=True)
class Worst:
    """The tensor with the largest error."""

    name: str = ""
    error: float = 0.0

    def max(self, other: Worst) -> Worst:
        """The larger of two; of a NaN and a number the NaN."""
        return self if other.error <= self.error else other


def worst_of(errors: Iterable[Worst]) -> Worst:
    """The largest of several."""
    worst = Worst()
    for error in errors:
        worst = worst.max(error)
    return worst


def difference(value: Array, reference: Array) -> float:
    """Largest difference of two tensors.

    It is infinite where one is not a number, or infinite, and the other is not the same; where shapes differ; and
    between whole numbers or truth values that are not all equal.
    """
    if value.shape != reference.shape:
        return float("inf")
    if not np.issubdtype(reference.dtype, np.floating):
        return 0.0 if np.array_equal(value, reference) else float("inf")
    found = _largest_gap(value, reference)
    if np.isfinite(found):  # so is every element
        return found
    own, other = value.astype(np.float64), reference.astype(np.float64)
    apart = ~((own == other) | (np.isnan(own) & np.isnan(other)))
    if not apart.any():
        return 0.0
    found = _largest_gap(own[apart], other[apart])
    return found if np.isfinite(found) else float("inf")


def _largest_gap(value: Array, reference: Array) -> float:
    """Largest difference of two tensors of one shape, in float64; no number, or infinite, where an element is so."""
    with np.errstate(all="ignore"):
        gaps = [_size(np.subtract(v, r, dtype=np.float64, casting="unsafe")) for v, r in _blocks(value, reference)]
    return float(np.max(gaps, initial=0.0))


def _blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The elements of arrays of one shape, a block of each at a time."""
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, _BLOCK):
        yield tuple(array[start : start + _BLOCK] for array in flat)


def _size(array: Array) -> float:
    """The absolute value that is the largest; no number where an element is none."""
    return max(float(array.max(initial=0)), -float(array.min(initial=0)))


def largest(reference: Array) -> float:
    """Largest finite value of a tensor."""
    if np.issubdtype(reference.dtype, np.floating) and np.isfinite(found := _size(reference)):
        return found
    size = np.abs(reference.astype(np.float64))
    return float(size[np.isfinite(size)].max(initial=0.0))


def relative_error(value: Array, reference: Array, more: float = 0.0) -> float:
    """Largest difference, relative to the largest value of ``reference`` and ``more`` together."""
    found = difference(value, reference)
    if found in (0.0, float("inf")):
        return found
    scale = largest(reference) + more
    return found / scale if scale else float("inf")


def change_error(old: Array, new: Array, reference: Array, more: float = 0.0) -> float:
    """Error of the change from ``old`` to ``new``, relative to the largest change and ``more`` together.

    A small step on a large parameter would look right whatever its direction if it were judged by the parameter's size.
    What the values themselves are rounded by, in the type of ``new``, is no error.
    """
    if new.shape != reference.shape or not np.isfinite(gap := _largest_gap(new, reference)):
        return relative_error(new, reference)
    if gap == 0:
        return 0.0
    epsilon, beyonds = float(np.finfo(new.dtype).eps), []
    for block in _blocks(old, new, reference):
        start, made, exact = (array.astype(np.float64, copy=False) for array in block)
        rounding = epsilon * np.maximum(np.abs(exact), np.abs(start))
        beyonds.append((np.abs(made - exact) - rounding).max())
    beyond = float(np.max(beyonds, initial=0.0))
    if beyond == 0:
        return 0.0
    scale = _largest_gap(reference, old) + more
    return beyond / scale if scale else float("inf")
