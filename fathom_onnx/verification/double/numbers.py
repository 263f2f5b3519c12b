"""Numbers that were rounded to float32 when a graph was written, as they were before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np

from fathom_onnx.workloads.contract import Array

__all__ = ["HELD", "exactly", "exactly_once", "unrounded", "wide"]

HELD = 1 << 27
"""Most elements (1 GiB in float64) of a step that are held for what may need them again."""

_DIGITS = 6
"""A float32 that is a decimal number of so few digits was that number: one in thirty of all others is one by chance."""
_TERMS = 256
"""Largest numerator and denominator of a fraction that a float32 is taken for: one in two hundred is one by chance."""
_ROOTS = 4096
"""Largest whole number whose root, or the reciprocal of it, a float32 is taken for: widths of attention heads."""
_IRRATIONAL = (math.sqrt(2 / math.pi), math.log(2), 1 / math.log(2), math.pi, math.log(10), math.log(2 * math.pi))
"""Factors of activations and likelihoods that are no fraction and no root of one."""


@lru_cache(maxsize=4096)
def unrounded(value: float) -> float:
    """The simplest number that rounds to a float32.

    A scalar of a model comes from Python, whose numbers have double precision: 0.001 of an epsilon, 1/49 of a mean,
    1/sqrt(64) of an attention. In float32 they are off by up to 6e-8, which a deep network of normalisations makes 1e-3
    times as large a difference of its gradients. Whatever is returned rounds to ``value``, so that no guess is
    farther from what the file says than the file is from its model.
    """
    single = np.float32(value)
    if not np.isfinite(single) or float(single).is_integer():
        return float(single)
    decimal = float(str(single))
    mantissa = str(single).partition("e")[0].replace(".", "").replace("-", "").strip("0")
    if len(mantissa) <= _DIGITS:
        return decimal
    size = abs(float(single))
    found = next((guess for guess in _guesses(size) if np.float32(guess) == abs(single)), None)
    return decimal if found is None else math.copysign(found, float(single))


def _guesses(size: float) -> Iterator[float]:
    """Numbers near a positive one that is no whole number, the simplest first."""
    yield from _IRRATIONAL
    yield _fraction(size)
    square = size * size
    if 1 / _ROOTS <= square <= _ROOTS:
        yield math.sqrt(round(square)) if square > 1 else math.sqrt(1 / round(1 / square))
    yield math.sqrt(_fraction(square))
    # 1/n, n/(n - 1) and (n - 1)/n of large n: means, unbiased variances, averages
    if size < 1:
        yield 1 / round(1 / size)
    n = round(1 / abs(1 - size))
    if n > 1:
        yield n / (n - 1) if size > 1 else (n - 1) / n


def _fraction(size: float) -> float:
    near = Fraction(size).limit_denominator(_TERMS)
    return near.numerator / near.denominator if near.numerator <= _TERMS else 0.0


def wide(array: Array, guess: bool = True, before: Sequence[float] = ()) -> Array:
    """A float32 array in float64: exactly, but a single number as it was before rounding.

    Args:
        array: Any array; one of another type stays as it is.
        guess: Whether single numbers, and arrays all of whose elements are the same number, are unrounded.
        before: What some elements were before rounding, where that is known. What rounds to no element is not taken.
    """
    if array.dtype != np.float32:
        return array
    if before:
        exact = array.astype(np.float64)
        for number in before:
            exact[array == np.float32(number)] = number
        return exact
    if guess and array.size and (array == array.flat[0]).all():
        return np.full(array.shape, unrounded(float(array.flat[0])))
    return array.astype(np.float64)


def exactly(values: Mapping[str, Array]) -> dict[str, Array]:
    """Values with each float32 array in float64, number for number; other arrays are the same ones."""
    arrays = {name: np.asarray(value) for name, value in values.items()}
    return {name: a.astype(np.float64) if a.dtype == np.float32 else a for name, a in arrays.items()}


def exactly_once(values: Mapping[str, Array]) -> dict[str, Array]:
    """Values in float64 for all that reads them; of a large model as they are: what reads them widens its part."""
    size = sum(np.size(value) for value in values.values())
    return exactly(values) if size <= HELD else dict(values)
