"""Kernel times of a run on a device: the kernel table, its sums by kernel, and the device facts of the manifest.

Times are microseconds with decimals, medians over the counted steps. Sums hold exactly within each step (see
:mod:`fathom_onnx.runtime.devices.step`), not between medians.
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
"""Columns of ``kernels.csv``, in order."""

WHOLE_OR_EMPTY = ("executed", "registers", "shared_bytes")
"""Columns of whole numbers that may be empty: no node, or a copy or memory set, which has no registers."""

_US = 1000


def device_facts(times: DeviceTimes, recorded: RecordedSteps, control_us: Sequence[float]) -> dict[str, Any]:
    """The device times of a run for its manifest.

    Args:
        times: Device times of the counted profiled steps, one or more.
        recorded: Steps with the device recorder and without onnxruntime's profiler.
        control_us: Wall times of the counted steps with neither profiler nor device recorder.
    """
    recorder_only, step_us = _medians(recorded.device), float(np.median(recorded.wall_us))
    return {
        "source": times.source,
        **_medians(times),
        "unprofiled": {
            "step_us": step_us,
            "recording_overhead_us": step_us - float(np.median(control_us)),
            **{name: recorder_only[name] for name in ("span_us", "busy_us", "idle_us")},
        },
        "host_run_us": float(np.median(times.host_run_us)),
        "dropped_records": times.dropped,
        "invalid_records": times.invalid,
        "clock_error_us": times.clock_error_ns / _US,
    }


def _medians(times: DeviceTimes) -> dict[str, float]:
    """Medians over the steps of each step's sums: times in microseconds, counts unchanged."""
    medians = pd.DataFrame([asdict(step) for step in times.steps]).median().to_dict()
    facts: dict[str, float] = {}
    for name, value in medians.items():
        if name.endswith("_ns"):
            facts[f"{name.removesuffix('_ns')}_us"] = float(value) / _US
        else:
            facts[name] = float(value)
    return facts


def kernel_table(times: DeviceTimes, rows: Mapping[str, int], names: Mapping[str, str]) -> pd.DataFrame:
    """One row per executed node and kernel, copy or memory set (:data:`KERNEL_COLUMNS`), longest first.

    A kernel that was launched in several shapes has a row for each. Medians are over all steps; a step without the
    kernel counts as 0.

    Args:
        times: Device times of the counted steps.
        rows: Name of an executed node in the trace to its row of the node table.
        names: Name of an executed node in the trace to its name in the node table.
    """
    steps = len(times.uses)
    uses_by_kernel: dict[KernelKey, np.ndarray[Any, np.dtype[np.int64]]] = {}
    for step, uses in enumerate(times.uses):
        for key, use in uses.items():
            samples = uses_by_kernel.setdefault(key, np.zeros((steps, len(fields(KernelUse))), np.int64))
            samples[step] = astuple(use)
    records = []
    for key, samples in uses_by_kernel.items():
        calls, busy_ns, gap_ns, size_bytes = (float(value) for value in np.median(samples, axis=0))
        records.append(
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
    table = pd.DataFrame(records, columns=list(KERNEL_COLUMNS))
    dtypes = dict.fromkeys(WHOLE_OR_EMPTY, "Int64") | dict.fromkeys(("calls", "us", "gap_us", "size_bytes"), "float64")
    return table.astype(dtypes).sort_values(["us", "node", "kernel"], ascending=[False, True, True], ignore_index=True)


def kernel_groups(table: pd.DataFrame) -> pd.DataFrame:
    """Sums of a kernel table by kernel: ``kind``, ``name``, ``us``, ``share``, ``calls``, ``nodes``, longest first.

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
