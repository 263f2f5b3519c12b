"""The comparison of two runs: what is slower, what is faster, and which rows the difference of the totals consists of.

Rows are phases, classes, ops, layers or nodes, matched by name. As everywhere in a run, a row's time is the sum of its
nodes' medians, so that in every table

    time in B - time in A, summed over the rows = node time of B - node time of A

to float rounding. Therefore charged movement and unattributed time have rows of their own, and a row that only one run
has counts with all its time. ``docs/guide/compare.md`` describes the JSON form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fathom_onnx.analysis.runs import GROUPINGS, Grouping, Run
from fathom_onnx.errors import UsageError

from .cautions import cautions
from .row_tables import grouped_tables
from .run_facts import FactDifference, causes, differences
from .significance import ALPHA, CONFIDENCE, steps_to_separate
from .verdicts import Row, judge_rows

__all__ = ["SCHEMA", "TOTALS", "Comparison", "compare", "worse_than"]

SCHEMA = "fathom-onnx/compare/1"
"""Name and version of the JSON schema."""

TOTALS = {
    "control": "step, unprofiled",
    "step": "step, profiled",
    "run": "run inside onnxruntime",
    "nodes": "in nodes",
    "outside": "outside nodes",
}
"""Key of a total to its title; ``run`` is the sum of ``nodes`` and ``outside``."""


@dataclass(frozen=True)
class Comparison:
    """The comparison of run A and run B.

    Attributes:
        a: Facts of run A.
        b: Facts of run B.
        differences: The facts in which the runs differ.
        steps: Counted profiled steps of A and of B.
        control_steps: Counted unprofiled steps of A and of B.
        drifts: Relative change of the step's time over A and over B: 0 without a trend, None with too few steps. The
            test assumes that the steps of a run repeat the same measurement, which a drifting run violates.
        warnings: What makes the comparison doubtful: contradictions in a run, and :func:`~.cautions.cautions`.
        threshold: Smallest change of a row that counts as a change, as a share.
        totals: Key of :data:`TOTALS` to its row; no ``control`` where a run was read from a trace.
        tables: Grouping to its rows, the largest difference first.
        nodes_by_name: Whether both runs are of one graph, so that nodes are matched by name.
    """

    a: dict[str, Any]
    b: dict[str, Any]
    differences: tuple[FactDifference, ...]
    steps: tuple[int, int]
    control_steps: tuple[int, int]
    drifts: tuple[float | None, float | None]
    warnings: tuple[str, ...]
    threshold: float
    totals: dict[str, Row]
    tables: dict[Grouping, tuple[Row, ...]]
    nodes_by_name: bool

    @property
    def causes(self) -> tuple[str, ...]:
        """The kinds of facts that differ and affect times; the effects of two or more cannot be separated."""
        return causes(self.differences)

    def as_json(self) -> dict[str, Any]:
        """The comparison as one JSON object of schema :data:`SCHEMA`."""
        return {
            "schema": SCHEMA,
            "a": self.a,
            "b": self.b,
            "differences": [asdict(difference) for difference in self.differences],
            "causes": list(self.causes),
            "steps": list(self.steps),
            "control_steps": list(self.control_steps),
            "drifts": list(self.drifts),
            "warnings": list(self.warnings),
            "threshold": self.threshold,
            "alpha": ALPHA,
            "confidence": CONFIDENCE,
            "nodes_by_name": self.nodes_by_name,
            "totals": {key: asdict(row) for key, row in self.totals.items()},
            **{f"by_{grouping}": [asdict(row) for row in rows] for grouping, rows in self.tables.items()},
        }


def compare(
    run_a: Run,
    run_b: Run,
    groupings: Iterable[Grouping] = GROUPINGS,
    threshold: float = 0.05,
    names: tuple[str, str] = ("A", "B"),
) -> Comparison:
    """Compare two runs.

    Args:
        run_a: The run to compare with.
        run_b: The run that may be slower or faster.
        groupings: Tables to make.
        threshold: Smallest change of a row that counts as a change, as a share of A's time; 0.05 is 5 percent.
        names: What warnings call the runs.

    Raises:
        UsageError: The threshold is not a share.
        RunError: A run's samples do not fit its tables.
    """
    if not 0 <= threshold < 1:
        raise UsageError(f"a threshold cannot be {threshold:.0%}", "give 0 to 99 percent")
    same_graph = run_a.manifest["graph_sha256"] == run_b.manifest["graph_sha256"]
    drifts = (run_a.step_drift, run_b.step_drift)
    tables = grouped_tables(run_a, run_b, tuple(dict.fromkeys(groupings)), same_graph)
    return Comparison(
        a=_facts(run_a),
        b=_facts(run_b),
        differences=differences(run_a.manifest, run_b.manifest),
        steps=(len(run_a.steps), len(run_b.steps)),
        control_steps=(len(run_a.manifest["control_steps_us"]), len(run_b.manifest["control_steps_us"])),
        drifts=drifts,
        warnings=(
            *(
                f"in {name} {line}"
                for name, run in zip(names, (run_a, run_b), strict=True)
                for line in run.contradictions
            ),
            *cautions((run_a.manifest, run_b.manifest), drifts, names),
        ),
        threshold=threshold,
        totals={row.name: row for row in judge_rows(tables.totals, threshold)},
        tables={
            grouping: tuple(sorted(judge_rows(table, threshold), key=lambda row: -abs(row.difference_us)))
            for grouping, table in tables.groupings.items()
        },
        nodes_by_name=same_graph,
    )


def worse_than(comparison: Comparison, share: float) -> tuple[Literal["no", "yes", "unknown"], str]:
    """Whether the unprofiled step of B is slower than that of A by more than a share, and the reason as a text.

    The answer is "unknown" if there are too few steps to decide or a change of that size may be chance.

    Args:
        comparison: The comparison of the two runs.
        share: Largest accepted change; 0.1 is 10 percent.
    """
    if "control" not in comparison.totals:
        return "unknown", "a run that was read from a trace has no unprofiled steps"
    row = comparison.totals["control"]
    if row.ratio is None or row.p is None:
        return "unknown", "the unprofiled step of A takes no time"
    direction = "more" if row.ratio >= 1 else "less"
    change = f"the unprofiled step of B takes {abs(row.ratio - 1):.1%} {direction} time than A's (p = {row.p:.2g})"
    exceeds = row.ratio > 1 + share
    if row.clear or (row.significant and not exceeds):
        return ("yes" if exceeds else "no"), change
    needed = steps_to_separate(len(TOTALS), *comparison.control_steps)
    if needed is not None:
        return "unknown", f"{change}; {needed} steps in each run are needed to tell"
    if exceeds:
        return "unknown", f"{change}, which may be chance; profile more steps"
    return "no", change


def _facts(run: Run) -> dict[str, Any]:
    """The facts that identify a run."""
    names = ("graph", "workload", "mode", "framework", "preset", "provider", "threads", "optimization", "onnxruntime")
    return {name: run.manifest.get(name) for name in (*names, "time_utc")}
