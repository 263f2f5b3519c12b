"""The section on values: steps with trained values beside those with starting values."""

from __future__ import annotations

from fathom_onnx.analysis.report.page import Section, Table, TableCell
from fathom_onnx.analysis.report.sections.table_cells import number_cell, percent_cell, time_cell
from fathom_onnx.study.comparisons.trained import ValueEffect, value_finding
from fathom_onnx.study.result import StudyResult

__all__ = ["trained_sections"]

_DIFFERS = {True: "yes", False: "no", None: "unknown"}


def trained_sections(result: StudyResult) -> list[Section]:
    """Times and op classes with starting and with trained values; nothing where no run had trained ones."""
    effects = result.value_effects
    if not effects:
        return []
    columns = (
        *("run", "values", "node time before", "after", "after over before", "95% interval", "rounds apart"),
        *("differs by more than noise", "op mixes apart", "noise floor"),
    )
    note = (
        "Before: starting values. After: those of the checkpoint. Rounds apart: the longest round over the shortest, "
        "less 1, of the same values. A time differs if the interval, by resampling rounds and steps, does not hold 1 "
        "and the ratio is farther from 1 than rounds are apart. Op mixes: cosine distance by op."
    )
    times = Table("Node time with trained values", columns, [_time_row(effect) for effect in effects], note)
    return [Section("values", "Values", lead=[value_finding(effects)], tables=[times, _class_table(effects)])]


def _time_row(effect: ValueEffect) -> list[TableCell | str]:
    ends = effect.interval
    return [
        str(effect.cell),
        effect.checkpoint,
        time_cell(effect.before_us),
        time_cell(effect.after_us),
        number_cell(effect.ratio),
        "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}",
        percent_cell(effect.spread),
        _DIFFERS[effect.differs],
        number_cell(effect.distance, ".4f"),
        number_cell(effect.floor, ".4f"),
    ]


def _class_table(effects: tuple[ValueEffect, ...]) -> Table:
    """The share of each op class before and after, a column a class that has some time."""
    used = [c for c in effects[0].classes if any(max(effect.classes[c]) > 0 for effect in effects)]
    rows: list[list[TableCell | str]] = [
        [str(effect.cell), *(cell for c in used for cell in map(percent_cell, effect.classes[c]))] for effect in effects
    ]
    columns = ("run", *(f"{c} {when}" for c in used for when in ("before", "after")))
    return Table("Op classes with trained values", columns, rows, "Shares of the node time.")
