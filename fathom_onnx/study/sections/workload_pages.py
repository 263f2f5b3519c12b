"""A page of the report for each workload: steps, roofline, memory, ops and layers, with frameworks side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fathom_onnx.analysis.report.page import Page, Section, Table, TableCell, side_by_side
from fathom_onnx.analysis.report.report import duration
from fathom_onnx.analysis.report.sections.group_tables import group_table
from fathom_onnx.analysis.report.sections.layer_bars import layer_bars
from fathom_onnx.analysis.report.sections.memory_sections import memory_sections
from fathom_onnx.analysis.report.sections.roofline_sections import roofline_sections
from fathom_onnx.analysis.report.sections.table_cells import rounded_cell, time_cell
from fathom_onnx.study.result import StudyResult
from fathom_onnx.workloads import definition

from .nearest_sections import nearest_sections
from .run_groups import Runs, group_runs, summaries

__all__ = ["page_anchor", "workload_pages"]

_HEAVIEST = ("by_op", "by_layer")


def page_anchor(workload: str) -> str:
    """The id of a workload's page."""
    return f"workload-{workload}"


def workload_pages(result: StudyResult) -> list[Page]:
    """A page for each workload that was run."""
    natives = group_runs(result.native_runs)
    return [
        _page(number, workload, modes, natives.get(workload, {}), result)
        for number, (workload, modes) in enumerate(group_runs(result.all_providers).items())
    ]


def _page(
    number: int,
    workload: str,
    modes: Mapping[str, Runs],
    natives: Mapping[str, Runs],
    result: StudyResult,
) -> Page:
    own = next((cell.job.own for runs in modes.values() for cell in runs.values()), None)
    summary = own.summary if own else definition(workload).summary
    fidelity = "" if own else definition(workload).fidelity
    roofs = {
        mode: {who: by_rows for who, cell in runs.items() if (by_rows := result.rooflines.get(cell.job))}
        for mode, runs in modes.items()
    }
    # ids in drawings are numbered: a name may hold any character
    sections = [
        *_picture(modes),
        Section("steps", "Steps", tables=[_steps(modes, natives)]),
        *nearest_sections(modes, result),
        *roofline_sections(f"roofline-{number}", roofs),
        *memory_sections(f"memory-{number}", {mode: summaries(runs) for mode, runs in modes.items()}),
    ]
    for what, title in (("op", "Ops"), ("layer", "Layers")):
        tables = [group_table(f"{mode}, by {what}", summaries(runs), what, roofs[mode]) for mode, runs in modes.items()]
        tables += [
            side_by_side(f"{mode}, by {what}, in the frameworks", _profiles(runs), f"by_{what}", what, duration)
            for mode, runs in natives.items()
        ]
        sections.append(Section(f"{what}s", title, tables=tables, folded=True))
    rest = [
        side_by_side(f"{mode}, by {what}", summaries(runs), f"by_{what}", what, duration)
        for what in ("class", "phase")
        for mode, runs in modes.items()
    ]
    sections.append(Section("groups", "Classes and phases", tables=rest, folded=True))
    return Page(
        page_anchor(workload),
        f"{workload}: {summary}",
        workload,
        [fidelity] if fidelity else [],
        sections,
        [cell.summary for runs in modes.values() for cell in runs.values()],
    )


def _profiles(runs: Runs) -> dict[str, Mapping[str, Any]]:
    """Summaries of the frameworks' own profiles, named with how each was made where that needs to be said."""
    return {cell.profiled_name: cell.summary for cell in runs.values()}


def _picture(modes: Mapping[str, Runs]) -> list[Section]:
    """Time by layer and phase, frameworks and modes side by side; nothing where that is not known."""
    columns = {
        mode: times
        for mode, runs in sorted(modes.items(), key=lambda item: item[0] != "training")
        if (times := {who: cell.layers for who, cell in runs.items() if cell.layers is not None})
    }
    return (
        [Section("where", "Where the time goes", bars=[layer_bars("By layer and phase", columns)])] if columns else []
    )


def _steps(modes: Mapping[str, Runs], natives: Mapping[str, Runs]) -> Table:
    """The times of each run's steps, in onnxruntime and in the framework itself on the same provider."""
    native_us = {
        (c.cell, c.job.options.ep): c.summary["control_us"] for runs in natives.values() for c in runs.values()
    }
    rows: list[list[TableCell | str]] = []
    for mode, runs in modes.items():
        for who, cell in runs.items():
            s = cell.summary
            rows.append(
                [
                    f"{mode}, {who}",
                    time_cell(s.get("control_us")),
                    time_cell(native_us.get((cell.cell, cell.job.options.ep))),
                    time_cell(s.get("step_us")),
                    time_cell(s.get("outside_us")),
                    rounded_cell(s.get("executed_nodes")),
                    rounded_cell(cell.export.get("nodes")),
                    *(", ".join(f"{row['name']} {row['share']:.0%}" for row in s[rows][:1]) for rows in _HEAVIEST),
                ]
            )
    columns = (
        *("run", "a step", "in the framework itself", "profiled", "of it outside nodes", "nodes that ran"),
        *("nodes of the graph", "heaviest op", "heaviest layer"),
    )
    return Table("A step of each run", columns, rows)
