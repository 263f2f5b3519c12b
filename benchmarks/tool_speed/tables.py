"""The tables in ``docs/performance.md``, from the rows of the measurements."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from documents import put, table

from .series import SERIES

__all__ = ["write_report"]

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "performance.md"
MARKS = "<!-- measured, tool: {} -->", "<!-- end of measured, tool: {} -->"
PARTS = ("export", "verify", "set-up", "attribution", "report")
Row = dict[str, Any]


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> str:
    """The exponent of a power law, least squares of the logarithms, with its standard error from four points on."""
    logs = np.log(sizes), np.log(costs)
    if len(sizes) < 4:
        return f"{np.polyfit(*logs, 1)[0]:.2f}"
    slope, covariance = np.polyfit(*logs, 1, cov=True)
    return f"{slope[0]:.2f} ± {covariance[0, 0] ** 0.5:.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _median(rows: Iterable[Row], part: str, key: str) -> float | None:
    """The median of several repetitions; None where none has the part."""
    values = [row["parts"][part][key] for row in rows if part in row["parts"]]
    return statistics.median(values) if values else None


def _cells(rows: Sequence[Row], key: str) -> list[str]:
    return ["" if (value := _median(rows, part, key)) is None else _number(value) for part in PARTS]


def _grouped(rows: Iterable[Row], of: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(of(row), []).append(row)
    return groups


def _workloads(rows: list[Row]) -> str:
    lines = []
    for (name, preset, mode, framework), of in _grouped(
        rows, lambda r: (r["workload"], r["preset"], r["mode"], r["framework"])
    ).items():
        peaks = [value for part in PARTS if (value := _median(of, part, "peak_gb")) is not None]
        cells = [f"{name}, {preset}, {mode}", framework, f"{of[-1]['nodes']:,}", *_cells(of, "s")]
        lines.append([*cells, f"{max(peaks):.2f}"])
    return table(
        ["graph", "framework", "nodes:", *(f"{part}, s:" for part in PARTS), "largest peak, GB:"],
        lines,
    )


def _growth(rows: list[Row]) -> str:
    lines = []
    for name, of in _grouped(rows, lambda r: r["series"]).items():
        series = SERIES[name]
        points = sorted(_grouped(of, lambda r: r["size"]).items())
        columns: list[tuple[list[float], list[float]]] = [([], []) for _ in range(2 + len(PARTS))]
        for size, again in points:
            steps = [row["step_ms"] for row in again if row.get("step_ms")]
            values = [
                float(again[-1]["nodes"]),
                statistics.median(steps) if steps else None,
                *(_median(again, part, "s") for part in PARTS),
            ]
            for (sizes, costs), value in zip(columns, values, strict=True):
                if value is not None:
                    sizes.append(size)
                    costs.append(value)
            cells = ["" if value is None else _number(value) for value in values]
            lines.append([f"{name}: {series.field} {again[-1]['value']}", *cells])
        lines.append(["**exponent**", *(exponent(*column) if len(column[0]) > 1 else "" for column in columns)])
    return table(["series", "nodes:", "step, ms:", *(f"{part}, s:" for part in PARTS)], lines)


def write_report(rows: Sequence[Row]) -> None:
    """Put the tables between their marks in the document; what was not measured stays as it is."""
    for section, write in {"workloads": _workloads, "growth": _growth}.items():
        of = [row for row in rows if row["section"] == section]
        if of:
            last = of[-1]
            packages = ", ".join(f"{name} {number}" for name, number in last["versions"].items())
            said = f"{last['cpu']}, {last['cpu_cores']} cores, {last['when']}; {packages}. Medians of repetitions."
            start, end = (mark.format(section) for mark in MARKS)
            put(DOCUMENT, (start, end), f"{said}\n\n{write(of)}")
