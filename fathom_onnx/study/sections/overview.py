"""The first screen of a study's report: the framework question by level, every workload's op classes, the claims."""

from __future__ import annotations

from fathom_onnx.analysis.paper.claims import Entry
from fathom_onnx.analysis.report.bars import CLASS_KEY, Bar, BarRow, Bars, known_parts
from fathom_onnx.analysis.report.overview import Mark, Overview, Tile
from fathom_onnx.analysis.report.strips import Strip, strip_svg
from fathom_onnx.analysis.similarity.distances import Assessment, FrameworkLevel
from fathom_onnx.study.result import StudyResult

from .paper_sections import CLAIM_STATES, OUTCOMES, claim_anchor
from .run_groups import Runs, group_runs
from .workload_pages import page_anchor

__all__ = ["study_overview"]

_ONE_GROUP = 8
"""Workloads of the picture up to which they stand in one group."""

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
    floors = any(_worst(level).floor is not None for level in levels if level.assessments)
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


def _worst(level: FrameworkLevel) -> Assessment:
    """The assessment whose frameworks are farthest apart beside its workloads: the one that the verdict names."""
    return max(level.assessments, key=lambda a: (a.ratio is None, a.ratio or 0.0))


def _tile(number: int, level: FrameworkLevel) -> Tile:
    words, state = OUTCOMES[level.outcome]
    title = f"{level.what[:1].upper()}{level.what[1:]}"
    if not level.assessments:
        return Tile(title, words, (), state, to="question")
    worst = _worst(level)
    within = [p.distance for p in worst.pairs if p.a.other_framework_of(p.b)]
    between = [p.distance for p in worst.pairs if p.a.other_workload_of(p.b)]
    strip = strip_svg(
        f"level-{number}",
        f"{level.what}: distances between frameworks {worst.within:.3f} on average, between workloads "
        f"{worst.between:.3f}, {worst.mode} by {worst.grouping}",
        [
            Strip("frameworks", within, sum(within) / len(within) if within else None),
            Strip("workloads", between, sum(between) / len(between) if between else None),
        ],
        floor=worst.floor,
        unit=f"{worst.mode} by {worst.grouping}",
    )
    numbers = [(f"{worst.within:.3f}", "between frameworks"), (f"{worst.between:.3f}", "between workloads")]
    return Tile(title, words, numbers, state, strip, "question")


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
    return Bars(
        "Where the time goes: node time by op class",
        f"Bars from the top: {', '.join(dict.fromkeys(c.cell.framework for c in result.cells))}.",
        modes,
        rows,
        CLASS_KEY,
        groups=-(-len(rows) // _ONE_GROUP),
    )


def _bars(runs: Runs, mode: str) -> list[Bar]:
    bars = []
    for who, cell in runs.items():
        shares = {str(row["name"]): float(row["share"]) for row in cell.summary["by_class"]}
        rest = 1.0 - sum(shares.values())
        shares |= {"rest": rest} if rest >= _LEAST_REST else {}
        bars.append(Bar(f"{who} {mode}", known_parts(shares, CLASS_KEY)))
    return bars
