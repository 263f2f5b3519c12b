"""Stacked bars as a value: rows of named bars whose parts have the colours and letters of a key.

They are drawn by the page itself, not as an image, so that names stay text that wraps and links, on any screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fathom_onnx.vocabulary import PHASES, OpClass

from .drawing import CLASS_COLOURS, OTHER, PHASE_COLOURS

__all__ = ["CLASS_KEY", "PHASE_KEY", "Bar", "BarRow", "Bars", "KeyEntry", "known_parts"]

_LEAST = 0.002
"""Parts below this share of the longest bar are not drawn."""

_NAMED = 0.12
"""Least share of the longest bar at which a part shows its letter."""


@dataclass(frozen=True)
class KeyEntry:
    """What a colour stands for: its letter or word in a bar, its text in the key, and the colour."""

    sign: str
    text: str
    colour: str

    @property
    def ink(self) -> str:
        """Black or white, whichever is told apart from the colour more easily (relative luminance, WCAG 2.2)."""
        return "#000000" if luminance(self.colour) > 0.179 else "#ffffff"


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, 0 to 1 (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


CLASS_KEY: dict[str, KeyEntry] = {
    **{str(c): KeyEntry(str(c), f"{c} {c.label.lower()}", CLASS_COLOURS[c]) for c in OpClass},
    OTHER: KeyEntry("", OTHER, CLASS_COLOURS[OTHER]),
}
"""Op class to its colour."""

PHASE_KEY: dict[str, KeyEntry] = {
    **{name: KeyEntry(name[0], name, PHASE_COLOURS[name]) for name in PHASES},
    OTHER: KeyEntry("", OTHER, PHASE_COLOURS[OTHER]),
}
"""Phase to its colour; the letter is its first."""


@dataclass(frozen=True)
class Bar:
    """A bar.

    Attributes:
        label: Whose it is.
        parts: Entry of the key to the length of its part.
        text: What stands after it.
    """

    label: str
    parts: Mapping[str, float]
    text: str = ""

    @property
    def length(self) -> float:
        """The length of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class BarRow:
    """A row: its name, the bars of each column, one below the other, and the anchor that the name leads to."""

    name: str
    cells: Sequence[Sequence[Bar]]
    to: str = ""


@dataclass(frozen=True)
class Bars:
    """Rows of stacked bars.

    Attributes:
        title: The heading.
        caption: What it shows.
        columns: Titles of the columns.
        rows: The rows; the bars of a column have one scale.
        key: Entry to its colour, in the order of the parts.
        groups: How many groups of rows stand beside each other where there is room.
    """

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[BarRow]
    key: Mapping[str, KeyEntry]
    groups: int = 1

    @cached_property
    def used(self) -> list[KeyEntry]:
        """The entries of the key that some bar has."""
        seen = {
            name for row in self.rows for bars in row.cells for bar in bars for name, size in bar.parts.items() if size
        }
        return [entry for name, entry in self.key.items() if name in seen]

    @cached_property
    def split_rows(self) -> list[list[BarRow]]:
        """The rows by group, the first group the longest."""
        tall = -(-len(self.rows) // max(1, self.groups))
        return [list(self.rows[start : start + tall]) for start in range(0, len(self.rows), tall)] if tall else []

    @cached_property
    def text_width(self) -> int:
        """Letters of the longest text after a bar."""
        return max((len(bar.text) for row in self.rows for bars in row.cells for bar in bars), default=0)

    @cached_property
    def _longest(self) -> list[float]:
        return [
            max((bar.length for row in self.rows for bar in row.cells[column]), default=0.0) or 1.0
            for column in range(len(self.columns))
        ]

    def drawn(self, bar: Bar, column: int) -> list[tuple[KeyEntry, float, str]]:
        """The parts of a bar: what each stands for, its percent of the longest bar, and its letter where there is room.

        Args:
            bar: A bar of a column.
            column: The column's number.
        """
        parts = []
        for name, entry in self.key.items():
            part = bar.parts.get(name, 0.0) / self._longest[column]
            if part >= _LEAST:
                parts.append((entry, 100 * part, entry.sign if part >= _NAMED else ""))
        return parts

    def said(self, bar: Bar) -> str:
        """A bar in words: whose it is, and the share of each part."""
        whole = bar.length
        shares = [
            f"{entry.text} {bar.parts[name] / whole:.0%}"
            for name, entry in self.key.items()
            if whole and bar.parts.get(name, 0.0) / whole >= 0.005
        ]
        return f"{bar.label}: {', '.join(shares) or 'nothing'}"


def known_parts(parts: Mapping[str, float], key: Mapping[str, KeyEntry]) -> dict[str, float]:
    """Parts by the entries of a key; what it does not have is summed under :data:`~.drawing.OTHER`."""
    known = dict.fromkeys(key, 0.0)
    for name, size in parts.items():
        known[name if name in known else OTHER] += size
    return known
