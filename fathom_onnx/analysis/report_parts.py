"""What a report is made of beyond its fixed parts: sections of text, figures and tables, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .similarity import Label

__all__ = ["Cell", "Figure", "Section", "State", "Table", "side_by_side"]

State = Literal["good", "bad", "open"]


@dataclass(frozen=True)
class Cell:
    """A table's cell.

    Attributes:
        text: What it shows.
        value: What it is sorted by, where that is a number.
        state: Marks it as good, bad or undecided.
    """

    text: str
    value: float | None = None
    state: State | None = None


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
    rows: Sequence[Sequence[Cell | str]]
    note: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table '{self.title}' has rows that are not {len(self.columns)} cells long")

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows, every cell as one."""
        return [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in self.rows]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers only (and at least one)."""
        columns = list(zip(*self.cells, strict=True)) if self.rows else [()] * len(self.columns)
        return [
            bool(c) and any(x.value is not None for x in c) and all(x.value is not None or not x.text for x in c)
            for c in columns
        ]


@dataclass(frozen=True)
class Figure:
    """A drawing: ``svg`` is one SVG element of our own making, its names escaped."""

    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: Its id in the page.
        title: Its heading, also in the list of sections.
        lead: Paragraphs before its figures and tables.
        figures: Drawings.
        tables: Tables.
        folded: Whether it is shown closed until one opens it.
    """

    anchor: str
    title: str
    lead: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    folded: bool = False


def side_by_side(summaries: Sequence[Mapping[str, Any]], rows: str, title: str, format_us: Any) -> list[Table]:
    """The frameworks' times beside each other: a table for each workload and mode that more than one framework ran.

    Args:
        summaries: Summaries of runs.
        rows: The breakdown: ``by_op``, ``by_layer``, ``by_class`` or ``by_phase``.
        title: What the rows are, for the heading.
        format_us: Writes microseconds.
    """
    groups: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for summary in summaries:
        label = Label.of(summary)
        groups.setdefault((label.workload, label.mode), {})[label.framework] = summary
    tables = []
    for (workload, mode), several in groups.items():
        if len(several) < 2:
            continue
        held = {f: {str(r["name"]): r for r in s[rows]} for f, s in several.items()}
        names = sorted(
            dict.fromkeys(n for by_name in held.values() for n in by_name),
            key=lambda n: -sum(float(by_name[n]["us"]) for by_name in held.values() if n in by_name),
        )
        lines = []
        for name in names:
            line: list[Cell | str] = [name]
            for by_name in held.values():
                row = by_name.get(name)
                us, share = (float(row["us"]), float(row["share"])) if row else (0.0, 0.0)
                line += [Cell(format_us(us) if row else "-", us), Cell(f"{100 * share:.1f}%", share)]
            shares = [float(b[name]["share"]) if name in b else 0.0 for b in held.values()]
            gap = max(shares) - min(shares)
            lines.append([*line, Cell(f"{100 * gap:.1f}", gap)])
        columns = [title, *(c for f in held for c in (f, f"{f} share")), "gap, points"]
        tables.append(Table(f"{workload} {mode}", columns, lines))
    return tables
