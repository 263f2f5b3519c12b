"""The roofline of a run: the share of its machine's attainable performance that each op, layer or node reaches.

For a node with F FLOPs, B bytes and time t, under ceilings P (FLOP/s) and M (byte/s):

    intensity = F / B         achieved = F / t and B / t         roof = min(P, M x intensity)
    time at the roof = max(F / P, B / M)         share of the roof = time at the roof / t

The share is achieved / roof where there are FLOPs and the share of the memory ceiling where there are none, so that
data movement has a share too. A node is bound by the larger of the two times. The time at the roof of a group is the
sum over its nodes: what the group would take if each of its nodes were at its own roof.

Times and costs are those of the original nodes (``Run.originals``). Original nodes that ran as one fused node have one
roof: the sum of their FLOPs, and the bytes of the node with most, because tensors between them stay inside the fused
node. They divide it as they divide the fused node's time. A share above 1 means that fewer bytes moved than were
counted: tensors stayed in a cache or inside a fused node. Nodes of unknown cost, and nodes fused with them, are listed
and left out of all sums.

Source: Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.errors import UnknownNameError

from .time_groups import GROUPING_COLUMNS

__all__ = ["BOUNDS", "COLUMNS", "LEFT_OUT_COLUMNS", "SCHEMA", "Roofline", "roofline", "rooflines"]

SCHEMA = "fathom-onnx/roofline/1"
"""Name and version of the JSON schema."""

COLUMNS = ("name", "nodes", "us", "flops", "bytes", "intensity", "gflops", "gbytes", "roof_us", "share", "bound")
"""Columns of a roofline's table, in order."""

LEFT_OUT_COLUMNS = ("name", "op_type", "us", "why")
"""Columns of the table of rows without a bound, in order."""

BOUNDS = ("compute", "memory", "none")
"""What binds a row; "none" where no work is counted (a reshape), so that all its time is overhead."""


@dataclass(frozen=True)
class Roofline:
    """A run under two ceilings.

    Attributes:
        table: One row per group (:data:`COLUMNS`), the longest first. ``us`` is the time of its nodes of known cost,
            ``roof_us`` their time at the roof, ``gflops`` and ``gbytes`` what they achieved a second (10^9).
        left_out: Nodes that took time and have no known cost (:data:`LEFT_OUT_COLUMNS`), the longest first.
        gflops: Arithmetic ceiling, GFLOP/s.
        gbytes: Memory ceiling, GB/s.
        by: The grouping of the rows.
        not_run: Number of nodes that took no time: folded, merged, or in a branch not taken.
    """

    table: pd.DataFrame
    left_out: pd.DataFrame
    gflops: float
    gbytes: float
    by: str
    not_run: int

    @property
    def total(self) -> dict[str, float]:
        """Over all rows: time, time at the roof, its share of the time, and the time that was left out."""
        us, roof = float(self.table["us"].sum()), float(self.table["roof_us"].sum())
        return {
            "us": us,
            "roof_us": roof,
            "share": roof / us if us else float("nan"),
            "left_out_us": float(self.left_out["us"].sum()),
        }

    @property
    def bound_shares(self) -> dict[str, float]:
        """Share of the time by what binds the rows (:data:`BOUNDS`), and in nodes of ``unknown`` cost; sums to 1.

        Empty if nothing took any time.
        """
        by_bound = self.table.groupby("bound")["us"].sum()
        us_by_bound = {bound: float(by_bound.get(bound, 0.0)) for bound in BOUNDS}
        us_by_bound["unknown"] = self.total["left_out_us"]
        total_us = sum(us_by_bound.values())
        return {name: us / total_us for name, us in us_by_bound.items()} if total_us else {}

    def as_json(self) -> dict[str, Any]:
        """One object of schema :data:`SCHEMA`; unknown numbers are null."""
        rows = self.table.astype(object).where(self.table.notna(), None)
        total = {name: None if np.isnan(value) else value for name, value in self.total.items()}
        return {
            "schema": SCHEMA,
            "by": self.by,
            "gflops": self.gflops,
            "gbytes_per_second": self.gbytes,
            "ridge_flops_per_byte": self.gflops / self.gbytes,
            "total": total,
            "rows": rows.to_dict("records"),
            "left_out": self.left_out.to_dict("records"),
            "not_run": self.not_run,
        }


def roofline(
    originals: pd.DataFrame, attribution: pd.DataFrame, gflops: float, gbytes: float, by: str = "op"
) -> Roofline:
    """The roofline of a run by one grouping.

    Args:
        originals: ``Run.originals``: times in microseconds and costs of one step; NaN is unknown.
        attribution: ``Run.attribution``: which original nodes ran as which executed nodes.
        gflops: Arithmetic ceiling, GFLOP/s.
        gbytes: Memory ceiling, GB/s.
        by: One of :data:`~fathom_onnx.analysis.runs.time_groups.GROUPINGS`.

    Raises:
        UnknownNameError: No such grouping.
    """
    return rooflines(originals, attribution, gflops, gbytes, (by,))[by]


def rooflines(
    originals: pd.DataFrame, attribution: pd.DataFrame, gflops: float, gbytes: float, by: Sequence[str]
) -> dict[str, Roofline]:
    """The rooflines of a run by several groupings; the arguments are those of :func:`roofline`.

    Raises:
        UnknownNameError: No such grouping.
    """
    for grouping in by:
        if grouping not in GROUPING_COLUMNS:
            raise UnknownNameError("grouping", grouping, GROUPING_COLUMNS)
    parts = _parts(originals, attribution, gflops, gbytes)
    unknown = parts.loc[parts["unknown"], "name"].unique()
    known = parts[~parts["name"].isin(unknown)]
    left_out = _left_out(originals[originals["name"].isin(unknown)])
    not_run = len(originals) - int(parts["name"].nunique())
    return {grouping: Roofline(_table(known, grouping), left_out, gflops, gbytes, grouping, not_run) for grouping in by}


def _table(known: pd.DataFrame, by: str) -> pd.DataFrame:
    """The rows of one grouping, the longest first."""
    grouped = known.groupby(GROUPING_COLUMNS[by], sort=True)
    table = grouped[["us", "flops", "bytes", "compute", "memory"]].sum()
    table["nodes"] = grouped["name"].nunique()
    table["roof_us"] = table["compute"] + table["memory"]
    table["intensity"] = table["flops"] / table["bytes"].where(table["bytes"] > 0)
    table["gflops"] = table["flops"] / table["us"] / 1e3
    table["gbytes"] = table["bytes"] / table["us"] / 1e3
    table["share"] = table["roof_us"] / table["us"]
    compute, none = table["compute"] >= table["memory"], table["roof_us"] == 0
    table["bound"] = np.select([none, compute], ["none", "compute"], "memory")
    named = table.rename_axis("name").reset_index()
    ordered = named.sort_values(["us", "name"], ascending=[False, True], ignore_index=True)
    return ordered[list(COLUMNS)]


def _parts(originals: pd.DataFrame, attribution: pd.DataFrame, gflops: float, gbytes: float) -> pd.DataFrame:
    """One row per executed node and original node attributed to it: its part of work, time and time at the roof.

    ``compute`` and ``memory`` are the times at the roof, each 0 where the other binds; ``unknown`` is whether any cost
    is missing in the fused node.
    """
    costs = originals.assign(bytes=originals["bytes_read"] + originals["bytes_written"])
    costs = costs[["name", "phase", "layer", "op", "op_class", "flops", "bytes"]]
    attributed = attribution.loc[
        (attribution["kind"] == "attributed") & (attribution["us"] > 0), ["executed", "original", "us"]
    ]
    parts = attributed.merge(costs, left_on="original", right_on="name", validate="many_to_one")
    # the work of an original node that ran as several executed nodes is divided as its time
    part = parts["us"] / parts.groupby("name")["us"].transform("sum")
    parts[["flops", "bytes"]] = parts[["flops", "bytes"]].mul(part, axis=0)
    parts["unknown"] = parts[["flops", "bytes"]].isna().any(axis=1)
    fused = parts.groupby("executed")
    parts["unknown"] = fused["unknown"].transform("any")
    share = parts["us"] / fused["us"].transform("sum")
    fused_bytes = fused["bytes"].transform("max")
    # GFLOP/s are 1e3 FLOPs a microsecond
    compute_us = fused["flops"].transform("sum") / (gflops * 1e3)
    memory_us = fused_bytes / (gbytes * 1e3)
    parts["bytes"] = fused_bytes * share
    parts["compute"] = compute_us.where(compute_us >= memory_us, 0.0) * share
    parts["memory"] = memory_us.where(memory_us > compute_us, 0.0) * share
    return parts


def _left_out(rows: pd.DataFrame) -> pd.DataFrame:
    """The table of nodes without a known cost, from their rows of ``Run.originals``."""
    no_bytes = (rows["bytes_read"] + rows["bytes_written"]).isna()
    reasons = ["FLOPs not known", "bytes not known"]
    why = np.select([rows["flops"].isna(), no_bytes], reasons, "ran as one with a node of unknown cost")
    table = rows.assign(why=why)[list(LEFT_OUT_COLUMNS)]
    return table.sort_values(["us", "name"], ascending=[False, True], ignore_index=True)
