"""A run against the ceilings of its machine: what part of the possible each op, layer or node reaches.

For a node of F FLOPs and B bytes that took t, with ceilings P (FLOP/s) and M (byte/s):

    intensity = F / B         achieved = F / t and B / t         roof = min(P, M x intensity)
    time at the roof = max(F / P, B / M)         share of the roof = time at the roof / t

The share is achieved / roof where there are FLOPs, and the share of the memory's ceiling where there are none, so that
movement has one too. What binds is the larger of the two times. For a group the times at the roof of its nodes are
added: its share is what the group would take, were each of its nodes at its own roof.

Times and costs are those of the original graph's nodes (``Run.originals``). Several that ran as one fused node have one
roof: their FLOPs together, and the bytes of the one that has most, for what is between them does not travel. They share
it as they share the node's time. A share above 1 means that less moved than was counted: tensors stayed in a cache, or
inside a fused node. Nodes without a known cost, and what ran as one with them, are listed and are in no sum.

Source: Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.errors import UnknownNameError

__all__ = ["BOUNDS", "COLUMNS", "GROUPS", "LEFT_OUT_COLUMNS", "SCHEMA", "Roofline", "roofline", "rooflines"]

SCHEMA = "fathom-onnx/roofline/1"

COLUMNS = ("name", "nodes", "us", "flops", "bytes", "intensity", "gflops", "gbytes", "roof_us", "share", "bound")
LEFT_OUT_COLUMNS = ("name", "op_type", "us", "why")
GROUPS: dict[str, str] = {"op": "op", "layer": "layer", "node": "name", "class": "op_class", "phase": "phase"}
"""What rows are made by, to the column of the originals."""

BOUNDS = ("compute", "memory", "none")
"""What binds; "none" where no work is counted (a reshape), so that all the time is overhead."""


@dataclass(frozen=True)
class Roofline:
    """A run against two ceilings.

    Attributes:
        table: One row a group (:data:`COLUMNS`), the longest first. ``us`` is the time of its nodes of known cost,
            ``roof_us`` their time at the roof, ``gflops`` and ``gbytes`` what they achieved a second (10^9).
        left_out: Nodes that took time and have no known cost (:data:`LEFT_OUT_COLUMNS`), the longest first.
        gflops: Ceiling of arithmetic, GFLOP/s.
        gbytes: Ceiling of memory, GB/s.
        by: What the rows are.
        not_run: Nodes that took no time: computed before the run, merged, or in a branch not taken.
    """

    table: pd.DataFrame
    left_out: pd.DataFrame
    gflops: float
    gbytes: float
    by: str
    not_run: int

    @property
    def total(self) -> dict[str, float]:
        """Over all rows: time, time at the roof, their quotient, and the time that was left out."""
        us, roof = float(self.table["us"].sum()), float(self.table["roof_us"].sum())
        return {
            "us": us,
            "roof_us": roof,
            "share": roof / us if us else float("nan"),
            "left_out_us": float(self.left_out["us"].sum()),
        }

    @property
    def bound_shares(self) -> dict[str, float]:
        """Share of the time in rows by what binds them (:data:`BOUNDS`), and in nodes of ``unknown`` cost; sums to 1.

        Empty where nothing took any time.
        """
        by_bound = self.table.groupby("bound")["us"].sum()
        amounts = {bound: float(by_bound.get(bound, 0.0)) for bound in BOUNDS}
        amounts["unknown"] = self.total["left_out_us"]
        whole = sum(amounts.values())
        return {name: us / whole for name, us in amounts.items()} if whole else {}

    def as_json(self) -> dict[str, Any]:
        """One object of schema :data:`SCHEMA`; unknown numbers are null."""
        plain = self.table.astype(object).where(self.table.notna(), None)
        total = {name: None if np.isnan(value) else value for name, value in self.total.items()}
        return {
            "schema": SCHEMA,
            "by": self.by,
            "gflops": self.gflops,
            "gbytes_per_second": self.gbytes,
            "ridge_flops_per_byte": self.gflops / self.gbytes,
            "total": total,
            "rows": plain.to_dict("records"),
            "left_out": self.left_out.to_dict("records"),
            "not_run": self.not_run,
        }


def roofline(
    originals: pd.DataFrame, attribution: pd.DataFrame, gflops: float, gbytes: float, by: str = "op"
) -> Roofline:
    """Set a run's original nodes against two ceilings.

    Args:
        originals: ``Run.originals``: times in microseconds and costs of one step; NaN is unknown.
        attribution: ``Run.attribution``: which original nodes ran as which executed ones.
        gflops: Ceiling of arithmetic, GFLOP/s.
        gbytes: Ceiling of memory, GB/s.
        by: One of :data:`GROUPS`.

    Raises:
        UnknownNameError: No such group.
    """
    return rooflines(originals, attribution, gflops, gbytes, (by,))[by]


def rooflines(
    originals: pd.DataFrame, attribution: pd.DataFrame, gflops: float, gbytes: float, by: Sequence[str]
) -> dict[str, Roofline]:
    """As :func:`roofline`, by several groups at once.

    Raises:
        UnknownNameError: No such group.
    """
    for group in by:
        if group not in GROUPS:
            raise UnknownNameError("grouping", group, GROUPS)
    parts = _parts(originals, attribution, gflops, gbytes)
    unknown = parts.loc[parts["unknown"], "name"].unique()
    known = parts[~parts["name"].isin(unknown)]
    left_out = _left_out(originals[originals["name"].isin(unknown)])
    not_run = len(originals) - int(parts["name"].nunique())
    return {group: Roofline(_table(known, group), left_out, gflops, gbytes, group, not_run) for group in by}


def _table(known: pd.DataFrame, by: str) -> pd.DataFrame:
    """The rows of one group, the longest first."""
    grouped = known.groupby(GROUPS[by], sort=True)
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
    """A row for each executed node and original that it stands for, with its part of work, time and time at the roof.

    ``compute`` and ``memory`` are the times at the roof, each 0 where the other binds; ``unknown`` is whether a cost
    is missing in what ran as one.
    """
    costs = originals.assign(bytes=originals["bytes_read"] + originals["bytes_written"])
    costs = costs[["name", "phase", "layer", "op", "op_class", "flops", "bytes"]]
    ran = attribution.loc[
        (attribution["kind"] == "attributed") & (attribution["us"] > 0), ["executed", "original", "us"]
    ]
    parts = ran.merge(costs, left_on="original", right_on="name", validate="many_to_one")
    # an original that ran as several nodes has its work where it has its time
    part = parts["us"] / parts.groupby("name")["us"].transform("sum")
    parts[["flops", "bytes"]] = parts[["flops", "bytes"]].mul(part, axis=0)
    parts["unknown"] = parts[["flops", "bytes"]].isna().any(axis=1)
    together = parts.groupby("executed")
    parts["unknown"] = together["unknown"].transform("any")
    share = parts["us"] / together["us"].transform("sum")
    moved = together["bytes"].transform("max")
    # GFLOP/s are 1e3 FLOPs a microsecond
    compute_us = together["flops"].transform("sum") / (gflops * 1e3)
    memory_us = moved / (gbytes * 1e3)
    parts["bytes"] = moved * share
    parts["compute"] = compute_us.where(compute_us >= memory_us, 0.0) * share
    parts["memory"] = memory_us.where(memory_us > compute_us, 0.0) * share
    return parts


def _left_out(rows: pd.DataFrame) -> pd.DataFrame:
    no_bytes = (rows["bytes_read"] + rows["bytes_written"]).isna()
    reasons = ["FLOPs not known", "bytes not known"]
    lacks = np.select([rows["flops"].isna(), no_bytes], reasons, "ran as one with a node of unknown cost")
    told = rows.assign(why=lacks)[list(LEFT_OUT_COLUMNS)]
    return told.sort_values(["us", "name"], ascending=[False, True], ignore_index=True)
