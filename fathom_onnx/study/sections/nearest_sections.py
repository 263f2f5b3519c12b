"""Where a model of the user's own stands among the workloads of the study."""

from __future__ import annotations

from collections.abc import Mapping

from fathom_onnx.analysis.report.page import Section, Table, TableCell
from fathom_onnx.analysis.report.sections.table_cells import number_cell
from fathom_onnx.analysis.similarity.nearest import nearest_workloads
from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.study.cells.results import CellResult
from fathom_onnx.study.result import StudyResult

from .run_groups import Runs

__all__ = ["nearest_sections"]


def nearest_sections(modes: Mapping[str, Runs], result: StudyResult) -> list[Section]:
    """The nearest workloads of each mode of a model of the user's own; none where the study ran no workload beside it.

    Args:
        modes: The model's runs by mode.
        result: The study.
    """
    tables = [
        table
        for runs in modes.values()
        for cell in runs.values()
        if cell.job.own is not None and cell.job.options.ep == result.options.ep
        for table in _nearest(cell, result)
    ]
    return [Section("nearest", "Nearest workloads", tables=tables)] if tables else []


def _nearest(cell: CellResult, result: StudyResult) -> list[Table]:
    suite = _suite(cell, result)
    if cell.op_mix is None or not suite:
        return []
    placed = nearest_workloads(cell.op_mix, suite)
    rows: list[list[TableCell | str]] = [
        [
            neighbour.workload,
            number_cell(neighbour.distance, ".3f"),
            "; ".join(f"{gap.name} {gap.share_a:.0%} here, {gap.share_b:.0%} there" for gap in neighbour.gaps),
        ]
        for neighbour in placed.neighbours
    ]
    note = "Cosine distance of the op mixes. The model itself is no part of the framework question or the claims."
    title = f"{placed.mode}, among the graphs from {placed.framework}"
    return [Table(title, ("workload", "distance", "differs most in"), rows, note)]


def _suite(cell: CellResult, result: StudyResult) -> list[OpMix]:
    """The op mixes of the workloads in the model's mode, from its framework where that made any."""
    mixes = [
        other.op_mix
        for other in result.cells
        if other.op_mix is not None and other.job.own is None and other.cell.mode == cell.cell.mode
    ]
    frameworks = list(dict.fromkeys(mix.label.framework for mix in mixes))
    chosen = cell.cell.framework if cell.cell.framework in frameworks else (frameworks or [""])[0]
    return [mix for mix in mixes if mix.label.framework == chosen]
