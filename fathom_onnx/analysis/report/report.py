"""A study, or a run, as one self-contained HTML file.

The first screen and the verdict come first, then the figures, the tables behind them, the checks, the facts of every
run, and the commands that reproduce it. Names come from graph files and paths and are escaped; the page's content
security policy allows no script but its own and no request to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fathom_onnx.analysis.similarity.similarity import FrameworkEffect, RunLabel, distances, share_table
from fathom_onnx.vocabulary import OpClass

from .overview import Overview
from .page import Figure, Page, Section, three_digits

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["DrawAll", "Report", "draw_in_turn", "duration", "render"]

Summary = Mapping[str, Any]

_TABLES = ("by_phase", "by_class", "by_op", "by_layer")
_IN_ONE_DRAWING = 36
"""Runs up to which every two have room for their distance in one drawing."""

_ELSEWHERE = (*RunLabel._fields, *_TABLES, "schema", "graph_sha256")
"""What a run's facts need not repeat: its title, its tables and its manifest have it."""


@dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        title: The page's title.
        verdict: The one line to read.
        subtitle: Date, machine and inputs, in one line.
        findings: Further lines, each complete in itself.
        opening: Sections after the verdict.
        closing: Sections after the runs.
        pages: A page a workload, each shown when its link is followed. Runs on a page are not repeated elsewhere.
        summaries: One summary a run: ``workload``, ``framework``, ``mode``, the breakdowns ``by_phase``, ``by_class``,
            ``by_op`` and ``by_layer`` (rows of ``name``, ``us``, ``share``, ``nodes``), where there are any the nodes
            that are attributed to no op (``unattributed``), and any other facts of the run.
        effects: Framework against workload, by class and by op.
        checks: Verification results: ``name``, ``passed``, ``detail``.
        failures: What could not be done: ``what``, ``stage``, ``error``.
        manifests: Manifest by run.
        commands: The commands that make the same again.
        overview: The first screen; the verdict and the findings then come below it.
        pages_title: What the pages are about.
        floors: Noise floor by class of runs that were measured in rounds; distances up to it are marked as such.
    """

    title: str
    verdict: str
    subtitle: str = ""
    findings: Sequence[str] = ()
    opening: Sequence[Section] = ()
    closing: Sequence[Section] = ()
    pages: Sequence[Page] = ()
    summaries: Sequence[Summary] = ()
    effects: Sequence[FrameworkEffect] = ()
    checks: Sequence[Mapping[str, Any]] = ()
    failures: Sequence[Mapping[str, str]] = ()
    manifests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    commands: Sequence[str] = ()
    overview: Overview | None = None
    pages_title: str = "Workloads"
    floors: Mapping[RunLabel, float] = field(default_factory=dict)


def duration(us: float) -> str:
    """Microseconds in the unit that leaves one to three digits before the point."""
    for size, unit in ((1e6, "s"), (1e3, "ms")):
        if abs(us) >= size:
            return f"{three_digits(us / size)} {unit}"
    return f"{three_digits(us)} µs"


def percent(share: float) -> str:
    """A share as percent, with one decimal, and a small one not as nothing."""
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{100 * share:.1f}%"


def _digits(value: float) -> str:
    """A value to sort by: six digits tell two cells apart, and keep the page small."""
    return f"{value:.6g}"


def _grouped(number: float) -> str:
    return f"{number:,}"


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Rows of a nested manifest, with dotted keys and JSON for lists."""
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)


def _fact(name: str, value: Any) -> tuple[str, str]:
    """A fact in words: the unit is in the key's ending."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    words = name.replace("_", " ")
    if number and name.endswith("_us"):
        return words.removesuffix(" us"), duration(value)
    if number and name.endswith(("share", "_fraction")):
        return words, percent(value)
    if number and name.endswith("_bytes"):
        return words.removesuffix(" bytes"), f"{value / 1e6:,.1f} MB"
    if isinstance(value, float):
        return words, f"{value:.4g}"
    return words, str(value)


def _run(summary: Summary) -> dict[str, Any]:
    """A run as the template shows it."""
    scalars = {k: v for k, v in summary.items() if k not in _ELSEWHERE and isinstance(v, str | int | float)}
    data = summary.get("data")
    if isinstance(data, Mapping):
        scalars["data"] = f"{data['source']} ({data['kind']})"
    busiest = max(summary["by_op"], key=lambda row: float(row["us"]), default=None)
    where = summary.get("provider") or "cpu"
    return {
        "label": str(RunLabel.of(summary)) if where == "cpu" else f"{RunLabel.of(summary)} on {where}",
        "headline": f"{busiest['name']} {percent(busiest['share'])}" if busiest else "",
        "facts": [_fact(k, v) for k, v in scalars.items()],
        "summary": summary,
    }


def _figures(summaries: Sequence[Summary], floors: Mapping[RunLabel, float]) -> list[Figure]:
    """The drawings that these runs allow, with what each shows."""
    from . import framework_figures as figures

    if not summaries:
        return []
    classes = ", ".join(f"{c} {c.label.lower()}" for c in OpClass)
    drawn = [
        Figure(
            "Op classes",
            partial(figures.class_heatmap, summaries),
            f"Percent of node time by op class, after the paper's Figure 3: {classes}.",
        ),
        Figure(
            "Phases",
            partial(figures.phase_bars, summaries),
            "Share of node time. An inference graph has the forward phase only.",
        ),
        Figure(
            "Ops",
            partial(figures.top_ops, summaries),
            "The ops that take most time, in percent of node time, coloured by class.",
        ),
    ]
    if len(summaries) > 1:
        caption = "Cosine distance of the op-class profiles: 0 is the same mix, 1 has no class in common."
        if floors:
            caption += " In brackets: not above the noise floor, the largest distance between two rounds of either run."
        for number, (title, several) in enumerate(_together(summaries).items()):
            square = distances(share_table(several, "class"))
            draw = partial(figures.distance_matrix, square, floors, f"distances{number or ''}")
            drawn.append(Figure(title, draw, caption))
    return drawn


def _together(summaries: Sequence[Summary]) -> dict[str, list[Summary]]:
    """Title to the runs whose distances are in one drawing: those of each mode by themselves where there are many."""
    if len(summaries) <= _IN_ONE_DRAWING:
        return {"Distances": list(summaries)}
    modes: dict[str, list[Summary]] = {}
    for summary in summaries:
        modes.setdefault(f"Distances, {RunLabel.of(summary).mode}", []).append(summary)
    return modes


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined)
    # drawings escape the names they show; everything else in them is our own
    environment.filters.update(
        drawing=Markup, percent=percent, microseconds=duration, digits=_digits, grouped=_grouped, flat=_flat
    )
    return environment


def _apart(report: Report) -> list[Summary]:
    """The runs that are on no page."""
    paged = [summary for page in report.pages for summary in page.summaries]
    return [summary for summary in report.summaries if not any(summary is other for other in paged)]


def _sections(report: Report) -> list[tuple[str, str]]:
    """Anchor and name of the sections that the report has."""
    rows = (
        ("failures", "Failures", report.failures),
        ("figures", "Figures", report.summaries),
        ("frameworks", "Frameworks", [e for e in report.effects if e.framework_pairs or e.workload_pairs]),
        ("verification", "Verification", report.checks),
        ("runs", "Runs", _apart(report)),
        ("manifests", "Manifests", report.manifests),
        ("reproduce", "Make it again", report.commands),
    )
    fixed = [(anchor, name) for anchor, name, content in rows if content]
    opening, closing = ([(s.anchor, s.title) for s in sections] for sections in (report.opening, report.closing))
    failures = [row for row in fixed if row[0] == "failures"]
    rest = [row for row in fixed if row[0] != "failures"]
    last = next((i for i, row in enumerate(rest) if row[0] in ("manifests", "reproduce")), len(rest))
    first = [("overview", "Overview"), ("verdict", "In words")] if report.overview else [("verdict", "Verdict")]
    return [*first, *failures, *opening, *rest[:last], *closing, *rest[last:]]


DrawAll = Callable[[Sequence[Callable[[], str]]], Sequence[str]]
"""Makes several drawings, each from what draws it (:class:`Figure`)."""


def draw_in_turn(drawings: Sequence[Callable[[], str]]) -> list[str]:
    """Make drawings one after the other, in this process."""
    return [draw() for draw in drawings]


def render(report: Report, draw: DrawAll = draw_in_turn) -> str:
    """The whole page.

    Args:
        report: What it says.
        draw: Makes all of its drawings.
    """
    from markupsafe import Markup

    figures = _figures(report.summaries, report.floors)
    sections = [*report.opening, *report.closing, *(section for page in report.pages for section in page.sections)]
    everything = [*figures, *(figure for section in sections for figure in section.figures)]
    drawn = dict(zip(everything, draw([figure.draw for figure in everything]), strict=True))

    folder = files(__package__) / "templates"
    script = (folder / "report.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            sections=_sections(report),
            figures=figures,
            svgs=drawn,
            runs=[_run(summary) for summary in _apart(report)],
            pages=[(page, [_run(summary) for summary in page.summaries]) for page in report.pages],
            failed_checks=[check for check in report.checks if not check["passed"]],
            classes={str(c): c.label for c in OpClass},
            css=Markup((folder / "report.css").read_text("utf-8")),
            script=Markup(script),
            script_hash=f"sha256-{digest}",
        )
    )
