"""The roofline of a run: the share of its machine's attainable performance that each op, layer or node reaches.

For an executed node with F FLOPs, B bytes and time t, under ceilings P (FLOP/s) and M (byte/s):

    intensity = F / B         achieved = F / t and B / t         roof = min(P, M x intensity)
    time at the roof = max(F / P, B / M)         share of the roof = time at the roof / t

P is the ceiling of the number type that the node computed in. The share is achieved / roof where there are FLOPs and
the share of the memory ceiling where there are none, so that data movement has a share too. A node is bound by the
larger of the two times. The time at the roof of a group is the sum over its nodes: what the group would take if each of
its nodes were at its own roof.

Work is that of the executed nodes (``Run.nodes``): what ran, in the types and shapes of the run. An executed node
divides its work over the original nodes that it stands for as it divides its time, so that twins of which one ran have
the rate of one, and a layer has the same bytes however the graph spells it. Nodes whose cost is not known, or whose
number type has no measured ceiling, are listed and left out of all sums. A share above 1 is either explained by
something that was measured or an error (:mod:`.above_roof`).

Runs of older versions have no costs of executed nodes. Their work is that of the original nodes; those that ran as one
have the sum of their FLOPs, and the bytes of the one with most.

Source: Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.errors import UnknownNameError
from fathom_onnx.runtime.ceilings.ceilings import Ceilings

from .above_roof import ABOVE_COLUMNS, above_roof
from .run import Run
from .time_groups import GROUPING_COLUMNS

__all__ = ["BOUNDS", "COLUMNS", "LEFT_OUT_COLUMNS", "SCHEMA", "Roofline", "computed_in", "roofline", "rooflines"]

SCHEMA = "fathom-onnx/roofline/1"
"""Name and version of the JSON schema."""

COLUMNS = (
    "name",
    "nodes",
    "us",
    "flops",
    "bytes",
    "intensity",
    "gflops",
    "gbytes",
    "roof_us",
    "share",
    "bound",
    "compute_type",
)
"""Columns of a roofline's table, in order."""

LEFT_OUT_COLUMNS = ("name", "op_type", "us", "why")
"""Columns of the table of rows without a bound, in order."""

BOUNDS = ("compute", "memory", "none")
"""What binds a row; "none" where no work is counted (a reshape), so that all its time is overhead."""


@dataclass(frozen=True)
class Roofline:
    """A run under the ceilings of its machine.

    Attributes:
        table: One row per group (:data:`COLUMNS`), the longest first. ``us`` is the time of its nodes of known cost,
            ``roof_us`` their time at the roof, ``gflops`` and ``gbytes`` what they achieved a second (10^9),
            ``compute_type`` the number types they computed in, the one with most time first.
        left_out: Nodes that took time and have no known cost or no ceiling (:data:`LEFT_OUT_COLUMNS`), the longest
            first.
        arithmetic: Ceiling of each number type that the rows computed in, GFLOP/s, and of float32.
        gbytes: Memory ceiling, GB/s.
        by: The grouping of the rows.
        not_run: Number of nodes that took no time: folded, merged, or in a branch not taken.
        above_roof: Executed nodes above the roof with what explains each (:data:`~.above_roof.ABOVE_COLUMNS`).
        by_memory_alone: Number type without a measured ceiling to the microseconds of nodes that compute in it and
            multiply nothing (arithmetic of shapes and indices): they are held against memory alone.
        executed: Whether the work is that of the executed nodes; False for runs of older versions.
    """

    table: pd.DataFrame
    left_out: pd.DataFrame
    arithmetic: Mapping[str, float]
    gbytes: float
    by: str
    not_run: int
    above_roof: pd.DataFrame
    by_memory_alone: Mapping[str, float]
    executed: bool = True

    @property
    def gflops(self) -> float:
        """Ceiling of float32 arithmetic, GFLOP/s."""
        return self.arithmetic["float32"]

    @property
    def unexplained(self) -> pd.DataFrame:
        """The rows of ``above_roof`` that nothing explains: a cost, a time or a ceiling is wrong."""
        return self.above_roof[self.above_roof["explanation"] == "unexplained"]

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
            "costs": "executed" if self.executed else "as written",
            "gflops": self.gflops,
            "gflops_by_type": dict(self.arithmetic),
            "gbytes_per_second": self.gbytes,
            "ridge_flops_per_byte": self.gflops / self.gbytes,
            "total": total,
            "rows": rows.to_dict("records"),
            "left_out": self.left_out.to_dict("records"),
            "not_run": self.not_run,
            "by_memory_alone": dict(self.by_memory_alone),
            "above_roof": self.above_roof.to_dict("records"),
            "unexplained": len(self.unexplained),
        }


def computed_in(run: Run) -> tuple[str, ...]:
    """The number types in which the run multiplied, in alphabetical order; float32 where it does not say."""
    if "compute_type" not in run.nodes.columns:
        return ("float32",)
    multiplies = run.nodes["macs"] > 0
    return tuple(sorted({str(kind) for kind in run.nodes.loc[multiplies, "compute_type"] if kind}))


def roofline(run: Run, ceilings: Ceilings, by: str = "op") -> Roofline:
    """The roofline of a run by one grouping.

    Args:
        run: The run.
        ceilings: What its machine can do.
        by: One of :data:`~fathom_onnx.analysis.runs.time_groups.GROUPINGS`.

    Raises:
        UnknownNameError: No such grouping.
    """
    return rooflines(run, ceilings, (by,))[by]


def rooflines(run: Run, ceilings: Ceilings, by: Sequence[str]) -> dict[str, Roofline]:
    """The rooflines of a run by several groupings; the arguments are those of :func:`roofline`.

    Raises:
        UnknownNameError: No such grouping.
    """
    for grouping in by:
        if grouping not in GROUPING_COLUMNS:
            raise UnknownNameError("grouping", grouping, GROUPING_COLUMNS)
    executed = "flops" in run.nodes.columns
    attributed = run.attribution.loc[
        (run.attribution["kind"] == "attributed") & (run.attribution["us"] > 0), ["executed", "original", "us"]
    ]
    work = _under(_work(run, attributed) if executed else _work_as_written(run, attributed), ceilings)
    labels = run.originals[["name", "op_type", "phase", "layer", "op", "op_class"]]
    parts = attributed.merge(labels, left_on="original", right_on="name", validate="many_to_one")
    parts = parts.merge(work, on="executed", validate="many_to_one", suffixes=("", "_whole"))
    share = parts["us"] / parts["us_whole"]
    parts[["flops", "bytes", "compute", "memory"]] = parts[["flops", "bytes", "compute", "memory"]].mul(share, axis=0)
    known = parts[parts["why"] == ""]
    counted = work[work["why"] == ""]
    types = {kind: ceilings.arithmetic[kind] for kind in counted["compute_type"] if kind in ceilings.arithmetic}
    alone = counted[counted["alone"]].groupby("compute_type")["us"].sum()
    shared = {
        "left_out": _left_out(parts[parts["why"] != ""]),
        "arithmetic": {"float32": ceilings.gflops, **types},
        "gbytes": ceilings.gbytes,
        "not_run": len(run.originals) - int(parts["name"].nunique()),
        "above_roof": above_roof(run, counted, ceilings) if executed else pd.DataFrame(columns=ABOVE_COLUMNS),
        "by_memory_alone": {str(kind): float(us) for kind, us in alone.items()},
        "executed": executed,
    }
    return {grouping: Roofline(table=_table(known, grouping), by=grouping, **shared) for grouping in by}


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
    computing = known[known["flops"] > 0]
    of_type = computing.groupby([GROUPING_COLUMNS[by], "compute_type"])["us"].sum().reset_index()
    of_type = of_type.sort_values(["us", "compute_type"], ascending=[False, True])
    table["compute_type"] = of_type.groupby(GROUPING_COLUMNS[by])["compute_type"].agg(", ".join)
    table["compute_type"] = table["compute_type"].fillna("")
    named = table.rename_axis("name").reset_index()
    ordered = named.sort_values(["us", "name"], ascending=[False, True], ignore_index=True)
    return ordered[list(COLUMNS)]


def _work(run: Run, attributed: pd.DataFrame) -> pd.DataFrame:
    """The work of the executed nodes that took time: ``executed``, ``us``, ``macs``, ``flops``, ``bytes``, ``why``.

    ``why`` is the reason why the cost is not known, or empty.
    """
    us = attributed.groupby("executed")["us"].sum()
    nodes = run.nodes.loc[us.index]
    work = nodes[["macs", "flops", "compute_type"]].assign(us=us, bytes=nodes["bytes_read"] + nodes["bytes_written"])
    known = work[["flops", "bytes"]].notna().all(axis=1)
    reasons = np.where(nodes["cost_reason"] != "", nodes["cost_reason"], "its cost is not known")
    work["why"] = np.where(known, "", reasons)
    return work.rename_axis("executed").reset_index()


def _work_as_written(run: Run, attributed: pd.DataFrame) -> pd.DataFrame:
    """The same from the costs of the original nodes, for runs without costs of the executed ones."""
    columns = ["name", "macs", "flops", "bytes"]
    costs = run.originals.assign(bytes=run.originals["bytes_read"] + run.originals["bytes_written"])[columns]
    parts = attributed.merge(costs, left_on="original", right_on="name", validate="many_to_one")
    # the work of an original node that ran as several executed nodes is divided as its time
    part = parts["us"] / parts.groupby("name")["us"].transform("sum")
    parts[columns[1:]] = parts[columns[1:]].mul(part, axis=0)
    parts["why"] = np.select([parts["flops"].isna(), parts["bytes"].isna()], ["FLOPs not known", "bytes not known"], "")
    fused = parts.groupby("executed")
    work = fused[["us", "macs", "flops"]].sum()
    work["bytes"] = fused["bytes"].max()
    work["why"] = fused["why"].agg(lambda reasons: next((reason for reason in reasons if reason), ""))
    return work.assign(compute_type="float32").reset_index()


def _under(work: pd.DataFrame, ceilings: Ceilings) -> pd.DataFrame:
    """The work with its times at the ceilings: ``compute`` and ``memory``, each 0 where the other binds.

    ``compute_us`` and ``memory_us`` are both in full; ``alone`` is whether memory alone was looked at.
    """
    # GFLOP/s are 1e3 FLOPs a microsecond
    ceiling = work["compute_type"].map(ceilings.arithmetic).astype(float)
    computes = work["flops"] > 0
    lacking = computes & ceiling.isna()
    why = [
        f"no ceiling of {kind} was measured{reason}" if kind else "the number type it computes in is not known"
        for kind in work["compute_type"]
        for reason in [f": {ceilings.not_measured[kind]}" if kind in ceilings.not_measured else ""]
    ]
    multiplies = work["macs"].fillna(0) > 0
    work = work.assign(
        compute_us=(work["flops"] / (ceiling * 1e3)).where(computes & ceiling.notna(), 0.0),
        memory_us=work["bytes"] / (ceilings.gbytes * 1e3),
        alone=lacking & ~multiplies,
        why=work["why"].where((work["why"] != "") | ~(lacking & multiplies), pd.Series(why, work.index, dtype=object)),
    )
    by_compute = work["compute_us"] >= work["memory_us"]
    return work.assign(
        compute=work["compute_us"].where(by_compute, 0.0), memory=work["memory_us"].where(~by_compute, 0.0)
    )


def _left_out(parts: pd.DataFrame) -> pd.DataFrame:
    """The table of nodes without a known cost or ceiling, from their parts of executed nodes."""
    grouped = parts.groupby("name")
    table = grouped[["op_type", "why"]].first().assign(us=grouped["us"].sum()).reset_index()
    return table[list(LEFT_OUT_COLUMNS)].sort_values(["us", "name"], ascending=[False, True], ignore_index=True)
