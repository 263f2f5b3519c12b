"""Rounds of a run in onnxruntime as one run: samples joined, medians over the steps of all rounds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.errors import RunError
from fathom_onnx.runtime.traces.steps import Microseconds

from ..run import Run
from ..steps import node_statistics, profiler_floor
from .rounds import pooled_facts

__all__ = ["pool_runs"]

_IDENTITY = ("name", "op_type", "provider", "kind", "originals", "op", "layer", "phase")
"""What is the same of an executed node in every round."""

_LISTS = ("control_steps_us", "dropped_control_steps_us")
_KERNEL_TIMES = ("calls", "us", "gap_us")


def pool_runs(runs: Sequence[Run]) -> Run:
    """One run with the steps of several rounds, in their order.

    Args:
        runs: Runs of one graph with the same settings.

    Raises:
        RunError: There is none, or they executed different nodes.
    """
    if not runs:
        raise RunError("there is no round to pool")
    first = runs[0]
    for run in runs[1:]:
        if not first.nodes[list(_IDENTITY)].equals(run.nodes[list(_IDENTITY)]):
            raise RunError(
                f"rounds of graph '{first.manifest.get('graph')}' executed different nodes", "measure it in one round"
            )
    samples = np.concatenate([run.samples for run in runs])
    steps = pd.concat([run.steps for run in runs], ignore_index=True)
    steps["step"] = np.arange(len(steps))
    manifest = _manifest(runs, steps)
    nodes = _nodes(runs, samples, manifest["floor"])
    attribution = first.attribution.copy()
    attribution["us"] = nodes["median_us"].to_numpy(float)[attribution["executed"]] * attribution["weight"]
    originals = first.originals.copy()
    by_name = attribution[attribution["kind"] == "attributed"].groupby("original")["us"].sum()
    originals["us"] = originals["name"].map(by_name).fillna(0.0)
    kernels = None if first.kernels is None else _kernels([run.kernels for run in runs if run.kernels is not None])
    return Run(manifest, nodes, attribution, steps, samples, originals, kernels)


def _manifest(runs: Sequence[Run], steps: pd.DataFrame) -> dict[str, Any]:
    manifests = [run.manifest for run in runs]
    each = [{"control_us": run.control_us, "step_us": run.step_us, "node_time_us": run.node_time_us} for run in runs]
    facts = dict(pooled_facts(manifests, _LISTS, each))
    for name in ("steps_asked", "sessions"):
        if name in facts:
            facts[name] = sum(m[name] for m in manifests)
    checks = [m["warmup_check"] for m in manifests if "warmup_check" in m]
    facts["warmup_check"] = {kind: [c for check in checks for c in check[kind]] for kind in ("profiled", "control")}
    for name in ("device_time", "control_flow", "node_shares"):
        if facts.get(name):
            facts[name] = _medians([m[name] for m in manifests])
    if facts.get("floor"):
        floor = profiler_floor(steps["wall_us"].tolist(), facts["control_steps_us"], facts["floor"]["executions"])
        facts["floor"] = {name: getattr(floor, name) for name in ("us", "low_us", "high_us", "executions")}
    return facts


def _nodes(runs: Sequence[Run], samples: Microseconds, floor: dict[str, Any] | None) -> pd.DataFrame:
    """The node table with statistics over all steps; calls and costs are those of a step, whatever the round."""
    nodes = runs[0].nodes.copy()
    for name, values in node_statistics(samples).items():
        nodes[name] = values.to_numpy()
    nodes["calls"] = np.median([run.nodes["calls"].to_numpy(float) for run in runs], axis=0)
    if floor:
        nodes["below_floor"] = nodes["median_us"] / nodes["calls"].clip(lower=1) < floor["us"]
    return nodes


def _kernels(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The kernel tables of several rounds: the medians of their times."""
    joined = pd.concat(tables, ignore_index=True)
    same = [name for name in joined.columns if name not in _KERNEL_TIMES]
    pooled = joined.groupby(same, sort=False, dropna=False, as_index=False)[list(_KERNEL_TIMES)].median()
    return pooled[list(joined.columns)]


def _medians(values: Sequence[Any]) -> Any:
    """The median of each number in several values of one form; of anything else the first."""
    first = values[0]
    if isinstance(first, dict):
        return {name: _medians([v[name] for v in values if name in v]) for name in first}
    if isinstance(first, list) and len({len(v) for v in values}) == 1:
        return [_medians(several) for several in zip(*values, strict=True)]
    if isinstance(first, bool) or not all(isinstance(v, int | float) for v in values):
        return first
    return median(values)
