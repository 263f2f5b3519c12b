"""A run's facts and table of device time: medians over the counted steps of what each step had.

Times are microseconds with decimals; the sums hold exactly in each step, see
:mod:`fathom_onnx.runtime.devices.step`, and not of the medians.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, fields
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.runtime.devices.times import DeviceTimes, KernelKey, KernelUse, RecordedSteps

__all__ = ["KERNEL_COLUMNS", "WHOLE_OR_EMPTY", "device_facts", "kernel_groups", "kernel_table"]

KERNEL_COLUMNS = (
    "executed",
    "node",
    "kind",
    "kernel",
    "calls",
    "us",
    "gap_us",
    "size_bytes",
    "grid",
    "block",
    "device",
    "stream",
    "registers",
    "shared_bytes",
)

WHOLE_OR_EMPTY = ("executed", "registers", "shared_bytes")
"""Columns of whole numbers that may be empty: work of no node, copies and sets."""

_US = 1000


def device_facts(found: DeviceTimes, recorded: RecordedSteps, control_us: Sequence[float]) -> dict[str, Any]:
    """What a run's manifest says of its device time.

    Args:
        found: Of the counted profiled steps, one or more.
        recorded: Steps with the recorder alone.
        control_us: Wall times of the counted steps with neither profiler nor recorder.
    """
    alone, step_us = _medians(recorded.device), float(np.median(recorded.wall_us))
    return {
        "source": found.source,
        **_medians(found),
        "unprofiled": {
            "step_us": step_us,
            "recording_overhead_us": step_us - float(np.median(control_us)),
            **{name: alone[name] for name in ("span_us", "busy_us", "idle_us")},
        },
        "host_run_us": float(np.median(found.host_run_us)),
        "dropped_records": found.dropped,
        "invalid_records": found.invalid,
        "clock_error_us": found.clock_error_ns / _US,
    }


def _medians(found: DeviceTimes) -> dict[str, float]:
    """Medians of a step's sums: times in microseconds, counts as they are."""
    medians = pd.DataFrame([asdict(step) for step in found.steps]).median().to_dict()
    told: dict[str, float] = {}
    for name, value in medians.items():
        if name.endswith("_ns"):
            told[f"{name.removesuffix('_ns')}_us"] = float(value) / _US
        else:
            told[name] = float(value)
    return told


def kernel_table(found: DeviceTimes, rows: Mapping[str, int], names: Mapping[str, str]) -> pd.DataFrame:
    """One row an executed node and what ran for it (:data:`KERNEL_COLUMNS`), longest first.

    Kernels of one name that were launched in several shapes have a row each. Medians are over all steps: what did not
    run in one took 0 there.

    Args:
        found: Of the counted steps.
        rows: Executed name to its row of the node table.
        names: Executed name to the name that the table gives it.
    """
    steps = len(found.uses)
    taken: dict[KernelKey, np.ndarray[Any, np.dtype[np.int64]]] = {}
    for place, uses in enumerate(found.uses):
        for key, use in uses.items():
            taken.setdefault(key, np.zeros((steps, len(fields(KernelUse))), np.int64))[place] = astuple(use)
    told = []
    for key, table in taken.items():
        calls, busy_ns, gap_ns, size_bytes = (float(value) for value in np.median(table, axis=0))
        told.append(
            {
                "executed": rows.get(key.node),
                "node": names.get(key.node, key.node),
                "kind": key.kind,
                "kernel": key.name,
                "calls": calls,
                "us": busy_ns / _US,
                "gap_us": gap_ns / _US,
                "size_bytes": None if key.kind == "kernel" else size_bytes,
                "grid": "x".join(map(str, key.grid)),
                "block": "x".join(map(str, key.block)),
                "device": key.device,
                "stream": key.stream,
                "registers": key.registers,
                "shared_bytes": key.shared_bytes,
            }
        )
    made = pd.DataFrame(told, columns=list(KERNEL_COLUMNS))
    kinds = dict.fromkeys(WHOLE_OR_EMPTY, "Int64") | dict.fromkeys(("calls", "us", "gap_us", "size_bytes"), "float64")
    return made.astype(kinds).sort_values(["us", "node", "kernel"], ascending=[False, True, True], ignore_index=True)


def kernel_groups(table: pd.DataFrame) -> pd.DataFrame:
    """Sums of a kernel table by what ran: ``kind``, ``name``, ``us``, ``share``, ``calls``, ``nodes``, longest first.

    Args:
        table: From :func:`kernel_table`.
    """
    sums = table.groupby(["kind", "kernel"], as_index=False).agg(
        us=("us", "sum"), calls=("calls", "sum"), nodes=("executed", "nunique")
    )
    total = float(sums["us"].sum())
    sums["share"] = sums["us"] / total if total else 0.0
    named = sums.rename(columns={"kernel": "name"})[["kind", "name", "us", "share", "calls", "nodes"]]
    return named.sort_values(["us", "name"], ascending=[False, True], ignore_index=True)
