"""The first screen of a report: a question, tiles that answer it, one picture, and a row of marks that lead on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .bars import Bars
from .page import CellState

__all__ = ["Mark", "Overview", "Tile"]


@dataclass(frozen=True)
class Tile:
    """An answer: a word or a number, what backs it, and a drawing.

    Attributes:
        title: What the answer is about.
        answer: The answer, a few words.
        numbers: Numbers behind it, each with what it is.
        state: Marks it as good, bad or undecided.
        drawing: One SVG element, names in it escaped; or nothing.
        to: The anchor that it leads to.
        note: What else is to be said, below the numbers.
    """

    title: str
    answer: str
    numbers: Sequence[tuple[str, str]] = ()
    state: CellState | None = None
    drawing: str = ""
    to: str = ""
    note: str = ""


@dataclass(frozen=True)
class Mark:
    """A mark in a row: a short name, its state, what it stands for, and the anchor that it leads to."""

    name: str
    state: CellState
    text: str
    to: str


@dataclass(frozen=True)
class Overview:
    """The first screen.

    Attributes:
        question: What the report answers.
        tiles: The answers.
        tiles_note: What the drawings in the tiles show.
        picture: The picture below them, or None.
        marks: The marks.
        marks_title: What the marks are.
    """

    question: str
    tiles: Sequence[Tile]
    tiles_note: str = ""
    picture: Bars | None = None
    marks: Sequence[Mark] = ()
    marks_title: str = ""
