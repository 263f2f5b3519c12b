"""The tidy tables of a study, for further analysis: a row a run and group of its time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from fathom_onnx.analysis.runs.roofline import COLUMNS
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.study.cells.results import CellResult
from fathom_onnx.study.result import StudyResult
from fathom_onnx.vocabulary import OPS, OpClass

__all__ = [
    "GROUP_COLUMNS",
    "MEMORY_COLUMNS",
    "ROOFLINE_COLUMNS",
    "ROUND_COLUMNS",
    "ROUND_OP_COLUMNS",
    "RUN_COLUMNS",
    "study_tables",
]

_LABEL = (*RunLabel._fields, "runtime", "profiled_as", "provider", "threads")

RUN_COLUMNS = (
    *_LABEL,
    "node_times",
    "control_us",
    "step_us",
    "run_time_us",
    "op_time_us",
    "outside_us",
    "profiling_overhead_us",
    "rounds",
    "steady",
)
"""Columns of ``runs.csv``: ``runtime`` is onnxruntime or native, ``profiled_as`` how the steps behind the times of ops
were run where that is not how the framework runs a step (``control_us`` is of one as it does), ``provider`` and
``node_times`` (what the times of its nodes are) those of a run in onnxruntime, ``op_time_us`` the time of all nodes or
operations, ``steady`` whether the machine kept its speed in every round."""

GROUP_COLUMNS = (*_LABEL, "us", "share")
"""Columns of ``classes.csv``, ``ops.csv``, ``layers.csv`` and ``phases.csv``, besides those that name the group."""

ROUND_COLUMNS = (*_LABEL, "round", "steps", "control_us", "step_us", "gauge_spread", "steady")
"""Columns of ``rounds.csv``: a row a run and round; ``steady``: whether the machine kept its speed in it."""

ROUND_OP_COLUMNS = (*_LABEL, "round", "op", "us", "share")
"""Columns of ``round_ops.csv``: a row a run, round and op; medians over the steps of the round."""

_PLACE = (*RunLabel._fields, "provider", "threads")

ROOFLINE_COLUMNS = (*_PLACE, "by", *COLUMNS)
"""Columns of ``rooflines.csv``: ``by`` is op or layer, ``name`` which one."""

_MEMORY = {
    **{f"{name}_bytes": ("executed", f"{name}_bytes") for name in ("parameters", "state", "next_state", "kept")},
    "peak_written_bytes": ("graph", "peak_bytes"),
    "peak_optimized_bytes": ("executed", "peak_bytes"),
    "peak_measured_bytes": ("traced", "peak_bytes"),
    "allocator_peak_bytes": ("traced", "lifetime_peak_bytes"),
}

MEMORY_COLUMNS = (*_PLACE, *_MEMORY)
"""Columns of ``memory.csv``, sizes in bytes: the tensors' peak is that of the graph as written, optimized, measured."""

_GROUPS = {"classes": "op_class", "ops": "op", "layers": "layer", "phases": "phase"}
_ROWS = {"classes": "by_class", "ops": "by_op", "layers": "by_layer", "phases": "by_phase"}


def _runs(result: StudyResult) -> Iterator[tuple[dict[str, Any], CellResult]]:
    """Every finished run, and the columns that identify it."""
    several: tuple[tuple[str, tuple[CellResult, ...]], ...] = (
        ("onnxruntime", (*result.all_providers, *result.fewer_threads)),
        ("native", result.native_runs),
    )
    for runtime, cells in several:
        for cell in cells:
            if cell.done:
                o = cell.job.options
                provider = o.ep if runtime == "onnxruntime" else None
                label = RunLabel.of(cell.summary)._asdict()
                where = {"runtime": runtime, "profiled_as": cell.profiled_as, "provider": provider}
                yield {**label, **where, "threads": o.threads}, cell


def study_tables(result: StudyResult) -> dict[str, pd.DataFrame]:
    """Name to table: ``runs``, ``classes``, ``ops``, ``layers``, ``phases``, ``rooflines``, ``memory``, of rounds."""
    runs = list(_runs(result))
    measured = [
        {
            **label,
            "node_times": cell.node_times if label["provider"] else None,
            "op_time_us": (s := cell.summary).get("node_time_us", s.get("op_time_us")),
            **{n: s.get(n) for n in _PLAIN},
            "rounds": max(1, len(s.get("rounds") or ())),
            "steady": (s.get("gauge") or {}).get("steady"),
        }
        for label, cell in runs
    ]
    tables = {"runs": pd.DataFrame(measured, columns=list(RUN_COLUMNS))}
    for name, column in _GROUPS.items():
        rows = [
            {**label, column: row["name"], "us": row["us"], "share": row["share"]}
            for label, cell in runs
            for row in cell.summary[_ROWS[name]]
        ]
        tables[name] = pd.DataFrame(rows, columns=[*_LABEL, column, "us", "share"])
    titles = {str(c): c.label for c in OpClass}
    tables["classes"]["title"] = tables["classes"]["op_class"].map(titles).fillna("")
    tables["ops"]["op_class"] = [str(OPS[op].op_class) if op in OPS else "" for op in tables["ops"]["op"]]
    tables |= {"rounds": _rounds(runs), "round_ops": _round_ops(runs)}
    return {**tables, "rooflines": _rooflines(result), "memory": _memory(result)}


def _rounds(runs: Sequence[tuple[dict[str, Any], CellResult]]) -> pd.DataFrame:
    """A row a run and round; empty where runs were measured in one."""
    rows = [
        {
            **{**label, "round": number, "steps": one["steps"]},
            **{name: one.get(name) for name in ("control_us", "step_us")},
            "gauge_spread": (one.get("gauge") or {}).get("spread"),
            "steady": (one.get("gauge") or {}).get("steady"),
        }
        for label, cell in runs
        for number, one in enumerate(cell.summary.get("rounds") or (), 1)
    ]
    return pd.DataFrame(rows, columns=list(ROUND_COLUMNS))


def _round_ops(runs: Sequence[tuple[dict[str, Any], CellResult]]) -> pd.DataFrame:
    """A row a run, round and op; empty where runs were measured in one."""
    rows = [
        {**label, "round": number, "op": op, "us": us, "share": us / medians.sum() if medians.sum() else 0.0}
        for label, cell in runs
        if cell.op_mix is not None and len(cell.op_mix.rounds) > 1
        for number, medians in enumerate((table.median() for table in cell.op_mix.in_rounds("op")), 1)
        for op, us in medians.items()
    ]
    return pd.DataFrame(rows, columns=list(ROUND_OP_COLUMNS))


def _rooflines(result: StudyResult) -> pd.DataFrame:
    """A row a run and op or layer; empty where no run has a roofline."""
    rows = [
        {**_place(cell), "by": by, **row}
        for cell in result.all_providers
        for by in ("op", "layer")
        if cell.job in result.rooflines
        for row in result.rooflines[cell.job][by].table.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=list(ROOFLINE_COLUMNS))


def _memory(result: StudyResult) -> pd.DataFrame:
    """A row a run with a record of its memory; values that the allocator does not give are empty."""
    rows = [
        {**_place(cell), **{name: memory[part][key] for name, (part, key) in _MEMORY.items()}}
        for cell in result.all_providers
        if (memory := cell.summary.get("memory"))
    ]
    return pd.DataFrame(rows, columns=list(MEMORY_COLUMNS)).astype(dict.fromkeys(_MEMORY, "Int64"))


def _place(cell: CellResult) -> dict[str, Any]:
    return {**RunLabel.of(cell.summary)._asdict(), "provider": cell.job.options.ep, "threads": cell.job.options.threads}


_PLAIN = ("control_us", "step_us", "run_time_us", "outside_us", "profiling_overhead_us")
