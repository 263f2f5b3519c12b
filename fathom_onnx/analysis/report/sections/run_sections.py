"""Sections on one run: where its time goes, its nodes, its roofline, memory and timeline, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pandas as pd

from fathom_onnx.analysis.report.drawing import short
from fathom_onnx.analysis.report.page import Figure, Section, Table, TableCell
from fathom_onnx.analysis.report.report import duration, percent
from fathom_onnx.analysis.report.timeline_figure import step_timeline
from fathom_onnx.analysis.runs.native_run import NativeRun
from fathom_onnx.analysis.runs.roofline import Roofline
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.runtime.speed.gauge import gauge_line

from .group_tables import group_table
from .layer_bars import layer_bars
from .memory_sections import memory_sections
from .roofline_sections import roofline_sections
from .table_cells import percent_cell, rounded_cell, time_cell

__all__ = ["ShownRun", "run_sections", "trust"]

_NODES = 60
"""Executed nodes that the table lists, those that take longest."""

_TIMELINE = (
    "The nodes one after the other in the order of the model that ran, each as long as its median time; time between "
    "nodes is left out. timeline.json.gz in the run folder has every step as it was, for Perfetto."
)


@dataclass(frozen=True)
class ShownRun:
    """A run as a report shows it.

    Attributes:
        name: What the report calls it; no two of a report are the same.
        run: The run.
        rooflines: Its rooflines by node, layer and op; empty where there are none.
        no_roofline: Why there are none.
        roofline_warnings: What makes them doubtful.
    """

    name: str
    run: Run | NativeRun
    rooflines: Mapping[str, Roofline] = field(default_factory=dict)
    no_roofline: str = ""
    roofline_warnings: Sequence[str] = ()

    @property
    def node_us(self) -> float:
        """Time in nodes, or in the framework's operations."""
        return self.run.node_time_us if isinstance(self.run, Run) else self.run.op_time_us

    @property
    def by_class(self) -> bool:
        """Whether its layers are parted by op class: a step of one phase has no other parts."""
        return len([us for us in self.run.by_phase()["us"] if us > 0]) < 2

    @property
    def layers(self) -> pd.DataFrame:
        """Microseconds by layer and phase, or class."""
        return self.run.crossed("layer", "class" if self.by_class else "phase")


def run_sections(number: int, shown: ShownRun, summary: Mapping[str, Any]) -> list[Section]:
    """All sections on a run.

    Args:
        number: Tells the ids of its drawings from those of other runs.
        shown: The run.
        summary: Its summary.
    """
    picture = layer_bars("Layers", {"": {shown.name: shown.layers}}, shown.by_class)
    timed = {"time": shown.rooflines} if shown.rooflines else {}
    times = [group_table(f"By {what}", {"time": summary}, what, timed) for what in ("phase", "class", "op", "layer")]
    sections = [Section(f"times-{number}", "Where the time goes", bars=[picture], tables=times)]
    if isinstance(shown.run, Run):
        sections.append(_nodes(number, shown.run))
    graph, mode = short(str(summary.get("graph") or shown.name)), str(summary.get("mode") or "a step")
    under = roofline_sections(f"roofline-{number}", {graph: {mode: shown.rooflines}}) if shown.rooflines else []
    if under and shown.roofline_warnings:
        doubts = f"Warning: {'; '.join(shown.roofline_warnings)}."
        under = [replace(under[0], lead=[doubts, *under[0].lead]), *under[1:]]
    if not under and shown.no_roofline:
        under = [Section("roofline", "Roofline", lead=[f"There is no roofline: {shown.no_roofline}."])]
    sections += [*under, *memory_sections(f"memory-{number}", {graph: {mode: summary}})]
    if isinstance(shown.run, Run) and shown.node_us > 0:
        drawn = partial(step_timeline, f"timeline-{number}", shown.run)
        sections.append(Section("timeline", "Timeline", figures=[Figure("A step", drawn, _TIMELINE)]))
    return [
        Section(
            section.anchor if section.anchor.endswith(f"-{number}") else f"{section.anchor}-{number}",
            *(section.title, section.lead, section.figures, section.tables, section.folded, section.bars),
        )
        for section in sections
    ]


def _nodes(number: int, run: Run) -> Section:
    """The executed nodes that take longest, and those that are attributed to no op."""
    longest = run.nodes.nlargest(_NODES, "median_us")
    total = run.node_time_us
    rows: list[list[TableCell | str]] = [
        [
            str(row["name"]),
            str(row["op_type"]),
            str(row["layer"]) or str(row["kind"]),
            str(row["op"]),
            str(row["phase"]),
            time_cell(float(row["median_us"])),
            percent_cell(float(row["median_us"]) / total if total else None),
            rounded_cell(float(row["calls"])),
            rounded_cell(100 * float(row["cv"])),
            str(len(row["originals"])),
        ]
        for row in longest.to_dict("records")
    ]
    columns = ("executed node", "op type", "layer", "op", "phase", "time", "share", "calls", "varies, %", "stands for")
    note = (
        f"The {len(rows)} of {len(run.nodes)} executed nodes that take longest. Varies: coefficient of variation over "
        "the steps. Stands for: how many nodes of the graph as written."
    )
    tables = [Table("The longest", columns, rows, note)]
    loose = run.unattributed()
    if len(loose):
        rest: list[list[TableCell | str]] = [
            [str(row["node"]), str(row["op_type"]), time_cell(float(row["us"])), str(row["reason"])]
            for row in loose.to_dict("records")
        ]
        tables.append(Table("Attributed to no op", ("node", "op type", "time", "reason"), rest))
    return Section(f"nodes-{number}", "Nodes", tables=tables)


def trust(summary: Mapping[str, Any]) -> list[str]:
    """How far the times of a run can be trusted, a sentence a fact."""
    said = [f"Error: {line}." for line in summary.get("contradictions", ())]
    outside, run_us = float(summary["outside_us"]), float(summary["run_time_us"])
    if outside < 0:
        said.append(f"The times of nodes add up to {duration(-outside)} more than the run takes.")
    elif run_us > 0:
        said.append(f"{percent(outside / run_us)} of a profiled step is outside nodes.")
    overhead, control = summary.get("profiling_overhead_us"), summary.get("control_us")
    if overhead is not None and control:
        said.append(f"Profiling adds {100 * overhead / control:.0f}% to an unprofiled step.")
    if line := gauge_line(summary):
        said.append(f"{line[0].upper()}{line[1:]}.")
    facts = summary.get("statistics") or {}
    if facts.get("dropped_steps"):
        said.append(f"{facts['dropped_steps']} profiled steps were still warm-up and are not counted.")
    if facts.get("settled") is False:
        said.append(f"The steps did not settle: {facts['settled_reason']}.")
    if facts.get("step_drift"):
        said.append(f"The step's time drifts by {facts['step_drift']:+.0%} over the run.")
    if facts.get("below_floor_share") is not None:
        said.append(
            f"{percent(facts['below_floor_share'])} of the node time is in nodes below the profiler's own cost of "
            f"{duration(facts['floor']['us'])} a node."
        )
    if summary.get("unattributed_us") is not None:
        node_us = float(summary["node_time_us"])
        share = percent(float(summary["unattributed_us"]) / node_us) if node_us else "0.0%"
        said.append(f"{share} of the node time is attributed to no op.")
    if summary.get("split_us"):
        said.append(f"{duration(float(summary['split_us']))} are of fused nodes, split over what they stand for.")
    return said
