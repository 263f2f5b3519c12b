"""Op mixes: how the time of a run, or the modelled cost of a graph, is distributed over the canonical ops.

An op mix has one row a step, and knows which steps were measured in one round, so that the variation between steps and
between rounds can be propagated into any statistic of it. A graph that did not run has one row: the modelled cost of
its nodes. Any other measurement by op (from a framework's own
profiler, say) becomes an :class:`OpMix` and can be compared in the same way.

The modelled cost of a node is that of a simple roofline: the larger of its FLOPs and of its bytes times
:data:`BALANCE`. It needs shapes only. A node whose FLOPs or bytes are unknown is counted and left out of the mix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.analysis.cost.node_costs import NodeCost, count_nodes
from fathom_onnx.analysis.runs.native_run import NativeRun
from fathom_onnx.analysis.runs.pooled import round_sizes
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.errors import RunError
from fathom_onnx.graph import Graph
from fathom_onnx.graph.labels import label_nodes
from fathom_onnx.vocabulary import OPS, OpClass

from .similarity import MixGrouping, RunLabel

__all__ = ["BALANCE", "OpMix", "modelled_cost", "native_op_mix", "run_op_mix", "structure", "structure_op_mix"]

BALANCE = 10.0
"""FLOPs that take as long as moving one byte: the order of a CPU core with its part of the memory's bandwidth."""

NODES_NAMED = 3
"""Number of nodes that an op mix names for each op, the largest first."""

Nodes = Mapping[str, tuple[tuple[str, float], ...]]


@dataclass(frozen=True)
class OpMix:
    """The op mix of one workload, from one framework, in one mode.

    Attributes:
        label: Workload, framework, mode.
        steps: One row a step, one column a canonical op; microseconds, or modelled cost in FLOPs.
        nodes: Op to its largest nodes and the share of the op's time that each has.
        unknown: Number of nodes left out because their cost is not known.
        rounds: Number of steps of each round, in the order of the rows; empty where all are of one.
        phases: One row a step, one column a phase; empty where it is not known.
    """

    label: RunLabel
    steps: pd.DataFrame
    nodes: Nodes = field(default_factory=dict)
    unknown: int = 0
    rounds: tuple[int, ...] = ()
    phases: pd.DataFrame = field(default_factory=pd.DataFrame)

    def amounts(self, grouping: MixGrouping) -> pd.DataFrame:
        """One row a step, one column an op, or a class (all of A to G)."""
        if grouping == "op":
            return self.steps
        classes = [str(OPS[op].op_class) for op in self.steps.columns]
        summed = self.steps.T.groupby(classes).sum().T
        return summed.reindex(columns=[str(c) for c in OpClass], fill_value=0.0)

    def in_rounds(self, grouping: MixGrouping) -> list[pd.DataFrame]:
        """The amounts of each round: one row a step, one column an op or class."""
        return self._apart(self.amounts(grouping))

    def phases_in_rounds(self) -> list[pd.DataFrame]:
        """The times of each round by phase; nothing where they are not known."""
        return self._apart(self.phases) if len(self.phases) else []

    def _apart(self, rows: pd.DataFrame) -> list[pd.DataFrame]:
        ends = np.cumsum(self.rounds or (len(rows),))
        return [rows.iloc[end - count : end] for end, count in zip(ends, self.rounds or ends, strict=True)]

    def shares(self, grouping: MixGrouping) -> pd.Series[float]:
        """The median over the steps of each op's (or class's) amount, as shares that sum to 1."""
        medians = self.amounts(grouping).median()
        return medians / medians.sum()


def _op_mix(
    label: RunLabel, steps: pd.DataFrame, nodes: Nodes, unknown: int = 0, rounds: tuple[int, ...] = ()
) -> OpMix:
    """An op mix of the ops that the vocabulary has.

    Raises:
        RunError: They have no time at all.
    """
    known = steps[[op for op in OPS if op in steps.columns]].astype(float)
    if not float(known.median().sum()) > 0:
        raise RunError(f"run {label} has no time in any op", "profile it again with more steps")
    return OpMix(label, known, nodes, unknown, rounds)


def run_op_mix(run: Run) -> OpMix:
    """The op mix of a run, a row a counted step.

    Raises:
        RunError: The run has no time in any op.
    """
    label = RunLabel.of(run.manifest)
    parts = run.attribution
    weighted = run.samples.astype(float)[:, parts["executed"].to_numpy(int)] * parts["weight"].to_numpy(float)
    steps = pd.DataFrame(weighted.T).groupby(parts["op"].to_numpy()).sum().T
    nodes = _largest(zip(parts["op"], parts["original"], parts["us"], strict=True))
    mix = _op_mix(label, steps, nodes, rounds=round_sizes(run.manifest))
    return replace(mix, phases=pd.DataFrame(weighted.T).groupby(parts["phase"].to_numpy()).sum().T)


def native_op_mix(run: NativeRun) -> OpMix:
    """The op mix of a native run, a row a counted step.

    Raises:
        RunError: The run has no time in any op.
    """
    m = run.manifest
    label = RunLabel(str(m["workload"]), str(m["framework"]), str(m["mode"]))
    steps = pd.DataFrame(run.samples.T).groupby(run.ops["op"].to_numpy()).sum().T
    places = [f"{row.phase}/{row.layer}/{row.framework_op}" for row in run.ops.itertuples()]
    nodes = _largest(zip(run.ops["op"], places, run.ops["us"], strict=True))
    return _op_mix(label, steps, nodes, rounds=round_sizes(m))


def _largest(rows: Iterable[tuple[str, str, float]]) -> Nodes:
    """Op to its largest nodes, from (op, node, amount)."""
    amounts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for op, node, amount in rows:
        amounts[op][node] += float(amount)
    return {
        op: tuple((node, of_op[node] / total) for node in sorted(of_op, key=lambda n: -of_op[n])[:NODES_NAMED])
        for op, of_op in amounts.items()
        if (total := sum(of_op.values())) > 0
    }


def modelled_cost(cost: NodeCost) -> float | None:
    """FLOPs, or bytes times :data:`BALANCE` where that is more; None where either is unknown."""
    if cost.flops is None or cost.bytes_moved is None:
        return None
    return max(float(cost.flops), BALANCE * cost.bytes_moved)


def structure(graph: Graph) -> dict[str, Any]:
    """Modelled cost of a graph by canonical op, without running it, as JSON can hold it.

    Returns:
        ``ops``: op to modelled cost; ``nodes``: op to its largest nodes and their share of the op; ``unknown``: how
        many nodes have no known cost. The graph is taken as written: what a runtime would fold or fuse counts. A node
        in a body counts as often as it runs in a step.
    """
    counted = count_nodes(graph)
    labels = label_nodes([row.entry for row in counted])
    costs = [modelled_cost(row.step) for row in counted]
    rows = [(label.op, label.name, cost) for label, cost in zip(labels, costs, strict=True) if cost is not None]
    ops: dict[str, float] = defaultdict(float)
    for op, _, cost in rows:
        ops[op] += cost
    largest = {op: [list(part) for part in parts] for op, parts in _largest(rows).items()}
    return {"ops": dict(ops), "nodes": largest, "unknown": sum(cost is None for cost in costs)}


def structure_op_mix(label: RunLabel, costs: Mapping[str, Any]) -> OpMix:
    """The result of :func:`structure` as an op mix of one row.

    Raises:
        RunError: No node has a known cost.
    """
    nodes = {op: tuple((str(name), float(share)) for name, share in parts) for op, parts in costs["nodes"].items()}
    return _op_mix(label, pd.DataFrame([costs["ops"]], dtype=float), nodes, int(costs["unknown"]))
