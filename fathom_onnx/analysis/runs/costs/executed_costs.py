"""Costs of the executed nodes: what ran, with the types and shapes of the run.

A node of the optimized model is counted by the same formulas as a node of a graph. Its shapes are those that the trace
lists; a weight's are the model's, because a packed weight is in no trace. A node whose shapes differ between its
executions is counted form by form.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.analysis.cost.formulas import BODIES
from fathom_onnx.analysis.cost.node_costs import NodeCost, node_cost
from fathom_onnx.graph import Tensor
from fathom_onnx.graph.bodies import NumberedNode, bodies
from fathom_onnx.graph.static.values import Values, constants_of
from fathom_onnx.graph.tensors import initializer_tensor, tensors_of
from fathom_onnx.runtime.optimized import executed_name
from fathom_onnx.runtime.traces.shapes import NodeShapes, TensorShape

from .compute_types import compute_type

__all__ = [
    "AMOUNTS",
    "COST_COLUMNS",
    "ExecutedTensors",
    "Ran",
    "aligned",
    "executed_tensors",
    "what_ran",
    "with_originals",
]

AMOUNTS = ("macs", "flops", "bytes_read", "bytes_written")
"""What a cost is made of."""

COST_COLUMNS = (*AMOUNTS, "compute_type", "cost_reason")
"""Columns of ``nodes.csv`` that hold the costs of the executed nodes in a step."""

_BLOCKED = "com.microsoft.nchwc"
"""Domain of the nodes that run on channels padded to whole blocks."""


@dataclass(frozen=True)
class ExecutedTensors:
    """The tensors of an optimized model as a run showed them.

    Attributes:
        around: Number of an executed node to what is known where it stands: tensors, weights and constants.
        plain: Tensors by name, without those in a blocked layout and without names that mean several things.
    """

    around: Mapping[int, tuple[dict[str, Tensor], dict[str, Tensor], Values]]
    plain: Mapping[str, Tensor]


@dataclass(frozen=True)
class Ran:
    """What a run tells of its work.

    Attributes:
        tensors: Its tensors by name: without those in a blocked layout and names that mean several things.
        costs: One row per executed node (:data:`COST_COLUMNS`), in the order of the node table.
    """

    tensors: Mapping[str, Tensor]
    costs: pd.DataFrame


def aligned(
    names: Sequence[str], listed: Sequence[TensorShape], weights: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    """The tensors of a node's inputs or outputs by name, from what the trace lists of them.

    Args:
        names: The node's inputs or outputs in order; an empty name stands for one that is left out.
        listed: What the trace lists.
        weights: Initializers: they may be left out of the list.

    Returns:
        None where names and list do not fit, as where a sequence is among them.
    """
    given = [name for name in names if name]
    if len(given) > len(listed):
        missing = len(given) - len(listed)
        if missing == sum(name in weights for name in given):
            given = [name for name in given if name not in weights]
        else:
            given = _without_packed(given, listed, weights)
    if len(given) != len(listed):
        return None
    return {name: Tensor(name, one.shape, one.dtype) for name, one in zip(given, listed, strict=True)}


def _without_packed(names: Sequence[str], listed: Sequence[TensorShape], weights: Mapping[str, Tensor]) -> list[str]:
    """The names without the weights that the list passes over: those whose type and shape do not stand there."""
    kept: list[str] = []
    for name in names:
        weight = weights.get(name)
        next_one = listed[len(kept)] if len(kept) < len(listed) else None
        if weight is None or (next_one is not None and (weight.dtype, weight.shape) == next_one):
            kept.append(name)
    return kept


def what_ran(
    attribution: Attribution,
    graph: onnx.GraphProto,
    shapes: Mapping[str, NodeShapes],
    rows: Sequence[tuple[int, int | None]],
    nodes: pd.DataFrame,
) -> Ran:
    """The work of a run.

    Args:
        attribution: The attribution of the executed nodes.
        graph: The graph of the optimized model.
        shapes: The recorded shapes, by the name of a node in the trace.
        rows: From :func:`~fathom_onnx.analysis.runs.tables.rows_in_order`.
        nodes: The run's node table, without costs.
    """
    known = executed_tensors(attribution.executed, graph, shapes)
    return Ran(known.plain, _executed_costs(attribution.executed, known, shapes, rows, nodes))


def executed_tensors(
    executed: Sequence[NumberedNode], graph: onnx.GraphProto, shapes: Mapping[str, NodeShapes]
) -> ExecutedTensors:
    """The tensors of an optimized model, at each of its nodes.

    Args:
        executed: Its nodes by number.
        graph: Its graph.
        shapes: The recorded shapes, by the name of a node in the trace.
    """
    inside: dict[tuple[int | None, str], list[NumberedNode]] = defaultdict(list)
    for entry in executed:
        inside[entry.parent, entry.body].append(entry)
    around: dict[int, tuple[dict[str, Tensor], dict[str, Tensor], Values]] = {}
    plain: dict[str, Tensor | None] = {}

    def walk(
        part: onnx.GraphProto,
        place: tuple[int | None, str],
        outer: tuple[dict[str, Tensor], dict[str, Tensor], Values],
    ) -> None:
        weights = {**outer[1], **{t.name: initializer_tensor(t) for t in part.initializer}}
        values = {**outer[2], **constants_of(part)}
        tensors = {**outer[0], **tensors_of(part)}
        for entry in inside[place]:
            recorded = shapes.get(executed_name(entry.index))
            if recorded is None:
                continue
            usual = recorded.forms[int(recorded.calls.sum(axis=0).argmax())]
            taken = aligned(entry.node.input, usual.inputs, weights) or {}
            given = aligned(entry.node.output, usual.outputs, {}) or {}
            tensors.update((name, tensor) for name, tensor in taken.items() if name not in weights)
            tensors.update(given)
            if entry.node.domain != _BLOCKED or entry.node.op_type == "ReorderOutput":
                for name, tensor in given.items():
                    plain[name] = tensor if plain.get(name, tensor) == tensor else None
        for entry in inside[place]:
            around[entry.index] = tensors, weights, values
            for name, body in bodies(entry.node):
                walk(body, (entry.index, name), (tensors, weights, values))

    walk(graph, (None, ""), ({}, {}, {}))
    return ExecutedTensors(around, {name: tensor for name, tensor in plain.items() if tensor is not None})


def _executed_costs(
    executed: Sequence[NumberedNode],
    known: ExecutedTensors,
    shapes: Mapping[str, NodeShapes],
    rows: Sequence[tuple[int, int | None]],
    nodes: pd.DataFrame,
) -> pd.DataFrame:
    """The cost of each executed node in a step (:data:`COST_COLUMNS`), in the order of the node table; NaN is unknown.

    Args:
        executed: The executed nodes by number.
        known: From :func:`executed_tensors`.
        shapes: The recorded shapes, by the name of a node in the trace.
        rows: From :func:`~fathom_onnx.analysis.runs.tables.rows_in_order`.
        nodes: The run's node table, without costs.
    """
    records = []
    for (_, index), calls, provider in zip(rows, nodes["calls"], nodes["provider"], strict=True):
        if index is None:
            records.append({"compute_type": "", "cost_reason": "inserted when the session was built"})
            continue
        node = executed[index].node
        tensors, weights, values = known.around[index]
        recorded = shapes.get(executed_name(index))
        forms: list[Mapping[str, Tensor]] = []
        if recorded is None:
            forms, counts = [tensors], np.array([[calls]])
        else:
            counts = recorded.calls
            for form in recorded.forms:
                taken = aligned(node.input, form.inputs, weights) or {}
                given = aligned(node.output, form.outputs, {}) or {}
                forms.append(_seen(node, weights, given, taken, tensors))
        # what a control-flow node does is run its bodies, whose nodes have rows of their own
        runs_bodies = node.op_type in BODIES and node.domain in ("", "ai.onnx")
        costs = [NodeCost(0, 0, 0, 0) if runs_bodies else node_cost(node, of_form, values) for of_form in forms]
        each = np.array([[np.nan if (v := getattr(c, name)) is None else v for name in AMOUNTS] for c in costs])
        amounts = _median(counts @ each)
        records.append(
            {
                **dict(zip(AMOUNTS, amounts.tolist(), strict=True)),
                "compute_type": compute_type(node, forms[0], provider),
                "cost_reason": next((cost.reason for cost in costs if cost.reason), ""),
            }
        )
    return pd.DataFrame(records, columns=list(COST_COLUMNS))


def _median(amounts: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The medians of the columns; most are the same in all steps, which are told in less time."""
    same = (amounts == amounts[0]).all()
    return amounts[0].astype(float) if same else np.asarray(np.median(amounts, axis=0))


def _seen(node: onnx.NodeProto, *sources: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a node's own names mean: of several sources, what the first says that knows them."""
    names = [*node.input, *node.output]
    return {name: source[name] for source in reversed(sources) for name in names if name in source}


def with_originals(
    costs: pd.DataFrame,
    attribution: Attribution,
    rows: Sequence[tuple[int, int | None]],
    originals: pd.DataFrame,
    median_us: Sequence[float],
) -> pd.DataFrame:
    """The costs with the arithmetic of the original nodes where the executed node's own is not known or is padded.

    A node in a blocked layout computes on padded channels as well, which is work that nobody asked for. Twins that were
    merged into one executed node count once. An original that ran as several divides its work as its time.

    Args:
        costs: From :func:`what_ran`.
        attribution: The attribution of the executed nodes.
        rows: From :func:`~fathom_onnx.analysis.runs.tables.rows_in_order`.
        originals: The run's table of original nodes.
        median_us: Time of each row.
    """
    whole: dict[int, float] = defaultdict(float)
    parts: dict[int, int] = defaultdict(int)
    for us, (_, index) in zip(median_us, rows, strict=True):
        if index is not None and attribution.nodes[index].kind == "attributed":
            for share in attribution.nodes[index].shares:
                whole[share.original] += us * share.weight
                parts[share.original] += 1
    completed = costs.copy()
    amounts, own_flops = originals[["macs", "flops"]].to_numpy(float), costs["flops"].to_numpy(float)
    for row, (us, (_, index)) in enumerate(zip(median_us, rows, strict=True)):
        if index is None or attribution.nodes[index].kind != "attributed":
            continue
        blocked = attribution.executed[index].node.domain == _BLOCKED
        if not blocked and not np.isnan(own_flops[row]):
            continue
        shares = {attribution.twins.get(s.original, s.original): s for s in attribution.nodes[index].shares}
        total = np.zeros(2)
        for original, share in shares.items():
            time = whole[share.original]
            total += amounts[original] * (us * share.weight / time if time else 1 / parts[share.original])
        if not np.isnan(total[1]):
            completed.loc[row, ["macs", "flops"]] = total
            known = not costs.loc[row, ["bytes_read", "bytes_written"]].isna().any()
            completed.loc[row, "cost_reason"] = "" if known else costs.at[row, "cost_reason"]
    return completed
