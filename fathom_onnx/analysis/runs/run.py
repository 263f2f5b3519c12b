"""A profiled run: executed nodes with their times and attribution, and sums by phase, class, op and layer.

Times are microseconds. A node's time is the median over the profiled steps of its exclusive time; ``node_time_us`` is
the sum of those medians, ``outside_us`` the median over the steps of a run's time outside its nodes, and
``run_time_us`` the sum of both. In each single step run = nodes + outside holds exactly, in whole microseconds. If a
device was recorded, all three are times on the device, with decimals.
The JSON form is described in ``docs/reference/run-schema.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.devices.times import DeviceTimes
from fathom_onnx.runtime.speed.gauge import gauge_summary
from fathom_onnx.runtime.traces.shapes import NodeShapes
from fathom_onnx.runtime.traces.steps import Microseconds, StepTimes

from .costs.executed_costs import COST_COLUMNS, what_ran, with_originals
from .files import SCHEMA, read_run, write_run
from .kernels import KERNEL_COLUMNS, kernel_groups, kernel_table
from .originals import original_table
from .steps import Floor, drifts, profiler_floor
from .tables import (
    ATTRIBUTION_COLUMNS,
    GROUP_COLUMNS,
    NODE_COLUMNS,
    ORIGINAL_COLUMNS,
    STEP_COLUMNS,
    attribution_table,
    node_table,
    rows_in_order,
    step_table,
)
from .time_groups import TimeGroups, time_groups
from .trust.contradictions import contradictions

__all__ = [
    "ATTRIBUTION_COLUMNS",
    "COST_COLUMNS",
    "GROUP_COLUMNS",
    "KERNEL_COLUMNS",
    "NODE_COLUMNS",
    "ORIGINAL_COLUMNS",
    "SCHEMA",
    "STEP_COLUMNS",
    "Run",
    "build_run",
]


@dataclass(frozen=True)
class Run(TimeGroups):
    """A profiled run.

    Attributes:
        manifest: Versions, machine, graph, settings, data, and the times of the unprofiled (control) steps.
        nodes: One row per executed node (:data:`NODE_COLUMNS`, then :data:`COST_COLUMNS` where shapes were recorded:
            not in older run folders). ``originals`` is a tuple of names of original nodes; phase, layer, op and class
            are those of the original node with the largest share.
        attribution: One row per executed node and original node that it is attributed or charged to
            (:data:`ATTRIBUTION_COLUMNS`).
        steps: One row per counted step (:data:`STEP_COLUMNS`).
        samples: Exclusive microseconds of each executed node in each counted step, [steps, rows of ``nodes``].
        originals: One row per original node (:data:`ORIGINAL_COLUMNS`), in the graph's order; see
            :func:`~fathom_onnx.analysis.runs.originals.original_table`.
        kernels: One row per executed node and kernel, copy or memory set on a device (:data:`KERNEL_COLUMNS`); None if
            no device was recorded.
    """

    manifest: dict[str, Any]
    nodes: pd.DataFrame
    attribution: pd.DataFrame
    steps: pd.DataFrame
    samples: Microseconds
    originals: pd.DataFrame
    kernels: pd.DataFrame | None = None

    @property
    def node_time_us(self) -> float:
        """Sum of the executed nodes' median times."""
        return float(self.nodes["median_us"].sum())

    @property
    def outside_us(self) -> float:
        """Median over the steps of the time outside nodes."""
        return float(self.steps["outside_us"].median())

    @property
    def run_time_us(self) -> float:
        """Time in nodes and outside."""
        return self.node_time_us + self.outside_us

    @property
    def control_us(self) -> float | None:
        """Median wall time of the unprofiled steps; None if there are none, as in a trace of someone else's."""
        steps = self.manifest["control_steps_us"]
        return float(np.median(steps)) if steps else None

    @property
    def step_us(self) -> float:
        """Median wall time of the profiled steps."""
        return float(self.steps["wall_us"].median())

    @property
    def floor(self) -> Floor | None:
        """The profiler's own cost per node execution, or None if it was not estimated."""
        facts = self.manifest.get("floor")
        return Floor(**facts) if facts else None

    @property
    def step_drift(self) -> float | None:
        """Relative change of the step's time over the run: 0 without a trend, None with too few steps."""
        drift = float(drifts(self.steps[["run_us"]].to_numpy())[0])
        return None if np.isnan(drift) else drift

    @property
    def stationary_share(self) -> float | None:
        """Share of the node time in nodes without a trend; None with too few steps or no time."""
        total = self.node_time_us
        if not total or self.nodes["drift"].isna().any():
            return None
        return float(self.nodes.loc[self.nodes["drift"] == 0, "median_us"].sum()) / total

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Times that cannot be, a sentence each; none in a sound run."""
        return contradictions(self.manifest, self.nodes, self.steps, self.samples, self.originals)

    def kind_us(self, kind: str) -> float:
        """Node time of one kind: ``attributed``, ``charged`` or ``unattributed``."""
        return float(self.nodes.loc[self.nodes["kind"] == kind, "median_us"].sum())

    @property
    def _timed(self) -> pd.DataFrame:
        return self.attribution

    def _by(self, column: str) -> pd.DataFrame:
        """Time by a column of the attribution table (:data:`GROUP_COLUMNS`); shares are of the node time."""
        return time_groups(self.attribution, column, self.node_time_us, "nodes", lambda g: g["executed"].nunique())

    def unattributed(self) -> pd.DataFrame:
        """Unattributed executed nodes: ``node``, ``op_type``, ``us``, ``reason``, largest first."""
        rows = self.nodes.loc[self.nodes["kind"] == "unattributed", ["name", "op_type", "median_us", "reason"]]
        renamed = rows.rename(columns={"name": "node", "median_us": "us"})
        return renamed.sort_values("us", ascending=False, ignore_index=True)

    def summary(self) -> dict[str, Any]:
        """The run as one JSON object of schema :data:`SCHEMA`."""
        facts = {
            name: self.manifest.get(name)
            for name in ("graph", "workload", "mode", "framework", "preset", "provider", "threads", "optimization")
        }
        return {
            "schema": SCHEMA,
            **facts,
            "graph_sha256": self.manifest.get("graph_sha256"),
            "trace": self.manifest.get("trace"),
            "data": self.manifest.get("data"),
            "dynamic": self.manifest.get("dynamic"),
            "warmup": self.manifest["warmup"],
            "steps": self.manifest["steps"],
            "node_times": self.manifest.get("node_times"),
            "device_time": self.manifest.get("device_time"),
            "gauge": gauge_summary(self.manifest),
            "rounds": self.manifest.get("rounds", []),
            "control_us": self.control_us,
            "step_us": self.step_us,
            "run_time_us": self.run_time_us,
            "node_time_us": self.node_time_us,
            "outside_us": self.outside_us,
            "attributed_us": self.kind_us("attributed"),
            "charged_us": self.kind_us("charged"),
            "unattributed_us": self.kind_us("unattributed"),
            "profiling_overhead_us": None if self.control_us is None else self.step_us - self.control_us,
            "contradictions": list(self.contradictions),
            "executed_nodes": len(self.nodes),
            "tf32": self.manifest.get("tf32"),
            "gpu": self.manifest.get("gpu"),
            "node_shares": self.manifest.get("node_shares"),
            "elsewhere": self.manifest.get("elsewhere", []),
            "device_copies": self.manifest.get("device_copies", []),
            "statistics": self._statistics(),
            "memory": self.manifest.get("memory"),
            "original_nodes": {str(k): int(n) for k, n in self.originals["state"].value_counts(sort=False).items()},
            "control_flow": self.manifest.get("control_flow", []),
            "split_us": float(self.nodes.loc[self.nodes["split"], "median_us"].sum()),
            "by_phase": self.by_phase().to_dict("records"),
            "by_class": self.by_class().to_dict("records"),
            "by_op": self.by_op().to_dict("records"),
            "by_layer": self.by_layer().to_dict("records"),
            "by_kernel": [] if self.kernels is None else kernel_groups(self.kernels).to_dict("records"),
            "unattributed": self.unattributed().to_dict("records"),
        }

    def _statistics(self) -> dict[str, Any]:
        """Facts about the quality of the times: dropped steps, trends, and the profiler's own cost."""
        floor, total, below = self.floor, self.node_time_us, self.nodes["below_floor"].astype(bool)
        checks = self.manifest.get("warmup_check", {})
        return {
            "dropped_steps": sum(check["steps"] for check in checks.get("profiled", ())),
            "dropped_control_steps": sum(check["steps"] for check in checks.get("control", ())),
            "settled": _settled([check["settled"] for check in checks.get("profiled", ())]),
            "settled_reason": "; ".join(dict.fromkeys(c["reason"] for c in checks.get("profiled", ()) if c["reason"])),
            "step_drift": self.step_drift,
            "stationary_share": self.stationary_share,
            "drifting_nodes": None if self.stationary_share is None else int((self.nodes["drift"] != 0).sum()),
            "floor": asdict(floor) if floor else None,
            "below_floor_nodes": int(below.sum()) if floor else None,
            "below_floor_share": float(self.nodes.loc[below, "median_us"].sum()) / total if floor and total else None,
        }

    def save(self, folder: Path) -> None:
        """Write the run's files into a folder.

        Raises:
            OutputError: The folder cannot be written to.
        """
        tables = {
            "nodes": self.nodes,
            "attribution": self.attribution,
            "steps": self.steps,
            "originals": self.originals,
        }
        if self.kernels is not None:
            tables["kernels"] = self.kernels
        write_run(folder, self.manifest, tables, self.samples, self.summary())

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Read a run folder.

        Raises:
            DataError: It is not a run folder, it has an older schema, or a file in it is malformed.
        """
        return cls(**read_run(folder))


def _settled(sessions: Sequence[bool | None]) -> bool | None:
    """Whether all sessions are settled; None if that is unknown for one of them."""
    if False in sessions:
        return False
    return None if None in sessions or not sessions else True


def build_run(
    attribution: Attribution,
    times: StepTimes,
    wall_us: Sequence[float],
    manifest: Mapping[str, Any],
    graph: Graph | None = None,
    device: DeviceTimes | None = None,
    optimized: onnx.ModelProto | None = None,
    shapes: Mapping[str, NodeShapes] | None = None,
) -> Run:
    """Build a run from its attribution and its times.

    Args:
        attribution: The attribution of the executed nodes.
        times: Times of the counted steps; nodes are named ``k<number>``.
        wall_us: Wall times of the counted steps.
        manifest: The facts of the run, with ``control_steps_us``, ``warmup`` and ``steps``.
        graph: The original graph; without it costs and parameters of the original nodes are unknown.
        device: Device times of the counted steps, which ``times`` are taken from; None if no device was recorded.
        optimized: The model that ran; without it and ``shapes`` the executed nodes have no costs of their own.
        shapes: Recorded shapes of the counted steps, by the same names as ``times``.
    """
    labels = attribution.labels
    rows = rows_in_order(attribution, times)
    executions = float(np.median(times.calls.sum(axis=1)))
    # the profiler costs time on the host only, so that device times of nodes do not contain it
    host_times = executions and device is None and manifest["control_steps_us"]
    floor = profiler_floor(wall_us, manifest["control_steps_us"], executions) if host_times else None
    nodes = node_table(attribution, times, rows, labels, floor)
    median_us = nodes["median_us"].to_numpy(float)
    ran = what_ran(attribution, optimized.graph, shapes, rows, nodes) if optimized and shapes is not None else None
    originals = original_table(attribution, nodes, rows, labels, graph, ran)
    if ran is not None:
        nodes = pd.concat([nodes, with_originals(ran.costs, attribution, rows, originals, median_us)], axis=1)
    return Run(
        manifest={"schema": SCHEMA, **manifest, "floor": asdict(floor) if floor else None},
        nodes=nodes,
        attribution=attribution_table(attribution, median_us, rows, labels),
        steps=step_table(times, wall_us),
        samples=times.self_us[:, [column for column, _ in rows]],
        originals=originals,
        kernels=_kernels(device, nodes, rows) if device else None,
    )


def _kernels(device: DeviceTimes, nodes: pd.DataFrame, rows: Sequence[tuple[int, int | None]]) -> pd.DataFrame:
    """The kernel table of a run's node table."""
    trace_names = [device.times.names[column] for column, _ in rows]
    row_of = {name: row for row, name in enumerate(trace_names)}
    return kernel_table(device, row_of, dict(zip(trace_names, nodes["name"], strict=True)))
