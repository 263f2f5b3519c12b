"""The result of a sweep as tidy tables: a row a cell, and a row a cell and group of its time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from fathom_onnx.analysis.paper.claims import Entry, ledger
from fathom_onnx.analysis.paper.evidence import Evidence
from fathom_onnx.analysis.paper.provider_comparison import provider_levels
from fathom_onnx.errors import RunError
from fathom_onnx.graph.files import write_text
from fathom_onnx.study.cells.results import CellResult, Failure
from fathom_onnx.study.engine.store import key
from fathom_onnx.vocabulary import OpClass

from .table_files import write_table

__all__ = ["CELL_COLUMNS", "SHARE_COLUMNS", "SweepResult", "write_tables"]

SCHEMA = "fathom-onnx/sweep/1"
"""Name and version of the JSON schema."""

_MEASURED = (
    *("control_us", "step_us", "run_time_us", "node_time_us", "outside_us", "attributed_us", "charged_us"),
    *("unattributed_us", "profiling_overhead_us", "executed_nodes"),
)
_CLASSES = tuple(str(c) for c in OpClass)
CELL_COLUMNS = (
    *("cell", "workload", "framework", "mode", "preset", "lowering", "batch", "changes", "provider", "tf32"),
    *("serialize", "threads", "optimization"),
    *("warmup", "steps", "seed", "state", "error", "seconds", "graph", "graph_sha256", "graph_nodes", "run"),
    *_MEASURED,
    *("steady", "gauge_spread", "waited"),
    *(f"share_{c}" for c in _CLASSES),
)
"""Columns of ``cells.csv``; a failed cell has empty values.

``steady``: whether the machine kept its speed. ``waited``: the share of their time that threads waited for a core.
"""

SHARE_COLUMNS = ("cell", "by", "name", "us", "share", "nodes")
"""Columns of ``shares.csv``: ``by`` is phase, class, op or layer."""


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep.

    Attributes:
        folder: The sweep's folder.
        cells: Every cell with every combination of settings, done or not.
        failures: Jobs that failed.
        reused: How many jobs had a stored result.
        worked: How many jobs were done now.
    """

    folder: Path
    cells: tuple[CellResult, ...]
    failures: tuple[Failure, ...]
    reused: int
    worked: int

    @property
    def ok(self) -> bool:
        """Whether every cell was done."""
        return not self.failures

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row a cell (:data:`CELL_COLUMNS`), with None for missing values."""
        return [_row(cell) for cell in self.cells]

    @property
    def table(self) -> pd.DataFrame:
        """``cells.csv``."""
        return pd.DataFrame(self.rows, columns=list(CELL_COLUMNS))

    @property
    def shares(self) -> pd.DataFrame:
        """``shares.csv``: the time of every cell that ran, by phase, class, op and layer."""
        rows = [
            {"cell": _cell_id(cell), "by": by, **group}
            for cell in self.cells
            if cell.done
            for by in ("phase", "class", "op", "layer")
            for group in cell.summary[f"by_{by}"]
        ]
        return pd.DataFrame(rows, columns=list(SHARE_COLUMNS))

    @cached_property
    def ledger(self) -> tuple[Entry, ...] | None:
        """The paper's claims; None where cells differ in batch size or optimization level, which no claim covers."""
        runs = tuple(run for cell in self.cells if (run := cell.evidence) is not None)
        try:
            evidence = Evidence(runs)
        except RunError:
            return None
        return ledger(replace(evidence, levels=provider_levels(runs)))

    def json(self) -> dict[str, Any]:
        """Everything but the single steps and groups, as JSON can hold it."""
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "cells": self.rows,
            "failures": [asdict(f) for f in self.failures],
            "ledger": None if self.ledger is None else [entry.json() for entry in self.ledger],
            "reused": self.reused,
            "worked": self.worked,
            "folder": str(self.folder),
        }


def _cell_id(cell: CellResult) -> str:
    """A name of a cell that is unique in any sweep: the cell, and a hash of its options."""
    return f"{cell.cell.slug}-{key(cell.job.options.json())[:8]}"


def _row(cell: CellResult) -> dict[str, Any]:
    o, s = cell.job.options, cell.summary
    ours, own = cell.job.source is None, cell.job.own is not None
    batch = cell.export.get("batch_size") if own else cell.job.workload.batch_size if ours else cell.job.batch
    changes = [*o.changes, *o.dimensions]
    classes = {row["name"]: row["share"] for row in s.get("by_class", ())}
    gauge = s.get("gauge") or {}
    return {
        "cell": _cell_id(cell),
        **asdict(cell.cell),
        "preset": o.preset if ours else None,
        "lowering": o.purpose if ours else None,
        "batch": batch,
        "changes": " ".join(f"{name}={value}" for name, value in changes if name != "batch"),
        "provider": o.ep,
        **{name: getattr(o, name) if o.ep == "cuda" else None for name in ("tf32", "serialize")},
        **{name: getattr(o, name) for name in ("threads", "optimization", "warmup", "steps", "seed")},
        "state": "done" if cell.done else "failed",
        "error": cell.error,
        "seconds": cell.profile.get("seconds"),
        "graph": cell.export.get("path"),
        "graph_sha256": cell.export.get("sha256"),
        "graph_nodes": cell.export.get("nodes"),
        "run": cell.profile.get("folder"),
        **{name: s.get(name) for name in _MEASURED},
        "steady": gauge.get("steady"),
        "gauge_spread": gauge.get("spread"),
        "waited": gauge.get("waited"),
        **{f"share_{c}": classes.get(c, 0.0) if cell.done else None for c in _CLASSES},
    }


def write_tables(result: SweepResult) -> None:
    """Write ``cells.csv``, ``shares.csv``, ``sweep.json`` and, where pyarrow is installed, the tables as Parquet.

    Raises:
        OutputError: A file cannot be written.
    """
    write_table(result.folder, "cells", result.table)
    write_table(result.folder, "shares", result.shares)
    write_text(result.folder / "sweep.json", json.dumps(result.json(), indent=1) + "\n")
