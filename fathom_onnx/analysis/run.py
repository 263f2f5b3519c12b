"""A profiled run: a row an executed node, what each stands for, and the sums by phase, class, op and layer.

Times are microseconds. A node's time is the median over the profiled steps of its exclusive time; ``node_time_us`` is
the sum of those medians, ``outside_us`` the median over the steps of what the run took beyond its nodes, and
``run_time_us`` the sum of both. For each single step run = nodes + outside holds exactly, in whole microseconds.
The JSON form is described in ``docs/run-schema.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, one_line
from ..graph.files import write_text
from ..runtime.optimized import executed_name
from ..runtime.trace import StepTimes
from .attribution import Attribution
from .labels import Label, label_nodes

__all__ = ["ATTRIBUTION_COLUMNS", "GROUP_COLUMNS", "NODE_COLUMNS", "SCHEMA", "STEP_COLUMNS", "Run", "build_run"]

SCHEMA = "fathom-onnx/run/1"

NODE_COLUMNS = (
    "index",
    "name",
    "op_type",
    "provider",
    "kind",
    "originals",
    "phase",
    "layer",
    "op",
    "op_class",
    "split",
    "reason",
    "median_us",
    "q1_us",
    "q3_us",
    "mean_us",
    "calls",
)
ATTRIBUTION_COLUMNS = ("executed", "original", "kind", "weight", "us", "phase", "layer", "op", "op_class")
STEP_COLUMNS = ("step", "run_us", "node_us", "outside_us", "wall_us")
GROUP_COLUMNS = ("name", "us", "share", "nodes")

_TEXT = frozenset(
    ("name", "op_type", "provider", "kind", "originals", "original", "phase", "layer", "op", "op_class", "reason")
)

_FILES = ("manifest.json", "nodes.csv", "attribution.csv", "steps.csv", "summary.json")


@dataclass(frozen=True)
class Run:
    """A profiled run, explained.

    Attributes:
        manifest: The facts of the run (versions, machine, graph, settings, data, control times).
        nodes: One row an executed node (:data:`NODE_COLUMNS`). ``originals`` is a tuple of original node names; phase,
            layer, op and class are those of the original with the largest part.
        attribution: One row for each executed node and original node that it stands for or is charged to
            (:data:`ATTRIBUTION_COLUMNS`).
        steps: One row a profiled step (:data:`STEP_COLUMNS`), whole microseconds but for ``wall_us``.
    """

    manifest: dict[str, Any]
    nodes: pd.DataFrame
    attribution: pd.DataFrame
    steps: pd.DataFrame

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

    def kind_us(self, kind: str) -> float:
        """Node time of one kind: ``attributed``, ``charged`` or ``unattributed``."""
        return float(self.nodes.loc[self.nodes["kind"] == kind, "median_us"].sum())

    def _by(self, column: str) -> pd.DataFrame:
        """Sums over a column of the attribution table; shares are of the node time."""
        total = self.node_time_us
        grouped = self.attribution.groupby(column, sort=True)
        table = pd.DataFrame(
            {
                "name": list(grouped.groups),
                "us": grouped["us"].sum().to_numpy(float),
                "nodes": grouped["executed"].nunique().to_numpy(int),
            }
        )
        table["share"] = table["us"] / total if total else 0.0
        ordered = table.sort_values(["us", "name"], ascending=[False, True], ignore_index=True)
        return ordered[list(GROUP_COLUMNS)]

    def by_phase(self) -> pd.DataFrame:
        """Time by phase (:data:`GROUP_COLUMNS`), largest first."""
        return self._by("phase")

    def by_class(self) -> pd.DataFrame:
        """Time by class A to G, largest first."""
        return self._by("op_class")

    def by_op(self) -> pd.DataFrame:
        """Time by canonical op, largest first."""
        return self._by("op")

    def by_layer(self) -> pd.DataFrame:
        """Time by layer, largest first."""
        return self._by("layer")

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
            "split_us": float(self.nodes.loc[self.nodes["split"], "median_us"].sum()),
            "by_phase": self.by_phase().to_dict("records"),
            "by_class": self.by_class().to_dict("records"),
            "by_op": self.by_op().to_dict("records"),
            "by_layer": self.by_layer().to_dict("records"),
            "unattributed": self.unattributed().to_dict("records"),
        }

    def save(self, folder: Path) -> None:
        """Write the run's tables into a folder.

        Raises:
            OutputError: The folder cannot be written to.
        """
        nodes = self.nodes.assign(originals=self.nodes["originals"].map(lambda names: json.dumps(list(names))))
        texts = {
            "manifest.json": json.dumps(self.manifest, indent=2) + "\n",
            "nodes.csv": nodes.to_csv(index=False, lineterminator="\n"),
            "attribution.csv": self.attribution.to_csv(index=False, lineterminator="\n"),
            "steps.csv": self.steps.to_csv(index=False, lineterminator="\n"),
            "summary.json": json.dumps(self.summary(), indent=2) + "\n",
        }
        for name in _FILES:
            write_text(folder / name, texts[name])

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Read a run folder.

        Raises:
            DataError: It is not a run folder, or a file in it is malformed.
        """
        for name in ("manifest.json", "nodes.csv", "attribution.csv", "steps.csv"):
            if not (folder / name).is_file():
                raise DataError(f"'{folder}' is not a run folder: it has no {name}", "give a folder that profile wrote")
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            nodes = _read(folder / "nodes.csv", NODE_COLUMNS)
            nodes["originals"] = nodes["originals"].map(lambda text: tuple(json.loads(text)))
            attribution = _read(folder / "attribution.csv", ATTRIBUTION_COLUMNS)
            steps = _read(folder / "steps.csv", STEP_COLUMNS)
            if manifest.get("schema") != SCHEMA:
                raise DataError(
                    f"run '{folder}' has schema '{manifest.get('schema')}', not '{SCHEMA}'", "profile again"
                )
        except (ValueError, KeyError, OSError, AttributeError) as error:
            raise DataError(f"run folder '{folder}' is malformed ({one_line(error)})", "profile again") from error
        return cls(manifest, nodes, attribution, steps)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    # a layer or node may be called "NA" or "12": what is text stays text, and only an empty cell is empty
    kinds = {name: str for name in columns if name in _TEXT}
    table = pd.read_csv(path, keep_default_na=False, na_values=[], float_precision="round_trip", dtype=kinds)
    if tuple(table.columns) != columns:
        raise ValueError(f"{path.name} has columns {', '.join(map(str, table.columns))}, not {', '.join(columns)}")
    return table


def _label_columns(label: Label | None) -> dict[str, str]:
    if label is None:
        return {"phase": "", "layer": "", "op": "", "op_class": ""}
    return {"phase": label.phase, "layer": label.layer, "op": label.op, "op_class": label.op_class}


def build_run(
    attribution: Attribution, times: StepTimes, wall_us: tuple[float, ...], manifest: Mapping[str, Any]
) -> Run:
    """A run from its attribution and its times.

    Args:
        attribution: What each executed node stands for.
        times: Times of the profiled steps, nodes under ``k<number>``.
        wall_us: Wall time of the profiled steps.
        manifest: The facts of the run, with ``control_steps_us``, ``warmup`` and ``steps``.

    A node of the model that never ran (a branch not taken) has no row; a node in the trace that the model does not
    have was inserted when the session was built, and is unattributed.
    """
    labels = label_nodes(attribution.originals)
    position = {executed_name(entry.index): entry.index for entry in attribution.executed}
    node_rows: list[dict[str, Any]] = []
    part_rows: list[dict[str, Any]] = []
    statistics = np.percentile(times.self_us, [50, 25, 75], axis=0)
    mean = times.self_us.mean(axis=0)
    calls = np.median(times.calls, axis=0)
    order = sorted(range(len(times.names)), key=lambda i: position.get(times.names[i], len(position) + i))
    for column in order:
        name = times.names[column]
        index = position.get(name)
        median = float(statistics[0, column])
        found = attribution.nodes[index] if index is not None else None
        shares = found.shares if found else ()
        main = max(shares, key=lambda share: share.weight) if shares else None
        row = len(node_rows)
        node = attribution.executed[index].node if index is not None else None
        node_rows.append(
            {
                "index": row,
                "name": (node.name or f"{node.op_type}#{index}") if node is not None else name,
                "op_type": times.op_types[column],
                "provider": times.providers[column],
                "kind": found.kind if found else "unattributed",
                "originals": tuple(labels[s.original].name for s in shares),
                **_label_columns(labels[main.original] if main else None),
                "split": bool(found and found.split),
                "reason": found.reason if found else "inserted when the session was built",
                "median_us": median,
                "q1_us": float(statistics[1, column]),
                "q3_us": float(statistics[2, column]),
                "mean_us": float(mean[column]),
                "calls": float(calls[column]),
            }
        )
        for share in shares:
            part_rows.append(
                {
                    "executed": row,
                    "original": labels[share.original].name,
                    "kind": found.kind if found else "",
                    "weight": share.weight,
                    "us": median * share.weight,
                    **_label_columns(labels[share.original]),
                }
            )
    steps = pd.DataFrame(
        {
            "step": np.arange(len(times.run_us)),
            "run_us": times.run_us,
            "node_us": times.node_us,
            "outside_us": times.outside_us,
            "wall_us": np.asarray(wall_us, float),
        },
        columns=list(STEP_COLUMNS),
    )
    return Run(
        {"schema": SCHEMA, **manifest},
        pd.DataFrame(node_rows, columns=list(NODE_COLUMNS)),
        pd.DataFrame(part_rows, columns=list(ATTRIBUTION_COLUMNS)),
        steps,
    )
