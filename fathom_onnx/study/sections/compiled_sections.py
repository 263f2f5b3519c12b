"""The section on compiled steps: their times beside those of the same steps eager and as graphs, and their kernels."""

from __future__ import annotations

from fathom_onnx.analysis.report.page import Section, Table, TableCell
from fathom_onnx.analysis.report.sections.table_cells import number_cell, percent_cell, time_cell
from fathom_onnx.study.comparisons.compiled import WAYS, StepTimes, compiled_finding, framework_pairs
from fathom_onnx.study.result import StudyResult

__all__ = ["compiled_sections"]

_KINDS = {"generated": "written by the compiler", "library": "calls of a library", "eager": "outside the compiled code"}


def compiled_sections(result: StudyResult) -> list[Section]:
    """The section; none where no step was compiled."""
    steps = result.compiled_steps
    if not steps:
        return []
    frameworks = list(dict.fromkeys(name for step in steps for name in step.compiled))
    unknown = {
        f"In {framework}: {summary['compiler']}. Not known: {summary['unknown']}."
        for step in steps
        for framework, summary in step.compiled.items()
    }
    lead = [line for line in (compiled_finding(steps), *sorted(unknown)) if line]
    kernels = _kernels(steps)
    tables = [_times(steps, frameworks), *([kernels] if kernels.rows else [])]
    return [Section("compiled", "Compiled steps", lead=lead, tables=tables)]


def _times(steps: list[StepTimes], frameworks: list[str]) -> Table:
    rows: list[list[TableCell | str]] = []
    pairs = framework_pairs(steps)
    for step in steps:
        row: list[TableCell | str] = [step.workload, step.mode]
        for framework in frameworks:
            row += [time_cell(step.us[way].get(framework)) for way in WAYS]
            row.append(number_cell(step.gain(framework), ".2f"))
            summary = step.compiled.get(framework)
            row.append(number_cell(None if summary is None else summary["compile_s"], ".1f"))
        row += [number_cell(step.ratio(way, pair), ".2f") for pair in pairs for way in WAYS]
        rows.append(row)
    columns = ["workload", "mode"]
    for framework in frameworks:
        columns += [f"{framework} {words}" for words in WAYS.values()]
        columns += [f"{framework}: gain by compiling", f"{framework}: compilation, s"]
    columns += [f"{_slower(pair, pairs)}, {words}" for pair in pairs for words in WAYS.values()]
    note = (
        "Medians of unprofiled steps. Compiled steps are measured in one process each, not in rounds. The compilation "
        "is what the first step took longer; a compiler's cache on disk makes it shorter."
    )
    return Table("Steps by how they are run", columns, rows, note)


def _slower(pair: tuple[str, str], pairs: list[tuple[str, str]]) -> str:
    return "slowest over fastest" if len(pairs) == 1 else f"slower over faster of {' and '.join(pair)}"


def _kernels(steps: list[StepTimes]) -> Table:
    rows: list[list[TableCell | str]] = []
    for step in steps:
        for framework, summary in step.compiled.items():
            kinds = summary["by_kind"]
            if kinds is not None:
                row: list[TableCell | str] = [step.workload, step.mode, framework]
                for kind in _KINDS:
                    found = kinds.get(kind, {"share": 0.0, "calls": 0})
                    row += [percent_cell(found["share"]), TableCell(str(found["calls"]), found["calls"])]
                rows.append(row)
    columns = ["workload", "mode", "framework"]
    for words in _KINDS.values():
        columns += [f"{words}: time", f"{words}: calls"]
    note = "Shares of the time of all kernels in a step under the framework's profiler, where the compiler shows them."
    return Table("Kernels of compiled steps", columns, rows, note)
