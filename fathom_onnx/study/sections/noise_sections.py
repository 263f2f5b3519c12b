"""The section on noise: the rounds of every run beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from fathom_onnx.analysis.report.page import Section, Table, TableCell
from fathom_onnx.analysis.report.sections.table_cells import number_cell, time_cell
from fathom_onnx.study.comparisons.noise import RunNoise, noise_finding
from fathom_onnx.study.result import StudyResult

__all__ = ["noise_sections"]


def noise_sections(result: StudyResult) -> list[Section]:
    """How far rounds are apart in step time and op mix; nothing where every run was measured in one round."""
    if not result.noise:
        return []
    most = max(len(run.step_us) for run in result.noise)
    columns = (
        *("run", *(f"round {n}" for n in range(1, most + 1)), "spread of the step"),
        *("op mix, by class", "op mix, by op", "machine between rounds", "unsteady rounds", "repeated"),
    )
    note = (
        "Median unprofiled steps of each round, and the slowest over the fastest less 1. Op mixes: the largest cosine "
        "distance between two rounds, the run's noise floor. Machine: a loop of fixed arithmetic between the steps, "
        "its slowest round over its fastest less 1; a round is unsteady if the loop's time changed by more than a "
        "tenth within it."
    )
    table = Table("Spread between rounds", columns, [_row(run, most) for run in result.noise], note)
    tables = [table, _by_framework(result.noise)]
    return [Section("noise", "Noise between rounds", lead=[noise_finding(result.noise)], tables=tables)]


def _by_framework(noise: Sequence[RunNoise]) -> Table:
    """The noise floors of each framework's runs: whether one is noisier than the others."""
    groups: dict[tuple[str, str], list[RunNoise]] = {}
    for run in noise:
        where = "in the framework" if run.is_native else "in onnxruntime"
        where += f", {run.cell.profiled_as}" if run.cell.profiled_as else ""
        groups.setdefault((run.cell.cell.framework, where), []).append(run)
    rows: list[list[TableCell | str]] = []
    for (framework, where), runs in groups.items():
        row: list[TableCell | str] = [framework, where, TableCell(str(len(runs)), len(runs))]
        for grouping in ("class", "op"):
            floors = [floor for run in runs if (floor := run.floors[grouping]) is not None]
            row += [number_cell(summed(floors) if floors else None, ".4f") for summed in (median, max)]
        rows.append(row)
    columns = (*("framework", "runs", "number", "median floor, by class", "largest", "median floor, by op", "largest"),)
    return Table("Noise floors by framework", columns, rows)


def _row(run: RunNoise, rounds: int) -> list[TableCell | str]:
    steps = [*run.step_us, *[None] * (rounds - len(run.step_us))]
    return [
        run.name,
        *(time_cell(us) for us in steps),
        number_cell(run.step_spread, ".1%"),
        number_cell(run.floors["class"], ".4f"),
        number_cell(run.floors["op"], ".4f"),
        number_cell(run.speed_between, ".1%"),
        TableCell(str(run.unsteady), run.unsteady, state="open" if run.unsteady else None),
        TableCell(str(run.repeated), run.repeated),
    ]
