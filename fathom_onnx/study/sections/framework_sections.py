"""Sections on the frameworks: the workloads with their graphs, and the frameworks' own runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fathom_onnx.analysis.report.page import Section, Table, TableCell
from fathom_onnx.analysis.report.sections.table_cells import number_cell, time_cell
from fathom_onnx.study.cells.results import CellResult
from fathom_onnx.study.result import StudyResult
from fathom_onnx.workloads import definition
from fathom_onnx.workloads.catalogue import CATALOGUE

from .workload_pages import page_anchor

__all__ = ["framework_sections"]


def framework_sections(result: StudyResult) -> list[Section]:
    """The table of workloads and, if there are native runs, these beside those in onnxruntime."""
    natives = [cell for cell in result.native_runs if cell.done]
    return [_workloads_section(result), *([_native_section(result, natives)] if natives else [])]


class _Facts(NamedTuple):
    """What the table says of a workload; None where it is not known."""

    summary: str
    data: str
    parameters: int | None
    batch_size: int | None


def _facts(cell: CellResult) -> _Facts:
    own, made = cell.job.own, cell.export
    if own is not None:  # the model is not built again for this
        return _Facts(own.summary, str(made.get("data", "")), made.get("parameters"), made.get("batch_size"))
    workload = cell.job.workload
    parameters = sum(p.elements for p in workload.parameters)
    return _Facts(definition(cell.cell.workload).summary, workload.data, parameters, workload.batch_size)


def _workloads_section(result: StudyResult) -> Section:
    """The paper's Table II with our numbers."""
    nodes: dict[str, dict[tuple[str, str], int]] = {}
    for cell in result.cells:
        if cell.export.get("nodes"):
            key = cell.cell.framework, cell.cell.mode
            nodes.setdefault(cell.cell.workload, {})[key] = int(cell.export["nodes"])
    kinds = list(dict.fromkeys(key for several in nodes.values() for key in several))
    rows, graphs = [], []
    paged = {cell.cell.workload for cell in result.cells if cell.done}
    for name, facts in {cell.cell.workload: _facts(cell) for cell in result.cells}.items():
        paper = CATALOGUE.get(name)
        row: list[TableCell | str] = [
            TableCell(name, to=page_anchor(name) if name in paged else ""),
            TableCell(str(paper.year), paper.year) if paper else TableCell(""),
            paper.style if paper else "",
            paper.task if paper else "",
            facts.summary,
            f"{paper.dataset}; here {facts.data}" if paper else facts.data,
            TableCell(str(paper.layers), paper.layers) if paper else TableCell(""),
        ]
        rows.append(row)
        counts = [nodes.get(name, {}).get(kind) for kind in kinds]
        sizes: list[TableCell | str] = [
            TableCell(name),
            TableCell("") if facts.parameters is None else TableCell(f"{facts.parameters:,}", facts.parameters),
            TableCell("") if facts.batch_size is None else TableCell(str(facts.batch_size), facts.batch_size),
        ]
        graphs.append([*sizes, *(TableCell("") if n is None else TableCell(f"{n:,}", n) for n in counts)])
    columns = ("workload", "year", "style", "task", "model", "data", "layers (paper)")
    titles = [f"nodes, {framework} {mode}" for framework, mode in kinds]
    note = "After the paper's Table II, with the sizes of this study's preset. Each name leads to the workload's page."
    table = Table("Workloads", columns, rows, note)
    sized = Table("Graphs", ("workload", "parameters", "batch", *titles), graphs)
    return Section("workloads", "The workloads", lead=[_TABLE_I], tables=[table, sized])


_TABLE_I = (
    "The paper's Table I is its survey of what the literature on computer architecture had covered by then; no run can "
    "reproduce it."
)


def _native_section(result: StudyResult, natives: Sequence[CellResult]) -> Section:
    executed = {cell.cell: cell.summary for cell in result.cells if cell.done}
    rows: list[list[TableCell | str]] = []
    for cell in natives:
        s, in_onnxruntime = cell.summary, executed.get(cell.cell)
        other = float(in_onnxruntime["control_us"]) if in_onnxruntime and in_onnxruntime.get("control_us") else None
        top = ", ".join(f"{row['name']} {row['share']:.0%}" for row in s["by_op"][:3])
        top += f" ({cell.profiled_as})" if cell.profiled_as else ""
        rows.append(
            [
                str(cell.cell),
                time_cell(s["control_us"]),
                time_cell(other),
                number_cell(None if other is None else other / s["control_us"], ".2f"),
                time_cell(s["step_us"]),
                number_cell(s.get("explained_share"), ".2f"),
                top,
            ]
        )
    ways = {cell.cell.framework: cell.profiled_as for cell in natives if cell.profiled_as}
    columns = ("run", "in the framework", "in onnxruntime", "ratio", "with its profiler", "explained", "heaviest ops")
    note = (
        "Unprofiled steps, then the framework's own step under its own profiler. Explained: time of all operations "
        "over the unprofiled step with the same settings."
        + "".join(f" Under its profiler {one} runs {words}." for one, words in ways.items())
    )
    return Section("native", "In the frameworks themselves", tables=[Table("Steps", columns, rows, note)])
