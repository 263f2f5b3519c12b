"""The report of runs of any graph: of one, where its time goes; of several, how they compare with the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fathom_onnx.analysis.comparison import Comparison, cautions, compare
from fathom_onnx.analysis.runs.run import Run

from .bars import CLASS_KEY, Bar, BarRow, Bars, known_parts
from .drawing import short
from .overview import Overview
from .page import Page
from .report import Report, duration, percent, render
from .sections.comparison_sections import GROUPED, compared_sections, facts_section, side_by_side_section
from .sections.run_sections import ShownRun, run_sections, trust
from .sections.run_tiles import run_tile, run_tiles, step_us

__all__ = ["run_report"]

_TILES = 8
"""Runs that have a tile."""

_FACTS_ELSEWHERE = ("memory", "control_steps_us", "comparable_steps_us", "dropped_control_steps_us")


def run_report(runs: Sequence[ShownRun], commands: Sequence[str] = ()) -> str:
    """The report as HTML, complete in itself.

    Args:
        runs: The runs, one at least, under different names.
        commands: The commands that make it again.
    """
    summaries = [shown.run.summary() for shown in runs]
    make = _of_one(runs[0], summaries[0]) if len(runs) == 1 else _of_several(runs, summaries)
    manifests = {
        shown.name: {k: v for k, v in shown.run.manifest.items() if k not in _FACTS_ELSEWHERE} for shown in runs
    }
    return render(Report(**make, manifests=manifests, commands=commands))


def _settings(summary: Mapping[str, Any]) -> str:
    where = summary.get("provider") or f"{summary['framework']} itself"
    parts = [
        f"on {where}",
        f"threads: {summary.get('threads') or 'unknown'}",
        f"{summary['steps']} steps after {summary['warmup']}",
    ]
    data = summary.get("data")
    if isinstance(data, Mapping) and data.get("source"):
        parts.append(f"data: {data['source']} ({data['kind']})")
    return ", ".join(parts)


def _graph(summary: Mapping[str, Any]) -> str:
    return str(summary.get("graph") or f"{summary['workload']} {summary['mode']}")


def _of_one(shown: ShownRun, summary: Mapping[str, Any]) -> dict[str, Any]:
    graph = _graph(summary)
    heaviest = ", ".join(f"{row['name']} {percent(row['share'])}" for row in summary["by_op"][:3])
    phases = [f"{row['name']} {percent(row['share'])}" for row in summary["by_phase"] if row["us"] > 0]
    verdict = f"A step takes {duration(step_us(summary))}"
    verdict += f"; of the time in nodes, most is in {heaviest}" if heaviest else "; no node took any time"
    verdict += f"; by phase: {', '.join(phases)}." if len(phases) > 1 else "."
    by_class = {str(row["name"]): float(row["us"]) for row in summary["by_class"]}
    bar = Bar(graph, known_parts(by_class, CLASS_KEY), duration(shown.node_us))
    picture = Bars("Node time by op class", "One step.", [""], [BarRow(short(graph), [[bar]])], CLASS_KEY)
    return {
        "title": f"Run of {graph}",
        "subtitle": _settings(summary),
        "verdict": verdict,
        "findings": trust(summary),
        "overview": Overview("Where does the time of a step go?", run_tiles(0, shown, summary), picture=picture),
        "opening": run_sections(0, shown, summary),
    }


def _of_several(runs: Sequence[ShownRun], summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = runs
    comparisons: dict[str, Comparison] = {}
    for shown in others:
        if isinstance(first.run, Run) and isinstance(shown.run, Run):
            comparisons[shown.name] = compare(first.run, shown.run, GROUPED, names=(first.name, shown.name))
    base = step_us(summaries[0])
    ratios = [step_us(summary) / base if base else float("nan") for summary in summaries]
    end = 1.05 * max(_longest(shown) for shown in runs) / 1e3
    tiles = [
        run_tile(number, shown, summary, ratio, comparisons.get(shown.name), end)
        for number, (shown, summary, ratio) in enumerate(zip(runs, summaries, ratios, strict=True))
    ]
    whole = len(comparisons) == len(others)
    by_name = {shown.name: summary for shown, summary in zip(runs, summaries, strict=True)}
    compared = compared_sections(first, comparisons) if whole else [side_by_side_section(by_name)]
    said = [
        f"{shown.name}: {duration(step_us(summary))}, {ratio:.2f} of the first run's step."
        for shown, summary, ratio in zip(others, summaries[1:], ratios[1:], strict=True)
    ]
    warned = [
        f"{shown.name} against {first.name}: {warning}."
        for shown in others
        for warning in _warnings(first, shown, comparisons.get(shown.name))
    ]
    pages = [
        Page(f"run-{number}", shown.name, shown.name, trust(summary), run_sections(number, shown, summary))
        for number, (shown, summary) in enumerate(zip(runs, summaries, strict=True))
    ]
    return {
        "title": f"{len(runs)} runs of {', '.join(dict.fromkeys(map(_graph, summaries)))}",
        "subtitle": f"the first: {first.name}, {_settings(summaries[0])}",
        "verdict": f"A step of {first.name} takes {duration(base)}. {' '.join(said)}",
        "findings": warned,
        "overview": Overview(
            f"How do the runs compare with {first.name}?",
            tiles[:_TILES],
            "Each point is a step; the line is the median. All tiles have one scale.",
            _class_bars(runs, summaries),
        ),
        "opening": [*compared, facts_section(runs)],
        "pages": pages,
        "pages_title": "Runs",
    }


def _warnings(first: ShownRun, other: ShownRun, comparison: Comparison | None) -> Sequence[str]:
    """What makes two runs hard to compare; of runs of different kinds, by the facts that both tell."""
    if comparison is not None:
        return comparison.warnings
    both = first.run.manifest.keys() & other.run.manifest.keys()
    a, b = ({name: shown.run.manifest[name] for name in both} for shown in (first, other))
    return cautions((a, b), names=(first.name, other.name))


def _longest(shown: ShownRun) -> float:
    """The longest of the steps that a tile shows, microseconds."""
    control = shown.run.manifest["control_steps_us"]
    profiled = shown.run.steps["wall_us"] if isinstance(shown.run, Run) else shown.run.wall_us
    return float(max(control if len(control) else profiled))


def _class_bars(runs: Sequence[ShownRun], summaries: Sequence[Mapping[str, Any]]) -> Bars:
    rows = []
    for number, (shown, summary) in enumerate(zip(runs, summaries, strict=True)):
        by_class = {str(row["name"]): float(row["us"]) for row in summary["by_class"]}
        bar = Bar(shown.name, known_parts(by_class, CLASS_KEY), duration(shown.node_us))
        rows.append(BarRow(short(shown.name), [[bar]], f"run-{number}"))
    return Bars("Node time by op class", "One step of each run, on one scale.", [""], rows, CLASS_KEY)
