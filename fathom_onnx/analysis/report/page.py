"""The parts of a report as values: sections of text, figures and tables, and pages of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from .bars import Bars

__all__ = ["CellState", "Figure", "Further", "Page", "Section", "Table", "TableCell", "side_by_side", "three_digits"]

CellState = Literal["good", "bad", "open"]
"""How a table's cell is marked: a passed check, a failed one, an undecided one."""


def three_digits(number: float) -> str:
    """A number with three digits; a larger one without its fraction."""
    return f"{number:.3g}" if abs(number) < 99.95 else f"{number:,.0f}"


@dataclass(frozen=True)
class TableCell:
    """A table's cell.

    Attributes:
        text: What it shows.
        value: What it is sorted by, where that is a number.
        state: Marks it as good, bad or undecided.
        to: The anchor in this file that it leads to.
        anchor: The id of its row, where it is the first.
    """

    text: str
    value: float | None = None
    state: CellState | None = None
    to: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by every column and searched.

    Attributes:
        title: Its heading.
        columns: Column names.
        rows: Rows of cells; the first cell names the row. A plain text is a cell without a value.
        note: A remark under the heading.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[TableCell | str]]
    note: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table '{self.title}' has rows that are not {len(self.columns)} cells long")

    @cached_property
    def cells(self) -> list[list[TableCell]]:
        """The rows, every cell as one."""
        return [[c if isinstance(c, TableCell) else TableCell(c) for c in row] for row in self.rows]

    @cached_property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers only (and at least one)."""
        columns = list(zip(*self.cells, strict=True)) if self.rows else [()] * len(self.columns)
        return [
            bool(c) and any(x.value is not None for x in c) and all(x.value is not None or not x.text for x in c)
            for c in columns
        ]


@dataclass(frozen=True)
class Figure:
    """A drawing, which is made when the page is written, maybe in another process.

    Attributes:
        title: Its heading.
        draw: Makes one SVG element of our own making, its names escaped; it can be pickled.
        caption: What is said below it.
    """

    title: str
    draw: Callable[[], str]
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: Its id in the page.
        title: Its heading, also in the list of sections.
        lead: Paragraphs before its pictures and tables.
        bars: Pictures of stacked bars, which come first.
        figures: Drawings.
        tables: Tables.
        folded: Whether its tables are shown closed until one opens them.
    """

    anchor: str
    title: str
    lead: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    folded: bool = False
    bars: Sequence[Bars] = ()


@dataclass(frozen=True)
class Page:
    """All of one workload: a page of its own within the file, shown when its link is followed.

    Attributes:
        anchor: Its id in the file.
        title: Its heading.
        name: What links call it.
        lead: Paragraphs before its sections.
        sections: What it holds.
        summaries: Its runs, whose facts are listed at its end.
    """

    anchor: str
    title: str
    name: str
    lead: Sequence[str] = ()
    sections: Sequence[Section] = ()
    summaries: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Further:
    """Further columns of :func:`side_by_side` for each run: their titles, and run to row to their cells."""

    columns: Sequence[str]
    cells: Mapping[str, Mapping[str, Sequence[TableCell]]]


def side_by_side(
    title: str,
    runs: Mapping[str, Mapping[str, Any]],
    rows: str,
    what: str,
    format_us: Callable[[float], str],
    further: Further | None = None,
) -> Table:
    """Times of several runs beside each other, a row a group of their nodes, the longest first.

    Args:
        title: The table's heading.
        runs: Name (a framework) to summary.
        rows: The breakdown: ``by_op``, ``by_layer``, ``by_class`` or ``by_phase``.
        what: What the rows are.
        format_us: Writes microseconds.
        further: More columns of each run.
    """
    by_run = {run: {str(r["name"]): r for r in s[rows]} for run, s in runs.items()}
    names = sorted(
        dict.fromkeys(n for by_name in by_run.values() for n in by_name),
        key=lambda n: -sum(float(by_name[n]["us"]) for by_name in by_run.values() if n in by_name),
    )
    extra = tuple(further.columns) if further else ()
    lines = []
    for name in names:
        line: list[TableCell | str] = [name]
        for run, by_name in by_run.items():
            row = by_name.get(name)
            us, share = (float(row["us"]), float(row["share"])) if row else (0.0, 0.0)
            line += [TableCell(format_us(us) if row else "-", us), TableCell(f"{100 * share:.1f}%", share)]
            if further:
                line += further.cells.get(run, {}).get(name) or [TableCell("")] * len(extra)
        if len(by_run) > 1:
            shares = [float(b[name]["share"]) if name in b else 0.0 for b in by_run.values()]
            gap = max(shares) - min(shares)
            line.append(TableCell(f"{100 * gap:.1f}", gap))
        lines.append(line)
    columns = [
        what,
        *(c for run in by_run for c in (run, "share", *extra)),
        *(["gap, points"] if len(by_run) > 1 else []),
    ]
    return Table(title, columns, lines)
