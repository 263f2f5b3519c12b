"""The section "2016 and 2026": how far workloads have moved between the suites."""

from __future__ import annotations

from fathom_onnx.analysis.report.page import CellState, Section, Table, TableCell
from fathom_onnx.analysis.report.sections.table_cells import number_cell, rounded_cell
from fathom_onnx.analysis.similarity.movement import CRITERIA, Movement, Placement, outside_everywhere
from fathom_onnx.study.comparisons.movements import NEWER, OLDER, SuiteComparison

from .workload_pages import page_anchor

__all__ = ["movement_sections"]

_STATES: dict[bool | None, tuple[str, CellState]] = {
    True: ("outside", "bad"),
    False: ("inside", "good"),
    None: ("not sure", "open"),
}


def movement_sections(comparison: SuiteComparison | None) -> list[Section]:
    """The suites beside each other; nothing where the study ran only one."""
    if comparison is None:
        return []
    lead = [comparison.verdict, _classes(comparison)]
    lead += [_changed(comparison, what, words) for what, words in _WORK.items()]
    return [
        Section(
            "suites",
            f"{OLDER} and {NEWER}",
            lead=lead,
            tables=[
                _placements(comparison),
                _shifts(comparison),
                _work(comparison),
                Table("What counts as an answer here", ("word", "meaning"), list(CRITERIA)),
            ],
        )
    ]


_WORK = {"intensity": "FLOPs a byte", "memory": "Memory at the peak over parameters"}


def _classes(comparison: SuiteComparison) -> str:
    moved = comparison.moved_classes
    if not moved:
        return "No op class has changed its mean share by as much as the criterion asks in every framework."
    told = [
        f"{name} ({', '.join(f'{s.framework} {s.older:.0%} to {s.newer:.0%}' for s in shifts)})"
        for name, shifts in moved.items()
    ]
    return f"Op classes whose mean share of training has changed: {'; '.join(told)}."


def _changed(comparison: SuiteComparison, what: str, words: str) -> str:
    means = comparison.means(what)
    if not means:
        return f"{words}: not known."
    numbers = "; ".join(f"{f}: {older:.3g} and {newer:.3g}" for f, (older, newer) in means.items())
    answer = "changed" if comparison.changed(what) else "not changed by the factor that is asked for"
    return f"{words}, geometric mean of {OLDER} and {NEWER}: {numbers}; {answer}."


def _placements(comparison: SuiteComparison) -> Table:
    rows: list[list[TableCell | str]] = []
    for mode, grouping in dict.fromkeys((m.mode, m.grouping) for m in comparison.movements):
        several = comparison.asked(mode, grouping)
        answers = outside_everywhere(several)
        rows += [_row(m, p, answers.get(p.workload)) for m in several for p in m.placements]
    columns = ("workload", "mode", "by", "framework", "nearest of 2016", "distance", "reach", "resamples outside")
    note = (
        "Reach: how far the most isolated workload of 2016 is from its nearest. In every framework: what all, and "
        "all resamples of their steps, agree on."
    )
    return Table("Nearest workloads of 2016", (*columns, "in every framework", "differs most in"), rows, note)


def _row(one: Movement, p: Placement, everywhere: bool | None) -> list[TableCell | str]:
    words, state = _STATES[everywhere]
    return [
        TableCell(p.workload, to=page_anchor(p.workload)),
        one.mode,
        one.grouping,
        one.framework,
        p.nearest,
        number_cell(p.distance, ".3f"),
        TableCell(f"{one.reach:.3f} ({one.isolated})", one.reach),
        TableCell(f"{p.outside_share:.0%}", p.outside_share),
        TableCell(words, state=state),
        "; ".join(f"{g.name} {g.share_a:.0%} here, {g.share_b:.0%} there" for g in p.gaps),
    ]


def _shifts(comparison: SuiteComparison) -> Table:
    rows: list[list[TableCell | str]] = [
        [
            s.op_class,
            s.framework,
            TableCell(f"{s.older:.1%}", s.older),
            TableCell(f"{s.newer:.1%}", s.newer),
            TableCell(f"{100 * s.points:+.1f}", s.points),
        ]
        for s in comparison.shifts
    ]
    return Table("Mean shares of a training step by op class", ("class", "framework", OLDER, NEWER, "points"), rows)


def _work(comparison: SuiteComparison) -> Table:
    rows: list[list[TableCell | str]] = [
        [
            TableCell(w.workload, to=page_anchor(w.workload)),
            w.suite,
            w.framework,
            *map(rounded_cell, (w.intensity, w.memory)),
        ]
        for w in comparison.work
    ]
    columns = ("workload", "suite", "framework", "FLOPs a byte", "tensors at the peak over parameters")
    return Table("Work and memory of the training steps", columns, rows)
