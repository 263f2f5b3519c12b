"""The table of a run's original nodes: time, cost and state of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.analysis.attribution.attribution import PART_OF_A_BODY, Attribution
from fathom_onnx.analysis.cost.node_costs import NodeCost, count_nodes
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import bodies
from fathom_onnx.graph.labels import Label
from fathom_onnx.graph.parameters import parameters_by_node

from .costs.executed_costs import AMOUNTS, Ran
from .costs.recorded_shapes import with_recorded_shapes
from .tables import ORIGINAL_COLUMNS

__all__ = ["original_table"]


def _executions(attribution: Attribution, calls: dict[int, float]) -> dict[tuple[int | None, str], float]:
    """(Control-flow node, body) of the original graph to its executions per step, where executed nodes show them."""
    executions: dict[tuple[int | None, str], float] = defaultdict(float)
    for node in attribution.nodes:
        # a node that is not in the trace is in a branch that was not taken
        count = calls.get(node.executed, 0.0)
        entry = attribution.executed[node.executed]
        if entry.parent is not None:
            for share in attribution.nodes[entry.parent].shares:
                if entry.body in dict(bodies(attribution.originals[share.original].node)):
                    place = share.original, entry.body
                    executions[place] = max(executions[place], count)
        for share in node.shares if node.kind == "attributed" and node.reason != PART_OF_A_BODY else ():
            original = attribution.originals[share.original]
            executions[original.parent, original.body] = max(executions[original.parent, original.body], count)
    return executions


def _as_they_are(attribution: Attribution, rows: Sequence[tuple[int, int | None]]) -> dict[int, int]:
    """Original node to the row of the executed node that stands for it alone (or for it and its twins) and is its like.

    An original node that runs as several is left out.
    """
    uses = Counter(share.original for node in attribution.nodes for share in node.shares if node.kind == "attributed")
    found = {}
    for row, (_, index) in enumerate(rows):
        if index is None or attribution.nodes[index].kind != "attributed":
            continue
        shares = attribution.nodes[index].shares
        if len({attribution.twins.get(share.original, share.original) for share in shares}) != 1:
            continue
        executed = attribution.executed[index].node
        for share in shares:
            original = attribution.originals[share.original].node
            if uses[share.original] == 1 and (original.op_type, original.domain) == (executed.op_type, executed.domain):
                found[share.original] = row
    return found


def _amounts(cost: NodeCost | None, times: float) -> dict[str, float]:
    """A cost times the executions of a step; NaN where it is not known."""
    once = {name: getattr(cost, name, None) for name in AMOUNTS}
    return {name: np.nan if value is None else value * times for name, value in once.items()}


def original_table(
    attribution: Attribution,
    nodes: pd.DataFrame,
    rows: Sequence[tuple[int, int | None]],
    labels: Sequence[Label],
    graph: Graph | None,
    ran: Ran | None = None,
) -> pd.DataFrame:
    """One row per original node (:data:`ORIGINAL_COLUMNS`), bodies included, in the graph's order.

    ``us`` is the time attributed to the node: its shares of executed nodes, without movement charged to it. Costs are
    per step (in a body: per execution, times the body's executions per step) and NaN where unknown. Where the graph
    alone does not say what a node costs, the run does: the executed node, where it stands for this one as it is, or the
    shapes of the run. ``parameters`` is
    the number of elements of the weights that this node is the first to use. ``state`` is ``ran``, ``folded`` or
    ``merged`` (see :data:`~fathom_onnx.analysis.attribution.NodeState`); a node in a branch that no step took
    ran 0 times.

    Args:
        attribution: The attribution of the executed nodes.
        nodes: The run's node table.
        rows: From :func:`~fathom_onnx.analysis.runs.tables.rows_in_order`.
        labels: Labels of the original nodes.
        graph: The original graph; without it costs and parameters are NaN.
        ran: What the run knew of shapes; None where they were not recorded.
    """
    us: dict[int, float] = defaultdict(float)
    calls: dict[int, float] = {}
    for (_, index), median, count in zip(rows, nodes["median_us"], nodes["calls"], strict=True):
        if index is None:
            continue
        calls[index] = float(count)
        if attribution.nodes[index].kind != "attributed":
            continue
        for share in attribution.nodes[index].shares:
            us[share.original] += float(median) * share.weight
    executions = _executions(attribution, calls)
    costs: Sequence[NodeCost | None] = [row.cost for row in count_nodes(graph)] if graph else [None] * len(labels)
    recorded, as_it_is = costs, {}
    if graph and ran is not None and any(cost is not None and cost.reason for cost in costs):
        recorded = [row.cost for row in count_nodes(with_recorded_shapes(graph, ran.tensors))]
        as_it_is = _as_they_are(attribution, rows)
    parameters = parameters_by_node(graph) if graph else {}
    records: list[dict[str, Any]] = []
    for entry, label, cost, of_run in zip(attribution.originals, labels, costs, recorded, strict=True):
        times = 1.0 if entry.parent is None else executions.get((entry.parent, entry.body), np.nan)
        row = as_it_is.get(entry.index)
        executed = [] if row is None or ran is None else [ran.costs.loc[row, list(AMOUNTS)].to_dict()]
        sources = [_amounts(cost, times), *executed, _amounts(of_run, times)]
        records.append(
            {
                "name": label.name,
                "op_type": entry.node.op_type,
                "phase": label.phase,
                "layer": label.layer,
                "op": label.op,
                "op_class": label.op_class,
                "us": us.get(entry.index, 0.0),
                **{name: next((s[name] for s in sources if not np.isnan(s[name])), np.nan) for name in AMOUNTS},
                "parameters": parameters.get(entry.index, 0) if graph else np.nan,
                "state": attribution.state_of(entry.index),
            }
        )
    return pd.DataFrame(records, columns=list(ORIGINAL_COLUMNS))
