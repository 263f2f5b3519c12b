"""The workloads nearest to a graph: the distance to each, the ops that differ, and the cluster that the graph joins.

A profiled graph is one more leaf of the paper's Figure 4: the cosine distance of its op mix to that of every workload
of the same framework and mode, and the tree that centroid linkage makes of them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fathom_onnx.errors import RunError
from fathom_onnx.vocabulary import OPS, OpClass

from .clusters import Merge, centroid_linkage
from .op_mix import OpMix
from .similarity import Gap, MixGrouping, distances

__all__ = ["NearestWorkloads", "Neighbour", "nearest_workloads"]

GAPS = 3
"""Number of differences that are reported for each workload."""

_LEAST = 0.01
"""Smallest difference of shares that is reported."""


@dataclass(frozen=True)
class Neighbour:
    """A workload of the suite, its distance, and where the two differ most (the graph's share first)."""

    workload: str
    distance: float
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class NearestWorkloads:
    """The workloads of a suite by their distance from a graph.

    Attributes:
        name: The graph's name in the tree.
        grouping: By op class or by op.
        mode: Mode of the suite's runs.
        framework: The framework that the suite's graphs came from.
        neighbours: Every workload, the nearest first.
        shares: The graph's own shares by class or op, the largest first.
        leaves: The tree's leaves: the workloads, then the graph.
        merges: The tree.
    """

    name: str
    grouping: MixGrouping
    mode: str
    framework: str
    neighbours: tuple[Neighbour, ...]
    shares: tuple[tuple[str, float], ...]
    leaves: tuple[str, ...]
    merges: tuple[Merge, ...]

    @property
    def joins(self) -> Merge:
        """The merge in which the graph joins the tree; its ``left`` or ``right`` is the graph alone."""
        return next(merge for merge in self.merges if (self.name,) in (merge.left, merge.right))

    @property
    def companions(self) -> tuple[str, ...]:
        """The workloads that the graph joins."""
        merge = self.joins
        return merge.right if merge.left == (self.name,) else merge.left

    def json(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "name": self.name,
            "level": self.grouping,
            "mode": self.mode,
            "framework": self.framework,
            "shares": dict(self.shares),
            "neighbours": [
                {"workload": n.workload, "distance": n.distance, "differ": [gap._asdict() for gap in n.gaps]}
                for n in self.neighbours
            ],
            "joins": {"workloads": list(self.companions), "distance": self.joins.distance},
            "merges": [{"left": m.left, "right": m.right, "distance": m.distance} for m in self.merges],
        }


def _gaps(graph_shares: pd.Series[float], workload_shares: pd.Series[float]) -> tuple[Gap, ...]:
    sizes = (graph_shares - workload_shares).abs().sort_values(ascending=False, kind="stable")
    named = [str(name) for name, size in sizes.items() if size >= _LEAST][:GAPS]
    return tuple(Gap(name, float(graph_shares[name]), float(workload_shares[name])) for name in named)


def nearest_workloads(graph: OpMix, suite: Sequence[OpMix], grouping: MixGrouping = "op") -> NearestWorkloads:
    """Order the workloads of a suite by the distance of their op mixes from a graph's.

    Args:
        graph: The op mix of the graph.
        suite: Op mixes of different workloads, all of one framework and mode.
        grouping: By op class or by op.

    Raises:
        RunError: The suite is empty, mixes frameworks or modes, or has a workload twice.
    """
    kinds = {(p.label.framework, p.label.mode) for p in suite}
    names = [p.label.workload for p in suite]
    if len(kinds) != 1 or len(set(names)) != len(names):
        raise RunError("a graph is placed among runs of one framework and mode, one of each workload")
    ((framework, mode),) = kinds
    name = graph.label.workload
    while name in names:
        name = f"{name} (this graph)"
    rows = {**{p.label.workload: p.shares(grouping) for p in suite}, name: graph.shares(grouping)}
    known = [str(c) for c in OpClass] if grouping == "class" else list(OPS)
    table = pd.DataFrame.from_dict(rows, orient="index").fillna(0.0)
    table = table[[column for column in known if column in table.columns]]
    square = distances(table)
    graph_shares = table.loc[name]
    neighbours = [Neighbour(w, float(square.loc[name, w]), _gaps(graph_shares, table.loc[w])) for w in names]
    shares = [(str(op), float(share)) for op, share in graph_shares.items() if share > 0]
    return NearestWorkloads(
        name=name,
        grouping=grouping,
        mode=mode,
        framework=framework,
        neighbours=tuple(sorted(neighbours, key=lambda n: n.distance)),
        shares=tuple(sorted(shares, key=lambda pair: -pair[1])),
        leaves=(*names, name),
        merges=centroid_linkage(table),
    )
