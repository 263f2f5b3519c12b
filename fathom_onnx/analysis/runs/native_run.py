"""A native run: a profile by the framework itself, with one row per operation and sums by phase, class, op and layer.

Times are microseconds. An operation's time is the median over the profiled steps; ``op_time_us`` is the sum of those
medians, ``outside_us`` the median over the steps of a step's time outside its operations, ``run_time_us`` the sum
of both. In each single step run = operations + outside holds (to float rounding). See ``docs/reference/native.md``.
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

from fathom_onnx.csv_files import read_csv, write_csv
from fathom_onnx.errors import DataError, RunError, one_line
from fathom_onnx.graph.files import check_sealed, seal, write_bytes, write_text
from fathom_onnx.graph.op_types import UNLISTED, class_of_op
from fathom_onnx.native import UNKNOWN, NativeMeasurement, NativeOp
from fathom_onnx.runtime.speed.gauge import gauge_summary

from .time_groups import TimeGroups, time_groups

__all__ = ["OP_COLUMNS", "SCHEMA", "NativeRun", "build_native_run"]

SCHEMA = "fathom-onnx/native/1"
"""Name and version of the JSON schema."""

OP_COLUMNS = ("op", "op_class", "framework_op", "phase", "layer", "split", "us", "calls")
"""Columns of ``ops.csv``, in order."""

_TEXT = ("op", "op_class", "framework_op", "phase", "layer")
_FILES = ("manifest.json", "ops.csv", "samples.npz", "summary.json")
_SERIES = ("self_us", "run_us", "wall_us")


@dataclass(frozen=True)
class NativeRun(TimeGroups):
    """A step profiled by the framework itself.

    Attributes:
        manifest: Versions, machine, workload, mode, preset, framework, threads, data, unprofiled step times.
        ops: One row per canonical op, framework operation, phase and layer (:data:`OP_COLUMNS`): ``us`` is the median
            over the steps of its exclusive time, ``calls`` the median of its calls per step. Phase and layer are
            ``unknown`` where the framework's profiler does not report them.
        samples: Exclusive microseconds [steps, rows of ``ops``].
        run_us: Microseconds from start to end of each step in the trace, [steps].
        wall_us: Wall time of each step for the caller, microseconds, [steps].
    """

    manifest: dict[str, Any]
    ops: pd.DataFrame
    samples: npt.NDArray[np.float64]
    run_us: npt.NDArray[np.float64]
    wall_us: npt.NDArray[np.float64]

    @property
    def op_time_us(self) -> float:
        """Sum of the operations' median times."""
        return float(self.ops["us"].sum())

    @property
    def outside_us(self) -> float:
        """Median over the steps of the time outside operations: Python, dispatch, scheduling."""
        return float(np.median(self.run_us - self.samples.sum(axis=1)))

    @property
    def run_time_us(self) -> float:
        """Time in operations and outside."""
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

    @property
    def _timed(self) -> pd.DataFrame:
        return self.ops

    def _by(self, column: str) -> pd.DataFrame:
        """Time by the values of a column; shares are of the time of all operations."""
        return time_groups(self.ops, column, self.op_time_us, "calls", lambda g: g["calls"].sum())

    def by_framework_op(self) -> pd.DataFrame:
        """Time by operation of the framework, largest first."""
        return self._by("framework_op")

    def _us(self, column: str, value: object) -> float:
        """Time of the operations with a value in a column."""
        return float(self.ops.loc[self.ops[column] == value, "us"].sum())

    def summary(self) -> dict[str, Any]:
        """The run as one JSON object of schema :data:`SCHEMA`."""
        names = ("workload", "mode", "preset", "framework", "framework_version", "threads", "data", "warmup", "steps")
        run, control = self.run_time_us, self.comparable_us
        return {
            "schema": SCHEMA,
            **{name: self.manifest[name] for name in names},
            "gauge": gauge_summary(self.manifest),
            "rounds": self.manifest.get("rounds", []),
            "profiled_as": self.manifest.get("profiled_as", ""),
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
        buffer = io.BytesIO()
        np.savez_compressed(buffer, self_us=self.samples, run_us=self.run_us, wall_us=self.wall_us)
        write_bytes(folder / "samples.npz", buffer.getvalue())
        write_csv(folder / "ops.csv", self.ops)
        write_text(folder / "summary.json", json.dumps(self.summary(), indent=2) + "\n")
        write_text(folder / "manifest.json", json.dumps(self.manifest, indent=2) + "\n")
        seal(folder, _FILES)

    @classmethod
    def load(cls, folder: Path) -> NativeRun:
        """Read the folder of a native run.

        Raises:
            DataError: It is not the folder of a native run, or a file in it is malformed.
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
            check_sealed(folder, "profile again")
            ops = read_csv(folder / "ops.csv", OP_COLUMNS, _TEXT)
            with np.load(folder / "samples.npz", allow_pickle=False) as arrays:
                self_us, run_us, wall_us = (np.asarray(arrays[name], np.float64) for name in _SERIES)
            if self_us.shape != (len(run_us), len(ops)) or run_us.shape != wall_us.shape:
                raise ValueError(f"samples of shape {list(self_us.shape)} for {len(ops)} rows")
        except (ValueError, KeyError, OSError, AttributeError, BadZipFile) as error:
            raise DataError(f"run folder '{folder}' is malformed ({one_line(error)})", "profile again") from error
        return cls(manifest, ops, self_us, run_us, wall_us)


def build_native_run(measurement: NativeMeasurement, manifest: Mapping[str, Any]) -> NativeRun:
    """Build a native run from a measurement.

    A step without an operation that other steps have counts as zero for it.

    Args:
        measurement: Times of the profiled and unprofiled steps.
        manifest: The facts of the run.

    Raises:
        RunError: No step was measured, or the operations of a step take longer than the step: they overlapped.
    """
    if not measurement.steps:
        raise RunError("no step was profiled", "give 1 or more")
    columns: dict[NativeOp, int] = {}
    for step in measurement.steps:
        for op in step.ops:
            columns.setdefault(op, len(columns))
    samples = np.zeros((len(measurement.steps), len(columns)))
    calls = np.zeros_like(samples)
    for row, step in enumerate(measurement.steps):
        for op, (op_us, op_calls) in step.ops.items():
            samples[row, columns[op]], calls[row, columns[op]] = op_us, op_calls
    run_us = np.array([step.run_us for step in measurement.steps])
    excess = samples.sum(axis=1) - run_us
    if (excess > 1e-6 * run_us).any():
        raise RunError(
            f"the operations of a step take {excess.max():.0f} us longer than the step: they overlapped in time",
            "profile again on an idle machine",
        )
    median_us, median_calls = np.median(samples, axis=0), np.median(calls, axis=0)
    rows = [
        (
            op.op,
            class_of_op(op.op),
            op.framework_op,
            op.phase,
            op.layer,
            op.split,
            median_us[index],
            median_calls[index],
        )
        for op, index in columns.items()
    ]
    facts = {
        "schema": SCHEMA,
        **manifest,
        **measurement.facts,
        "profiled_as": measurement.profiled_as,
        "control_steps_us": list(measurement.control_us),
        "comparable_steps_us": list(measurement.comparable_us),
    }
    wall_us = np.array([step.wall_us for step in measurement.steps])
    return NativeRun(facts, pd.DataFrame(rows, columns=list(OP_COLUMNS)), samples, run_us, wall_us)
