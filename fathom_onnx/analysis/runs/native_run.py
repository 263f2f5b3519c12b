"""A step as a framework ran it itself: a row an operation, and the sums by phase, class, canonical op and layer.

Times are microseconds. An operation's time is the median over the profiled steps; ``op_time_us`` is the sum of those
medians, ``outside_us`` the median over the steps of what the step took beyond its operations, ``run_time_us`` the sum
of both. For each single step run = operations + outside holds (to float rounding). See ``docs/reference/native.md``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd

from fathom_onnx.errors import DataError, RunError, one_line
from fathom_onnx.graph.files import write_bytes, write_text
from fathom_onnx.graph.op_types import UNLISTED, class_of_op
from fathom_onnx.native import UNKNOWN, NativeMeasurement, NativeOp

from .time_groups import TimeGroups, time_groups

__all__ = ["OP_COLUMNS", "SCHEMA", "NativeRun", "build_native_run"]

SCHEMA = "fathom-onnx/native/1"

OP_COLUMNS = ("op", "op_class", "framework_op", "phase", "layer", "split", "us", "calls")

_FILES = ("manifest.json", "ops.csv", "samples.npz", "summary.json")
_SERIES = ("self_us", "run_us", "wall_us")

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NativeRun(TimeGroups):
    """A natively profiled step, explained.

    Attributes:
        manifest: The facts: versions, machine, workload, mode, preset, framework, threads, data, unprofiled times.
        ops: One row for each canonical op, framework operation, phase and layer (:data:`OP_COLUMNS`): ``us`` is the
            median over the steps of its exclusive time, ``calls`` the median of its calls in a step. Phase and layer
            are ``unknown`` where the framework's profiler cannot tell.
        samples: Exclusive microseconds [steps, rows of ``ops``].
        run_us: Microseconds from beginning to end of each step inside the trace.
        wall_us: Microseconds the caller waited for each step.
    """

    manifest: dict[str, Any]
    ops: pd.DataFrame
    samples: Samples
    run_us: Samples
    wall_us: Samples

    @property
    def op_time_us(self) -> float:
        """Sum of the operations' median times."""
        return float(self.ops["us"].sum())

    @property
    def outside_us(self) -> float:
        """Median over the steps of the time that no operation took: Python, dispatch, scheduling."""
        return float(np.median(self.run_us - self.samples.sum(axis=1)))

    @property
    def run_time_us(self) -> float:
        """Operations and time outside."""
        return self.op_time_us + self.outside_us

    @property
    def control_us(self) -> float:
        """Median wall time of an unprofiled step as the framework runs it by default."""
        return float(np.median(self.manifest["control_steps_us"]))

    @property
    def comparable_us(self) -> float:
        """Median wall time of an unprofiled step with the settings of the profiled ones."""
        return float(np.median(self.manifest["comparable_steps_us"]))

    @property
    def step_us(self) -> float:
        """Median wall time of a profiled step."""
        return float(np.median(self.wall_us))

    def _by(self, column: str) -> pd.DataFrame:
        """Sums over a column; shares are of the time of all operations."""
        return time_groups(self.ops, column, self.op_time_us, "calls", lambda g: g["calls"].sum())

    def by_framework_op(self) -> pd.DataFrame:
        """Time by the framework's own operation, largest first."""
        return self._by("framework_op")

    def _us(self, column: str, value: object) -> float:
        return float(self.ops.loc[self.ops[column] == value, "us"].sum())

    def summary(self) -> dict[str, Any]:
        """The run as one JSON object of schema :data:`SCHEMA`."""
        names = ("workload", "mode", "preset", "framework", "framework_version", "threads", "data", "warmup", "steps")
        run, control = self.run_time_us, self.comparable_us
        return {
            "schema": SCHEMA,
            **{name: self.manifest[name] for name in names},
            "control_us": self.control_us,
            "comparable_us": control,
            "step_us": self.step_us,
            "run_time_us": run,
            "op_time_us": self.op_time_us,
            "outside_us": self.outside_us,
            "inside_share": self.op_time_us / run if run else None,
            "explained_share": self.op_time_us / control if control else None,
            "unexplained_us": control - self.op_time_us,
            "profiling_overhead_us": self.step_us - control,
            "split_us": self._us("split", True),
            "unknown_phase_us": self._us("phase", UNKNOWN),
            "unknown_layer_us": self._us("layer", UNKNOWN),
            "unlisted_us": self._us("op_class", UNLISTED),
            "by_phase": self.by_phase().to_dict("records"),
            "by_class": self.by_class().to_dict("records"),
            "by_op": self.by_op().to_dict("records"),
            "by_framework_op": self.by_framework_op().to_dict("records"),
            "by_layer": self.by_layer().to_dict("records"),
        }

    def save(self, folder: Path) -> None:
        """Write the run into a folder, each file whole or not at all.

        Raises:
            OutputError: The folder cannot be written to.
        """
        packed = io.BytesIO()
        np.savez_compressed(packed, self_us=self.samples, run_us=self.run_us, wall_us=self.wall_us)
        write_bytes(folder / "samples.npz", packed.getvalue())
        write_text(folder / "ops.csv", self.ops.to_csv(index=False, lineterminator="\n"))
        write_text(folder / "summary.json", json.dumps(self.summary(), indent=2) + "\n")
        write_text(folder / "manifest.json", json.dumps(self.manifest, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> NativeRun:
        """Read the folder of a native run.

        Raises:
            DataError: It is not one, or a file in it is malformed.
        """
        for name in _FILES:
            if not (folder / name).is_file():
                raise DataError(
                    f"'{folder}' is not the folder of a native run: it has no {name}",
                    "give a folder that 'profile --runtime' wrote",
                )
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            if manifest.get("schema") != SCHEMA:
                raise DataError(
                    f"run '{folder}' has schema '{manifest.get('schema')}', not '{SCHEMA}'", "profile again"
                )
            ops = _read(folder / "ops.csv")
            with np.load(folder / "samples.npz", allow_pickle=False) as held:
                self_us, run_us, wall_us = (np.asarray(held[name], np.float64) for name in _SERIES)
            if self_us.shape != (len(run_us), len(ops)) or run_us.shape != wall_us.shape:
                raise ValueError(f"samples of shape {list(self_us.shape)} for {len(ops)} rows")
        except (ValueError, KeyError, OSError, AttributeError, BadZipFile) as error:
            raise DataError(f"run folder '{folder}' is malformed ({one_line(error)})", "profile again") from error
        return cls(manifest, ops, self_us, run_us, wall_us)


def _read(path: Path) -> pd.DataFrame:
    # a layer may be called "NA" or "12": what is text stays text
    kinds = {name: str for name in OP_COLUMNS if name not in ("split", "us", "calls")}
    table = pd.read_csv(path, keep_default_na=False, na_values=[], float_precision="round_trip", dtype=kinds)
    if tuple(table.columns) != OP_COLUMNS:
        raise ValueError(f"{path.name} has columns {', '.join(map(str, table.columns))}")
    return table


def build_native_run(measured: NativeMeasurement, manifest: Mapping[str, Any]) -> NativeRun:
    """A native run from what was measured and the facts of it.

    An operation that some steps do not have counts as zero there.

    Raises:
        RunError: No step was measured, or the operations of one take longer than it: they overlapped.
    """
    if not measured.steps:
        raise RunError("no step was profiled", "give 1 or more")
    columns: dict[NativeOp, int] = {}
    for step in measured.steps:
        for op in step.ops:
            columns.setdefault(op, len(columns))
    samples = np.zeros((len(measured.steps), len(columns)))
    calls = np.zeros_like(samples)
    for row, step in enumerate(measured.steps):
        for op, (us, times) in step.ops.items():
            samples[row, columns[op]], calls[row, columns[op]] = us, times
    run_us = np.array([step.run_us for step in measured.steps])
    over = samples.sum(axis=1) - run_us
    if (over > 1e-6 * run_us).any():
        raise RunError(
            f"the operations of a step take {over.max():.0f} us longer than the step: they overlapped in time",
            "profile again on an idle machine",
        )
    median, typical = np.median(samples, axis=0), np.median(calls, axis=0)
    rows = [
        (op.op, class_of_op(op.op), op.framework_op, op.phase, op.layer, op.split, median[index], typical[index])
        for op, index in columns.items()
    ]
    facts = {
        "schema": SCHEMA,
        **manifest,
        **measured.facts,
        "control_steps_us": list(measured.control_us),
        "comparable_steps_us": list(measured.comparable_us),
    }
    wall_us = np.array([step.wall_us for step in measured.steps])
    return NativeRun(facts, pd.DataFrame(rows, columns=list(OP_COLUMNS)), samples, run_us, wall_us)
