"""A profiled run: a row an executed node, what each stands for, and the sums by phase, class, op and layer.

Times are microseconds. A node's time is the median over the profiled steps of its exclusive time; ``node_time_us`` is
the sum of those medians, ``outside_us`` the median over the steps of what the run took beyond its nodes, and
``run_time_us`` the sum of both. For each single step run = nodes + outside holds exactly, in whole microseconds. Where
a device was recorded, all three are times on it, with decimals.
The JSON form is described in ``docs/reference/run-schema.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.graph import Graph
from fathom_onnx.graph.labels import label_nodes
from fathom_onnx.runtime.devices.times import DeviceTimes
from fathom_onnx.runtime.traces.trace import Microseconds, StepTimes

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

__all__ = [
    "ATTRIBUTION_COLUMNS",
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
    """A profiled run, explained.

    Attributes:
        manifest: The facts of the run (versions, machine, graph, settings, data, control times).
        nodes: One row an executed node (:data:`NODE_COLUMNS`). ``originals`` is a tuple of original node names; phase,
            layer, op and class are those of the original with the largest part.
        attribution: One row for each executed node and original node that it stands for or is charged to
            (:data:`ATTRIBUTION_COLUMNS`).
        steps: One row a counted step (:data:`STEP_COLUMNS`).
        samples: Exclusive microseconds of each executed node in each counted step, [steps, rows of ``nodes``].
        originals: One row an original node (:data:`ORIGINAL_COLUMNS`), in the graph's order; see
            :func:`~fathom_onnx.analysis.runs.originals.original_table`.
        kernels: One row an executed node and what it ran on a device (:data:`KERNEL_COLUMNS`); None where no device was
            recorded.
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
        """Sum of the nodes' median times."""
        return float(self.nodes["median_us"].sum())

    @property
    def outside_us(self) -> float:
        """Median over the steps of the time that no node took."""
        return float(self.steps["outside_us"].median())

    @property
    def run_time_us(self) -> float:
        """Node time and time outside."""
        return self.node_time_us + self.outside_us

    @property
    def control_us(self) -> float:
        """Median wall time of the unprofiled steps."""
        return float(np.median(self.manifest["control_steps_us"]))

    @property
    def step_us(self) -> float:
        """Median wall time of the profiled steps."""
        return float(self.steps["wall_us"].median())

    @property
    def floor(self) -> Floor | None:
        """The profiler's own cost of a node, or None where it was not estimated."""
        found = self.manifest.get("floor")
        return Floor(**found) if found else None

    @property
    def step_drift(self) -> float | None:
        """Relative change of the step's time over the run, 0 where there is no trend, None where steps are too few."""
        found = float(drifts(self.steps[["run_us"]].to_numpy())[0])
        return None if np.isnan(found) else found

    @property
    def stationary_share(self) -> float | None:
        """Share of the node time in nodes without a trend, or None where steps are too few or there is no time."""
        total = self.node_time_us
        if not total or self.nodes["drift"].isna().any():
            return None
        return float(self.nodes.loc[self.nodes["drift"] == 0, "median_us"].sum()) / total

    def kind_us(self, kind: str) -> float:
        """Node time of one kind: ``attributed``, ``charged`` or ``unattributed``."""
        return float(self.nodes.loc[self.nodes["kind"] == kind, "median_us"].sum())

    def _by(self, column: str) -> pd.DataFrame:
        """Sums over a column of the attribution table (:data:`GROUP_COLUMNS`); shares are of the node time."""
        return time_groups(self.attribution, column, self.node_time_us, "nodes", lambda g: g["executed"].nunique())

    def unattributed(self) -> pd.DataFrame:
        """Executed nodes that stand for nothing known: ``node``, ``op_type``, ``us``, ``reason``, largest first."""
        rows = self.nodes.loc[self.nodes["kind"] == "unattributed", ["name", "op_type", "median_us", "reason"]]
        named = rows.rename(columns={"name": "node", "median_us": "us"})
        return named.sort_values("us", ascending=False, ignore_index=True)

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
            "data": self.manifest.get("data"),
            "warmup": self.manifest["warmup"],
            "steps": self.manifest["steps"],
            "node_times": self.manifest.get("node_times"),
            "device_time": self.manifest.get("device_time"),
            "control_us": self.control_us,
            "step_us": self.step_us,
            "run_time_us": self.run_time_us,
            "node_time_us": self.node_time_us,
            "outside_us": self.outside_us,
            "attributed_us": self.kind_us("attributed"),
            "charged_us": self.kind_us("charged"),
            "unattributed_us": self.kind_us("unattributed"),
            "profiling_overhead_us": self.step_us - self.control_us,
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
        """How far the times can be trusted: dropped steps, trends, and the profiler's own cost."""
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
        """Write the run's tables into a folder.

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
            DataError: It is not a run folder, it is of an older schema, or a file in it is malformed.
        """
        return cls(**read_run(folder))


def _settled(found: Sequence[bool | None]) -> bool | None:
    """Whether all are settled; None where that is not known of one."""
    if False in found:
        return False
    return None if None in found or not found else True


def build_run(
    attribution: Attribution,
    times: StepTimes,
    wall_us: Sequence[float],
    manifest: Mapping[str, Any],
    graph: Graph | None = None,
    device: DeviceTimes | None = None,
) -> Run:
    """A run from its attribution and its times.

    Args:
        attribution: What each executed node stands for.
        times: Times of the counted steps, nodes under ``k<number>``.
        wall_us: Wall time of the counted steps.
        manifest: The facts of the run, with ``control_steps_us``, ``warmup`` and ``steps``.
        graph: The original graph; without it costs and parameters of the original nodes are not known.
        device: What was recorded of a device in the counted steps, ``times`` among it; its facts are in the manifest.
    """
    labels = label_nodes(attribution.originals)
    rows = rows_in_order(attribution, times)
    executions = float(np.median(times.calls.sum(axis=1)))
    # what profiling costs is the host's time: a device's times of nodes have nothing of it
    on_host = executions and device is None
    floor = profiler_floor(wall_us, manifest["control_steps_us"], executions) if on_host else None
    nodes = node_table(attribution, times, rows, labels, floor)
    median_us = nodes["median_us"].to_numpy(float)
    return Run(
        manifest={"schema": SCHEMA, **manifest, "floor": asdict(floor) if floor else None},
        nodes=nodes,
        attribution=attribution_table(attribution, median_us, rows, labels),
        steps=step_table(times, wall_us),
        samples=times.self_us[:, [column for column, _ in rows]],
        originals=original_table(attribution, nodes, rows, labels, graph),
        kernels=_kernels(device, nodes, rows) if device else None,
    )


def _kernels(device: DeviceTimes, nodes: pd.DataFrame, rows: Sequence[tuple[int, int | None]]) -> pd.DataFrame:
    executed = [device.times.names[column] for column, _ in rows]
    return kernel_table(
        device, {name: row for row, name in enumerate(executed)}, dict(zip(executed, nodes["name"], strict=True))
    )
