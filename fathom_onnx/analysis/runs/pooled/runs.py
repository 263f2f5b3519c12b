"""Rounds of a run in onnxruntime as one run: samples joined, medians over the steps of all rounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
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

_SAME = (("name", "op_type", "provider", "originals"), ("op_type", "provider", "originals"), ("op_type", "provider"))
"""What tells that executed nodes of two rounds are the same one, the surest first: nodes that onnxruntime inserts, such
as changes of layout, are named anew in every session."""

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
    rows = [_rows_of(first, run) for run in runs]
    samples = np.concatenate([run.samples[:, of_run] for run, of_run in zip(runs, rows, strict=True)])
    steps = pd.concat([run.steps for run in runs], ignore_index=True)
    steps["step"] = np.arange(len(steps))
    manifest = _manifest(runs, steps)
    calls = [run.nodes["calls"].to_numpy(float)[of_run] for run, of_run in zip(runs, rows, strict=True)]
    nodes = _nodes(first, samples, calls, manifest["floor"])
    attribution = first.attribution.copy()
    attribution["us"] = nodes["median_us"].to_numpy(float)[attribution["executed"]] * attribution["weight"]
    originals = first.originals.copy()
    by_name = attribution[attribution["kind"] == "attributed"].groupby("original")["us"].sum()
    originals["us"] = originals["name"].map(by_name).fillna(0.0)
    kernels = None if first.kernels is None else _kernels([run.kernels for run in runs if run.kernels is not None])
    return Run(manifest, nodes, attribution, steps, samples, originals, kernels)


def _rows_of(first: Run, run: Run) -> list[int]:
    """For every row of the first run's node table the row of the same node in another run's."""
    found: dict[int, int] = {}
    left = set(range(len(run.nodes)))
    for names in _SAME:
        waiting: dict[tuple[Any, ...], deque[int]] = {}
        for row, key in enumerate(_keys(run, names)):
            if row in left:
                waiting.setdefault(key, deque()).append(row)
        for row, key in enumerate(_keys(first, names)):
            if row not in found and waiting.get(key):
                found[row] = waiting[key].popleft()
        left -= set(found.values())
        if not left:
            break
    if left or len(found) != len(first.nodes):
        graph = first.manifest.get("graph")
        raise RunError(f"rounds of graph '{graph}' executed different nodes", "measure it in one round")
    return [found[row] for row in range(len(first.nodes))]


def _keys(run: Run, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(run.nodes[name] for name in names), strict=True)


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


def _nodes(
    first: Run, samples: Microseconds, calls: Sequence[Microseconds], floor: dict[str, Any] | None
) -> pd.DataFrame:
    """The node table with statistics over all steps; costs are those of a step, whatever the round."""
    nodes = first.nodes.copy()
    for name, values in node_statistics(samples).items():
        nodes[name] = values.to_numpy()
    nodes["calls"] = np.median(calls, axis=0)
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
