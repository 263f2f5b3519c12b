"""Tables of time by op, layer, class or phase, runs side by side, with how well each row uses the machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fathom_onnx.analysis.report.page import Further, Table, TableCell, side_by_side
from fathom_onnx.analysis.report.report import duration

from .roofline_sections import Roofs
from .table_cells import percent_cell, rounded_cell

__all__ = ["group_table"]

_ROOF_COLUMNS = ("FLOPs/byte", "GFLOP/s", "of the roof", "bound by")
_BOUND = {"compute": "arithmetic", "memory": "memory", "none": "neither"}
_NOTE = (
    "Shares are of the run's node time. FLOPs a byte, GFLOP/s and the share of the roof are of the nodes of known cost."
)


def group_table(title: str, runs: Mapping[str, Mapping[str, Any]], what: str, roofs: Roofs) -> Table:
    """Rows of a grouping side by side: their time and, where there is a roofline, how well they use the machine.

    Args:
        title: The table's heading.
        runs: Name to the run's summary.
        what: The grouping: op, layer, class or phase.
        roofs: Name to its rooflines, by grouping; runs may be missing.
    """
    cells = {
        who: {str(row["name"]): _roof_cells(row) for row in by_rows[what].table.to_dict("records")}
        for who, by_rows in roofs.items()
        if what in by_rows
    }
    if not cells:
        return side_by_side(title, runs, f"by_{what}", what, duration)
    table = side_by_side(title, runs, f"by_{what}", what, duration, Further(_ROOF_COLUMNS, cells))
    return Table(table.title, table.columns, table.rows, _NOTE)


def _roof_cells(row: Mapping[Any, Any]) -> list[TableCell]:
    computes = row["flops"] > 0
    return [
        rounded_cell(row["intensity"] if computes else None),
        rounded_cell(row["gflops"] if computes else None),
        percent_cell(row["share"] if row["bound"] != "none" else None),
        TableCell(_BOUND[row["bound"]]),
    ]
