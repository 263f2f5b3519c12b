"""Sections on several runs: what they differ in, and how each compares with the first, with the comparison's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fathom_onnx.analysis.comparison import TOTALS, Comparison, Row
from fathom_onnx.analysis.comparison.run_facts import FACTS
from fathom_onnx.analysis.report.page import Section, Table, TableCell, side_by_side
from fathom_onnx.analysis.report.report import duration
from fathom_onnx.analysis.runs import Grouping
from fathom_onnx.vocabulary import OpClass

from .run_sections import ShownRun
from .run_tiles import VERDICT_STATES
from .table_cells import number_cell, time_cell

__all__ = ["GROUPED", "compared_sections", "facts_section", "side_by_side_section"]

GROUPED: tuple[Grouping, ...] = ("phase", "class", "op", "layer")
"""The tables of a comparison in a report."""

_LONGEST = 80
"""Characters of a fact's value that are shown."""

_NOTE = (
    "Each run against the first. Slower and faster: by 5% and more and by more than profiling costs, significant at 5% "
    "(Mann-Whitney U, corrected for the rows of the table); the interval is of the ratio, at 95%."
)
_TITLES = {str(c): f"{c} {c.label.lower()}" for c in OpClass}


def facts_section(runs: Sequence[ShownRun]) -> Section:
    """The facts of the manifests in which the runs differ."""
    rows: list[list[TableCell | str]] = []
    for kind, names in FACTS.items():
        for name in names:
            values = [_told(shown.run.manifest.get(name)) for shown in runs]
            if len(set(values)) > 1:
                rows.append([name.replace("_", " "), kind, *values])
    lead = [] if rows else ["The runs differ in nothing that their manifests tell."]
    tables = [Table("Facts", ("fact", "kind", *(shown.name for shown in runs)), rows)] if rows else []
    return Section("facts", "What the runs differ in", lead=lead, tables=tables)


def _told(value: Any) -> str:
    if value is None:
        return "unknown"
    text = ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def compared_sections(first: ShownRun, others: Mapping[str, Comparison]) -> list[Section]:
    """The comparisons of runs with the first one, side by side.

    Args:
        first: The first run.
        others: Name of each other run to its comparison with the first.
    """
    totals = {name: {row.name: row for row in c.totals.values()} for name, c in others.items()}
    order = [key for key in TOTALS if any(key in rows for rows in totals.values())]
    tables = [_table("Totals", "time", order, totals, first.name, TOTALS)]
    for grouping in GROUPED:
        rows = {name: {_key(row): row for row in c.tables[grouping]} for name, c in others.items()}
        changes: dict[str, float] = {}
        for by_name in rows.values():
            for key, row in by_name.items():
                changes[key] = max(changes.get(key, 0.0), abs(row.difference_us))
        names = sorted(changes, key=lambda key: -changes[key])
        titles = _TITLES if grouping == "class" else {}
        tables.append(_table(f"By {grouping}, largest difference first", grouping, names, rows, first.name, titles))
    return [Section("compared", "Compared", lead=[_NOTE], tables=tables)]


def _key(row: Row) -> str:
    return row.name or row.kind


def _table(
    title: str,
    what: str,
    names: Sequence[str],
    rows: Mapping[str, Mapping[str, Row]],
    first: str,
    titles: Mapping[str, str],
) -> Table:
    """A row a name: the first run's time, then each other run's with ratio, interval and verdict."""
    lines: list[list[TableCell | str]] = []
    for name in names:
        found = [by_name.get(name) for by_name in rows.values()]
        base = next((row.a_us for row in found if row is not None), None)
        line: list[TableCell | str] = [titles.get(name, name), time_cell(base)]
        for row in found:
            line += _cells(row)
        lines.append(line)
    columns = [what, first, *(c for name in rows for c in (name, "ratio", "95% interval", "verdict"))]
    return Table(title, columns, lines)


def _cells(row: Row | None) -> list[TableCell]:
    if row is None:
        return [TableCell("")] * 4
    ends = "" if row.low is None or row.high is None else f"{row.low:.2f} to {row.high:.2f}"
    verdict = TableCell(row.verdict, state=VERDICT_STATES.get(row.verdict))
    return [time_cell(row.b_us), number_cell(row.ratio, ".2f"), TableCell(ends), verdict]


def side_by_side_section(summaries: Mapping[str, Mapping[str, Any]]) -> Section:
    """The runs beside each other without tests: one at least is a framework's own, which has no nodes to match."""
    tables = [side_by_side(f"By {what}", summaries, f"by_{what}", what, duration) for what in GROUPED]
    lead = ["Runs of frameworks themselves are set beside the others; differences are not tested."]
    return Section("compared", "Side by side", lead=lead, tables=tables)
