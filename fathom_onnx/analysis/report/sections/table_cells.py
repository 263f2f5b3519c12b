"""Cells of the report's tables: numbers, times and shares as text, with the value they are sorted by."""

from __future__ import annotations

import pandas as pd

from fathom_onnx.analysis.report.page import TableCell, three_digits
from fathom_onnx.analysis.report.report import duration, percent

__all__ = ["megabytes_cell", "number_cell", "percent_cell", "rounded_cell", "time_cell"]


def number_cell(value: float | None, form: str = ".3f") -> TableCell:
    """A number in a format; empty for None."""
    return TableCell("") if value is None else TableCell(format(value, form), value)


def rounded_cell(value: float | None) -> TableCell:
    """A number with three digits; empty for None and NaN."""
    return TableCell("") if value is None or pd.isna(value) else TableCell(three_digits(value), value)


def time_cell(us: float | None) -> TableCell:
    """Microseconds in a fitting unit; empty for None."""
    return TableCell("") if us is None else TableCell(duration(us), us)


def percent_cell(share: float | None) -> TableCell:
    """A share in percent; empty for None and NaN."""
    return TableCell("") if share is None or pd.isna(share) else TableCell(percent(share), share)


def megabytes_cell(size: int | None, least: bool = False) -> TableCell:
    """Bytes in MB, marked where they are only a lower bound; unknown for None."""
    if size is None:
        return TableCell("unknown")
    return TableCell(f"{'at least ' if least else ''}{three_digits(size / 1e6)}", size)
