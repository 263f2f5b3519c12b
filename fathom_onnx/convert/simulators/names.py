"""Unique names in the form that a simulator can read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

__all__ = ["UniqueNames"]


class UniqueNames:
    """Different names for different things, cleaned of what a format cannot hold.

    Args:
        clean: From any name to one that the format can hold.
        separator: Text before the number that is added to a name that is taken.
        reserved: Names that have a meaning of their own in the format.
    """

    def __init__(self, clean: Callable[[str], str], separator: str, reserved: Iterable[str] = ()) -> None:
        self._clean = clean
        self._separator = separator
        self._taken = set(reserved)
        self._names: dict[str, str] = {}

    def new(self, name: str) -> str:
        """A name that was not given before: ``name``, cleaned, with a number from 2 where that is taken."""
        clean = self._clean(name)
        numbered = (f"{clean}{self._separator}{number}" for number in itertools.count(2))
        unique = next(candidate for candidate in itertools.chain([clean], numbered) if candidate not in self._taken)
        self._taken.add(unique)
        return unique

    def of(self, name: str) -> str:
        """The name for ``name``, the same one every time."""
        if name not in self._names:
            self._names[name] = self.new(name)
        return self._names[name]
