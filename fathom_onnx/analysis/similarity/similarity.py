"""How alike two runs spend their time, and whether the framework or the workload decides it.

A run's op mix is the vector of its time shares by op class (or by canonical op). The distance of two runs is the cosine
distance of their op mixes, ``1 - u.v / (|u| |v|)``, as in the paper's Figure 4 (Adolf et al., IISWC 2016): 0 for the
same mix whatever the total time, 1 where no class is shared.

Two runs are a *framework pair* when they are one workload in one mode from two frameworks, and a *workload pair* when
they are two workloads in one mode. The framework matters little when the members of every framework pair are nearer to
each other than those of any workload pair. Only runs of the same mode are compared: training differs from inference by
what it computes.

Every function takes the summaries of runs (plain dicts) or tables made from them, and reads no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from fathom_onnx.errors import RunError
from fathom_onnx.vocabulary import OPS, OpClass

__all__ = [
    "FrameworkEffect",
    "Gap",
    "MixGrouping",
    "RunLabel",
    "RunPair",
    "distances",
    "framework_effect",
    "share_table",
    "shares",
]

MixGrouping = Literal["class", "op"]
"""What an op mix is summed by: op class or canonical op."""

_ROWS = {"class": "by_class", "op": "by_op"}
_KNOWN = {"class": [str(c) for c in OpClass], "op": list(OPS)}


class RunLabel(NamedTuple):
    """Identifies a run: workload, framework that its graph came from, mode."""

    workload: str
    framework: str
    mode: str

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> RunLabel:
        """The label of a run's summary; a graph that is not ours goes by its own name."""
        workload = summary["workload"] or summary.get("graph", "graph")
        return cls(str(workload), str(summary["framework"] or "file"), str(summary["mode"] or "inference"))

    def __str__(self) -> str:
        return f"{self.workload} {self.mode} ({self.framework})"

    def other_framework_of(self, other: RunLabel) -> bool:
        """Whether both are one workload in one mode, from two frameworks."""
        return (self.workload, self.mode) == (other.workload, other.mode) and self.framework != other.framework

    def other_workload_of(self, other: RunLabel) -> bool:
        """Whether both are of one mode, and of different workloads."""
        return self.mode == other.mode and self.workload != other.workload


class Gap(NamedTuple):
    """The class or op whose share differs most between two runs; shares are 0 to 1."""

    name: str
    share_a: float
    share_b: float


@dataclass(frozen=True)
class RunPair:
    """Two runs, how far apart they are, and where they differ most."""

    a: RunLabel
    b: RunLabel
    distance: float
    gap: Gap

    def __str__(self) -> str:
        if self.a.other_framework_of(self.b):
            return f"{self.a.workload} {self.a.mode}: {self.a.framework} and {self.b.framework}"
        return f"{self.a.mode}: {self.a.workload} ({self.a.framework}) and {self.b.workload} ({self.b.framework})"


@dataclass(frozen=True)
class FrameworkEffect:
    """Distances within workloads against distances between them.

    Attributes:
        grouping: By op class or by op.
        framework_pairs: One workload and mode, two frameworks; the largest distance first.
        workload_pairs: One mode, two workloads; the smallest distance first.
        hits: Runs whose nearest run of their mode is the same workload from another framework.
        runs: Runs that are in a framework pair and in a workload pair, so that ``hits`` can count them.
    """

    grouping: MixGrouping
    framework_pairs: tuple[RunPair, ...]
    workload_pairs: tuple[RunPair, ...]
    hits: int
    runs: int

    @property
    def small(self) -> bool | None:
        """Whether every framework pair is nearer than every workload pair; None where one kind is missing."""
        if not self.framework_pairs or not self.workload_pairs:
            return None
        return self.framework_pairs[0].distance < self.workload_pairs[0].distance


def shares(summary: Mapping[str, Any], grouping: MixGrouping) -> pd.Series[float]:
    """A run's time by class or op, as shares of the time that has one.

    Time of ops that the vocabulary does not have is left out; the summary states it separately.

    Raises:
        RunError: No time at all has a class.
    """
    known = _KNOWN[grouping]
    us = {str(row["name"]): float(row["us"]) for row in summary[_ROWS[grouping]] if row["name"] in known}
    total = sum(us.values())
    if total <= 0:
        raise RunError(
            f"run {RunLabel.of(summary)} has no time in any op {grouping}", "profile it again with more steps"
        )
    series = pd.Series(us, dtype=float) / total
    return series.reindex([name for name in known if name in us or grouping == "class"], fill_value=0.0)


def share_table(summaries: Iterable[Mapping[str, Any]], grouping: MixGrouping) -> pd.DataFrame:
    """One row a run (index: workload, framework, mode), one column a class or op, shares that sum to 1.

    Raises:
        RunError: A run without time in any class, or two runs with one label.
    """
    rows = {}
    for summary in summaries:
        label = RunLabel.of(summary)
        if label in rows:
            raise RunError(f"two runs are both {label}", "compare one at a time")
        rows[label] = shares(summary, grouping)
    index = pd.MultiIndex.from_tuples(rows, names=RunLabel._fields) if rows else pd.MultiIndex.from_arrays([[], [], []])
    columns = [name for name in _KNOWN[grouping] if any(name in row.index for row in rows.values())]
    table = pd.DataFrame([row.reindex(columns, fill_value=0.0) for row in rows.values()], columns=columns)
    return table.set_axis(index, axis=0)


def distances(table: pd.DataFrame) -> pd.DataFrame:
    """Cosine distance of every two rows of :func:`share_table`, as a square table."""
    from scipy.spatial.distance import pdist, squareform

    if len(table) < 2:
        square = np.zeros((len(table), len(table)))
    else:
        # rounding makes equal rows differ by a few 1e-17, to either side of zero
        square = squareform(np.clip(pdist(table.to_numpy(), "cosine"), 0.0, 1.0), checks=False)
    return pd.DataFrame(square, index=table.index, columns=table.index)


def _pair(table: pd.DataFrame, square: pd.DataFrame, i: int, j: int) -> RunPair:
    a, b = table.iloc[i], table.iloc[j]
    name = str((a - b).abs().idxmax())
    labels = (RunLabel(*table.index[i]), RunLabel(*table.index[j]))
    return RunPair(*labels, float(square.iat[i, j]), Gap(name, float(a[name]), float(b[name])))


def _nearest_is_own_workload(labels: Sequence[RunLabel], square: pd.DataFrame) -> tuple[int, int]:
    """(hits, runs): how often the nearest run is the same workload from another framework, and of how many runs."""
    hits = runs = 0
    for i, label in enumerate(labels):
        own = [float(square.iat[i, j]) for j, other in enumerate(labels) if label.other_framework_of(other)]
        others = [float(square.iat[i, j]) for j, other in enumerate(labels) if label.other_workload_of(other)]
        if own and others:
            runs += 1
            hits += min(own) < min(others)
    return hits, runs


def framework_effect(summaries: Iterable[Mapping[str, Any]], grouping: MixGrouping) -> FrameworkEffect:
    """Compare the distances of framework pairs with those of workload pairs.

    Raises:
        RunError: A run without time in any class, or two runs with one label.
    """
    table = share_table(summaries, grouping)
    square = distances(table)
    labels = [RunLabel(*row) for row in table.index]
    framework_pairs, workload_pairs = [], []
    for i, j in combinations(range(len(labels)), 2):
        if labels[i].other_framework_of(labels[j]):
            framework_pairs.append(_pair(table, square, i, j))
        elif labels[i].other_workload_of(labels[j]):
            workload_pairs.append(_pair(table, square, i, j))
    hits, runs = _nearest_is_own_workload(labels, square)
    return FrameworkEffect(
        grouping=grouping,
        framework_pairs=tuple(sorted(framework_pairs, key=lambda p: -p.distance)),
        workload_pairs=tuple(sorted(workload_pairs, key=lambda p: p.distance)),
        hits=hits,
        runs=runs,
    )
