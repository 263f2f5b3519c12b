"""The two orders of an image's axes: [N, *size, C] and [N, C, *size]."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["RANKS", "keeps_order", "permuted", "to_first", "to_last"]

RANKS = (3, 4, 5)
"""Ranks of images with one, two and three sides."""


def to_first(rank: int) -> list[int]:
    """The permutation from [N, *size, C] to [N, C, *size]."""
    return [0, rank - 1, *range(1, rank - 1)]


def to_last(rank: int) -> list[int]:
    """The permutation from [N, C, *size] to [N, *size, C]."""
    return [0, *range(2, rank), 1]


def permuted(values: Sequence[int], perm: Sequence[int]) -> list[int]:
    """``values``, one for each axis, in another order of the axes."""
    return [values[axis] for axis in perm]


def keeps_order(shape: Sequence[int], perm: Sequence[int]) -> bool:
    """Whether a permutation moves axes of one element only, so that it is a reshape."""
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)
