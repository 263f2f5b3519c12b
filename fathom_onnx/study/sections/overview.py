"""The first screen of a study's report: the framework question by level, every workload's op classes, the claims."""

from __future__ import annotations

from fathom_onnx.analysis.paper.claims import Entry
from fathom_onnx.analysis.report.bars import CLASS_KEY, Bar, BarRow, Bars, known_parts
from fathom_onnx.analysis.report.overview import Mark, Overview, Tile
from fathom_onnx.analysis.report.strips import Strip, strip_svg
from fathom_onnx.analysis.similarity.distances import Assessment
from fathom_onnx.analysis.similarity.levels import FrameworkLevel
from fathom_onnx.study.result import StudyResult

from .paper_sections import CLAIM_STATES, OUTCOMES, claim_anchor, measured_otherwise
from .run_groups import Runs, group_runs
from .workload_pages import page_anchor

__all__ = ["study_overview"]

_ONE_GROUP, _GROUPS = 16, 2
"""Bars of a mode in the picture up to which they stand in one group, and the most groups beside each other."""

_LEAST_REST = 0.002
"""Least share of time without an op class that is shown."""

_NOTE = "Points: cosine distances, where frameworks are farthest apart beside workloads; the line is the mean."
_FLOOR_NOTE = " Grey: the noise floor, between rounds of one run; the numbers count what is above it."


def study_overview(result: StudyResult) -> Overview | None:
    """The first screen; None where no cell ran."""
    if not result.summaries:
        return None
    levels = result.framework
    tiles = [*_undone(result), *(_tile(number, level) for number, level in enumerate(levels))]
    floors = any(level.worst is not None and level.worst.floor is not None for level in levels)
    return Overview(
        "Does the choice of framework matter?",
        tiles,
        (_NOTE + (_FLOOR_NOTE if floors else "")) if any(level.assessments for level in levels) else "",
        _picture(result),
        [_mark(number, entry) for number, entry in enumerate(result.ledger)],
        "The paper's claims",
    )


def _undone(result: StudyResult) -> list[Tile]:
    """A tile for what failed, if anything did."""
    if result.ok:
        return []
    checks = sum(not check["passed"] for check in result.checks)
    numbers = [(str(checks), f"of {len(result.checks)} checks failed")] if result.checks else []
    where = "failures" if result.failures else "verification"
    return [Tile("What failed", f"{len(result.failures) + checks} failures", numbers, "bad", to=where)]


def _beside(level: FrameworkLevel, worst: Assessment) -> list[Assessment]:
    """The assessments of all pairs of frameworks that are of the mode and grouping of the worst one."""
    return [a for a in level.assessments if (a.mode, a.grouping) == (worst.mode, worst.grouping)]


def _strips(level: FrameworkLevel, worst: Assessment) -> list[Strip]:
    """Every distance between frameworks, a strip a pair of them, and every one between workloads."""
    pairs = _beside(level, worst)
    within = {
        ", ".join(a.frameworks) if len(pairs) > 1 else "frameworks": [
            p.distance for p in a.pairs if p.a.other_framework_of(p.b)
        ]
        for a in pairs
    }
    of_runs = {(p.a, p.b): p.distance for a in pairs for p in a.pairs if p.a.other_workload_of(p.b)}
    values = {**within, "workloads": list(of_runs.values())}
    return [Strip(name, found, sum(found) / len(found) if found else None) for name, found in values.items()]


def _tile(number: int, level: FrameworkLevel) -> Tile:
    words, state = OUTCOMES[level.outcome]
    title = f"{level.what[:1].upper()}{level.what[1:]}"
    worst = level.worst
    if worst is None:
        return Tile(title, words, (), state, to="question")
    strip = strip_svg(
        f"level-{number}",
        f"{level.what}: distances between frameworks {worst.within:.3f} on average, between workloads "
        f"{worst.between:.3f}, {worst.mode} by {worst.grouping}",
        _strips(level, worst),
        floor=worst.floor,
        unit=f"{worst.mode} by {worst.grouping}",
    )
    who = " and ".join(worst.frameworks) if level.pairs else "between frameworks"
    numbers = [(f"{worst.within:.3f}", who), (f"{worst.between:.3f}", "between workloads")]
    notes = [f"in {level.holds:.0%} of resamples, {note}" for note in measured_otherwise(level)]
    notes += [f"{' and '.join(pair.between)}: {OUTCOMES[pair.outcome][0]}" for pair in level.pairs]
    return Tile(title, words, numbers, state, strip, "question", "; ".join(notes))


def _mark(number: int, entry: Entry) -> Mark:
    text = f"{entry.verdict}: {entry.claim.text}"
    return Mark(entry.claim.id, CLAIM_STATES[entry.verdict], text, claim_anchor(number))


def _picture(result: StudyResult) -> Bars:
    """The op classes of every workload: a column a mode, a bar a framework."""
    grouped = group_runs(result.cells)
    modes = list(dict.fromkeys(mode for by_mode in grouped.values() for mode in by_mode))
    modes.sort(key=lambda mode: mode != "training")
    rows = [
        BarRow(workload, [_bars(by_mode.get(mode, {}), mode) for mode in modes], page_anchor(workload))
        for workload, by_mode in grouped.items()
    ]
    bars = sum(max(len(cell) for cell in row.cells) for row in rows)
    return Bars(
        "Where the time goes: node time by op class",
        f"Bars from the top: {', '.join(dict.fromkeys(c.cell.framework for c in result.cells))}.",
        modes,
        rows,
        CLASS_KEY,
        groups=min(_GROUPS, -(-bars // _ONE_GROUP)),
    )


def _bars(runs: Runs, mode: str) -> list[Bar]:
    bars = []
    for who, cell in runs.items():
        shares = {str(row["name"]): float(row["share"]) for row in cell.summary["by_class"]}
        rest = 1.0 - sum(shares.values())
        shares |= {"rest": rest} if rest >= _LEAST_REST else {}
        bars.append(Bar(f"{who} {mode}", known_parts(shares, CLASS_KEY)))
    return bars
