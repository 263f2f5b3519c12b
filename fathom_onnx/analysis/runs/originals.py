"""The table of a run's original nodes: time, cost and state of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.analysis.cost.node_costs import count_nodes
from fathom_onnx.graph import Graph
from fathom_onnx.graph.labels import Label
from fathom_onnx.graph.parameters import parameters_by_node

from .tables import ORIGINAL_COLUMNS

__all__ = ["original_table"]


def _executions(attribution: Attribution, calls: dict[int, float]) -> dict[tuple[int | None, str], float]:
    """(Control-flow node, body) of the original graph to its executions per step, where executed nodes show them."""
    executions: dict[tuple[int | None, str], float] = defaultdict(float)
    for node in attribution.nodes:
        for share in node.shares if node.kind == "attributed" else ():
            original = attribution.originals[share.original]
            body = original.parent, original.body
            # a node that is not in the trace is in a branch that was not taken
            executions[body] = max(executions[body], calls.get(node.executed, 0.0))
    return executions


def original_table(
    attribution: Attribution,
    nodes: pd.DataFrame,
    rows: Sequence[tuple[int, int | None]],
    labels: Sequence[Label],
    graph: Graph | None,
) -> pd.DataFrame:
    """One row per original node (:data:`ORIGINAL_COLUMNS`), bodies included, in the graph's order.

    ``us`` is the time attributed to the node: its shares of executed nodes, without movement charged to it. Costs are
    per step (in a body: per execution, times the body's executions per step) and NaN where unknown. ``parameters`` is
    the number of elements of the weights that this node is the first to use. ``state`` is ``ran``, ``folded`` or
    ``merged`` (see :data:`~fathom_onnx.analysis.attribution.NodeState`); a node in a branch that no step took
    ran 0 times.

    Args:
        attribution: The attribution of the executed nodes.
        nodes: The run's node table.
        rows: From :func:`~fathom_onnx.analysis.runs.tables.rows_in_order`.
        labels: Labels of the original nodes.
        graph: The original graph; without it costs and parameters are NaN.
    """
    us: dict[int, float] = defaultdict(float)
    calls: dict[int, float] = {}
    for (_, index), median, count in zip(rows, nodes["median_us"], nodes["calls"], strict=True):
        if index is None or attribution.nodes[index].kind != "attributed":
            continue
        calls[index] = float(count)
        for share in attribution.nodes[index].shares:
            us[share.original] += float(median) * share.weight
    executions = _executions(attribution, calls)
    costs = [row.cost for row in count_nodes(graph)] if graph else [None] * len(labels)
    parameters = parameters_by_node(graph) if graph else {}
    records: list[dict[str, Any]] = []
    for entry, label, cost in zip(attribution.originals, labels, costs, strict=True):
        times = 1.0 if entry.parent is None else executions.get((entry.parent, entry.body), np.nan)
        costs_once = {name: getattr(cost, name, None) for name in ("macs", "flops", "bytes_read", "bytes_written")}
        records.append(
            {
                "name": label.name,
                "op_type": entry.node.op_type,
                "phase": label.phase,
                "layer": label.layer,
                "op": label.op,
                "op_class": label.op_class,
                "us": us.get(entry.index, 0.0),
                **{name: np.nan if value is None else value * times for name, value in costs_once.items()},
                "parameters": parameters.get(entry.index, 0) if graph else np.nan,
                "state": attribution.state_of(entry.index),
            }
        )
    return pd.DataFrame(records, columns=list(ORIGINAL_COLUMNS))
