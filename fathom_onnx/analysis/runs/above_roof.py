"""Executed nodes above the roof: a self-check. Nothing can be faster than the roof; what seems so needs a reason.

A share above 1 means that a cost, a time or a ceiling is not what it seems. Three reasons are measured, and no other is
let pass:

* ``floor``: one execution takes less than the profiler's own cost of a node (the lower end of its interval, and at most
  :data:`FLOOR_US`), so that its time is noise;
* ``rounding``: the trace gives whole microseconds, rounded down, and the time could be that much longer;
* ``cache``: memory would bind, and a copy that moves as many bytes reached this rate, because its data stay in a cache.

All others are ``unexplained``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.runtime.ceilings.ceilings import Ceilings

from .run import Run

__all__ = ["ABOVE_COLUMNS", "EXPLANATIONS", "FLOOR_US", "TOLERANCE", "above_roof"]

TOLERANCE = 0.05
"""What a share may be above 1: ceilings are measured, and the next measurement differs by some percent."""

FLOOR_US = 15.0
"""What the profiler costs a node at most, in microseconds: a floor above it was estimated on a busy machine."""

ABOVE_COLUMNS = ("node", "op_type", "layer", "us", "share", "bound", "compute_type", "explanation", "why")
"""Columns of the table of nodes above the roof."""

EXPLANATIONS = ("floor", "rounding", "cache", "unexplained")
"""What may explain a node above the roof."""


def above_roof(run: Run, work: pd.DataFrame, ceilings: Ceilings) -> pd.DataFrame:
    """The executed nodes above the roof (:data:`ABOVE_COLUMNS`), the unexplained first, then by their time.

    Args:
        run: The run.
        work: Its executed nodes of known cost: ``executed`` (row of ``Run.nodes``), ``us``, ``bytes``,
            ``compute_type``, and ``compute_us`` and ``memory_us`` at the ceilings.
        ceilings: What the machine can do.
    """
    roof_us = work[["compute_us", "memory_us"]].max(axis=1)
    above = work.assign(share=roof_us / work["us"])[roof_us > (1 + TOLERANCE) * work["us"]]
    facts = run.nodes.loc[above["executed"], ["name", "op_type", "layer", "calls"]]
    table = pd.concat([facts.reset_index(drop=True), above.reset_index(drop=True)], axis=1)
    # a device's times have decimals
    rounded_us = 1.0 if np.issubdtype(run.samples.dtype, np.integer) else 0.0
    reasons = [_reason(row, rounded_us, _floor_us(run), ceilings) for row in table.to_dict("records")]
    table[["explanation", "why"]] = pd.DataFrame(reasons, columns=["explanation", "why"], dtype=object)
    table["bound"] = np.where(table["compute_us"] >= table["memory_us"], "compute", "memory")
    table["last"] = table["explanation"] != "unexplained"
    named = table.rename(columns={"name": "node"}).sort_values(["last", "us", "node"], ascending=[True, False, True])
    return named[list(ABOVE_COLUMNS)].reset_index(drop=True)


def _floor_us(run: Run) -> float:
    """What the profiler costs a node, microseconds; 0 where it was not estimated."""
    floor = run.floor
    if floor is None:
        return 0.0
    return min(FLOOR_US, floor.us if floor.low_us is None else floor.low_us)


def _reason(node: dict[Any, Any], rounded_us: float, floor_us: float, ceilings: Ceilings) -> tuple[str, str]:
    """What explains one node above the roof, and the sentence that says so."""
    calls = max(float(node["calls"]), 1.0)
    if node["us"] / calls < floor_us:
        return "floor", f"an execution takes less than the {floor_us:.1f} us of the profiler: its time is noise"
    longest_us = (node["us"] + calls * rounded_us) * (1 + TOLERANCE)
    if max(node["compute_us"], node["memory_us"]) <= longest_us:
        return "rounding", "the trace rounds times down to whole microseconds"
    rate, moved = node["bytes"] / node["us"] / 1e3, node["bytes"] / calls
    if node["compute_us"] > longest_us:
        ceiling = node["compute_us"] / node["us"]
        return "unexplained", f"computes {ceiling:.2f} times as fast as the best {node['compute_type']} product"
    cached = ceilings.cached_gbytes(moved)
    if cached is None:
        return "unexplained", f"moves {moved / 1e6:.3g} MB at {rate:.1f} GB/s; no copy in a cache was measured"
    if node["bytes"] / (cached * 1e3) <= longest_us:
        return "cache", f"moves {moved / 1e6:.3g} MB at {rate:.1f} GB/s; in a cache a copy of that reached {cached:.1f}"
    return "unexplained", f"moves {moved / 1e6:.3g} MB at {rate:.1f} GB/s; in a cache no copy passed {cached:.1f}"
