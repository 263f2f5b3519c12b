"""What following an input finds: what its uses say of its values, and how a value on the way relates to the input."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .flow import Key

__all__ = ["Finding", "Kind", "Pass", "Reach"]

Kind = Literal[
    "exact", "offset", "index", "length", "count", "values", "mask", "flag", "range", "limit", "words", "separator"
]
"""What a use says:

- ``exact``: these elements, such as those of a shape;
- ``offset``: where a part of an axis begins;
- ``index``, ``length``: an index within an axis, a number of its elements;
- ``count``: how many, of which few will do;
- ``values``: constants that the graph compares with;
- ``mask``, ``flag``: what is kept, and whether something is done;
- ``range``: a plain range of numbers;
- ``limit``: a bound and nothing else;
- ``words``, ``separator``: strings that the graph knows, and what stands between them.
"""


@dataclass(frozen=True)
class Reach:
    """A value on the way from an input x: its elements lie in ``scale * x + low`` to ``scale * x + high``.

    Attributes:
        scale: Factor.
        low: Least of what is added.
        high: Greatest of what is added.
        shares: How many further values, of which nothing is known, are added.
        counted: Whether elements were summed up.
        upper: Whether the value only goes up to that: x is the end of a range.
        picked: Whether elements were taken singly, in a way that depends on data.
        place: Where in a vector the input's first element stands, or would stand; None where that is lost.
        first: The first of the input's elements that a vector has.
        last: The last one; None for the input's own last.
        whole: Whether the value still has the input's arrangement.
    """

    scale: float = 1.0
    low: float = 0.0
    high: float = 0.0
    shares: int = 0
    counted: bool = False
    upper: bool = False
    picked: bool = False
    place: int | None = 0
    first: int = 0
    last: int | None = None
    whole: bool = True

    def moved(self, low: float, high: float) -> Reach:
        """With something added."""
        return replace(self, low=self.low + low, high=self.high + high)

    def scaled(self, factor: float) -> Reach:
        """Multiplied."""
        ends = sorted((self.low * factor, self.high * factor))
        return replace(self, scale=self.scale * factor, low=ends[0], high=ends[1])

    def cut(self, start: int, count: int | None) -> Reach:
        """A part of a vector: from a place on, so many elements."""
        if self.place is None:
            return replace(self, whole=False)
        first = max(self.first, start - self.place)
        last = self.last if count is None else start + count - 1 - self.place
        if self.last is not None and last is not None:
            last = min(last, self.last)
        return replace(self, place=self.place - start, first=first, last=last, whole=False)

    def lost(self, **changes: Any) -> Reach:
        """In another arrangement."""
        return replace(self, whole=False, place=None, **changes)

    def input_range(self, low: float, high: float) -> tuple[int, int]:
        """The whole numbers that the input may have so that the value lies within ``low`` to ``high``.

        Where there are none, the last is less than the first.
        """
        ends = sorted(((low - self.low) / self.scale, (high - self.high) / (self.scale * (1 + self.shares))))
        if not all(map(math.isfinite, ends)):
            return 1, 0
        least = 1 if self.upper and self.scale > 0 else math.ceil(ends[0])
        return least, math.floor(ends[1])

    def input_value(self, value: float) -> float | None:
        """The input's value where this one is ``value``; None where that is not one number."""
        if self.low != self.high or self.shares or self.counted:
            return None
        return (value - self.low) / self.scale


@dataclass(frozen=True)
class Finding:
    """What a use says of an input.

    Attributes:
        kind: Of what kind it is.
        why: The use, in words.
        reach: How the value in use relates to the input.
        low: Least value that the input may have.
        high: Greatest value, or None where it is not known.
        columns: Greatest value for each place along the last axis, where they differ.
        elements: For ``exact``: place in the input to its value.
        values: Constants or words.
        preferred: A value that is a good one, or None.
    """

    kind: Kind
    why: str
    reach: Reach = field(default_factory=Reach)
    low: int = 0
    high: int | None = None
    columns: tuple[int, ...] = ()
    elements: tuple[tuple[int, float], ...] = ()
    values: tuple[Any, ...] = ()
    preferred: int | None = None


@dataclass(frozen=True)
class Pass:
    """An output that an input's values go on in."""

    key: Key
    reach: Reach
