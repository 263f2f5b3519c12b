"""Hand-made runs: executed nodes with their times in each step and their original nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.analysis.runs.run import ATTRIBUTION_COLUMNS, NODE_COLUMNS, ORIGINAL_COLUMNS, SCHEMA, STEP_COLUMNS, Run
from fathom_onnx.graph import Address

FACTS = {
    "graph": "small",
    "graph_sha256": "0" * 64,
    "workload": None,
    "mode": None,
    "framework": None,
    "preset": None,
    "provider": "cpu",
    "threads": 1,
    "optimization": "all",
    "onnxruntime": "1.31.1",
    "cpu": "one",
    "cpu_cores": 2,
    "os": "Linux",
    "data": {"source": "synthetic", "kind": "synthetic", "description": "random"},
    "seed": 0,
    "warmup": 1,
    "time_utc": "2026-01-01T00:00:00+00:00",
}


@dataclass(frozen=True)
class Executed:
    """An executed node: exclusive microseconds by step, and its original nodes (addresses) with their weights."""

    name: str
    us: Sequence[int]
    parts: Mapping[str, float] = field(default_factory=dict)
    kind: str = "attributed"
    calls: int = 1


def _labels(original: str) -> dict[str, str]:
    address = Address.parse(original)
    if address is None:
        return {"phase": "forward", "layer": original, "op": original, "op_class": "unlisted"}
    return {
        "phase": address.phase,
        "layer": address.layer,
        "op": address.op,
        "op_class": str(address.op_class),
    }


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame([{name: row.get(name, 0.0) for name in columns} for row in rows], columns=list(columns))


def hand_run(
    nodes: Sequence[Executed],
    outside: Sequence[int],
    control: Sequence[float] | None = None,
    states: Mapping[str, str] | None = None,
    order: Sequence[str] = (),
    floor: float | None = None,
    **facts: Any,
) -> Run:
    """A run of hand-made nodes.

    Args:
        nodes: The executed nodes.
        outside: Time outside nodes, by step.
        control: Times of the unprofiled steps; by default those of the profiled runs.
        states: State of the original nodes that did not run.
        order: All original nodes in the order of the graph; by default the order of the executed nodes.
        floor: The profiler's cost per node execution.
        facts: Facts of the manifest that differ from :data:`FACTS`.
    """
    samples = np.array([node.us for node in nodes], np.int64).T
    node_us = samples.sum(axis=1)
    rows, parts = [], []
    for index, node in enumerate(nodes):
        median = float(np.median(node.us))
        main = max(node.parts, key=lambda name: node.parts[name], default=None)
        rows.append(
            {
                "index": index,
                "name": node.name,
                "op_type": "Op",
                "provider": "cpu",
                "kind": node.kind,
                "originals": tuple(node.parts),
                **(_labels(main) if main else dict.fromkeys(("phase", "layer", "op", "op_class"), "")),
                "split": len(node.parts) > 1,
                "reason": "",
                "median_us": median,
                "mean_us": float(np.mean(node.us)),
                "calls": float(node.calls),
                "below_floor": False,
            }
        )
        for name, weight in node.parts.items():
            part = {"executed": index, "original": name, "kind": node.kind, "weight": weight, "us": median * weight}
            parts.append({**part, **_labels(name)})
    steps = {
        "step": np.arange(len(samples)),
        "run_us": node_us + np.array(outside),
        "node_us": node_us,
        "outside_us": np.array(outside),
        "wall_us": (node_us + np.array(outside)).astype(float),
    }
    attributed = dict.fromkeys(order, 0.0)
    for part in parts:
        if part["kind"] == "attributed":
            attributed[part["original"]] = attributed.get(part["original"], 0.0) + part["us"]
    originals = [
        {"name": name, "op_type": "Op", **_labels(name), "us": us, "state": (states or {}).get(name, "ran")}
        for name, us in attributed.items()
    ]
    manifest = {
        "schema": SCHEMA,
        **FACTS,
        "steps": len(samples),
        "floor": {"us": floor, "low_us": None, "high_us": None, "executions": 1.0} if floor is not None else None,
        "control_steps_us": [float(t) for t in (control if control is not None else steps["run_us"])],
        **facts,
    }
    return Run(
        manifest=manifest,
        nodes=_table(rows, NODE_COLUMNS),
        attribution=_table(parts, ATTRIBUTION_COLUMNS),
        steps=pd.DataFrame(steps, columns=list(STEP_COLUMNS)),
        samples=samples,
        originals=_table(originals, ORIGINAL_COLUMNS),
    )
