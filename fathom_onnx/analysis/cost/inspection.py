"""Inspection of a graph: its contents and costs from nodes and shapes alone, without running it or reading weights.

Costs are of one step, those of a body times its executions. A sum is unknown where a part of it is; the sum of what is
known and the number of nodes that lack the cost stand beside it. The conventions are in ``docs/reference/cost.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import pandas as pd

from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import Body, bodies, constants_in
from fathom_onnx.graph.definition import macs_by_definition
from fathom_onnx.graph.dimensions import open_dimensions
from fathom_onnx.graph.labels import label_nodes
from fathom_onnx.graph.op_types import UNLISTED
from fathom_onnx.graph.parameters import parameters_by_node

from .liveness import Liveness, liveness
from .node_costs import Counted, count_nodes, total_cost, whole_costs

__all__ = ["GROUPS", "GROUP_COLUMNS", "NODE_COLUMNS", "SCHEMA", "Inspection", "inspect"]

SCHEMA = "fathom-onnx/inspect/1"
"""Name and version of the JSON schema."""

NODE_COLUMNS = (
    "name",
    "op_type",
    "domain",
    "phase",
    "layer",
    "op",
    "op_class",
    "depth",
    "executions",
    "macs",
    "macs_by_definition",
    "flops",
    "bytes_read",
    "bytes_written",
    "parameters",
    "reason",
)
"""Columns of the table of nodes, in order."""

_AMOUNTS = ("macs", "flops", "bytes")

GROUP_COLUMNS = (
    "name",
    "nodes",
    *_AMOUNTS,
    "parameters",
    "intensity",
    "unknown",
    *(f"known_{amount}" for amount in _AMOUNTS),
    *(f"unknown_{amount}" for amount in _AMOUNTS),
    "macs_by_definition",
)
"""Columns of a table of groups, in order."""

GROUPS: dict[str, str] = {"phase": "phase", "class": "op_class", "op": "op", "layer": "layer", "node": "name"}
"""What costs are summed by, to the column of the node table."""

_SHOWN = 20
"""Names of one kind that a summary lists; the rest is a number."""


@dataclass(frozen=True)
class Inspection:
    """What is known of a graph without running it.

    Attributes:
        graph: The graph.
        nodes: One row a node, bodies included, in the graph's order (:data:`NODE_COLUMNS`). Costs are of one step, NaN
            where unknown; ``executions`` is how often it runs in a step; ``parameters`` are the elements of the weights
            that it is the first to use; ``reason`` says why something is unknown. ``macs_by_definition`` differs from
            ``macs`` where the node states it (:mod:`fathom_onnx.graph.definition`).
        counted: The nodes with their costs of one execution, in the same order.
        memory: The life of the tensors.
    """

    graph: Graph
    nodes: pd.DataFrame
    counted: tuple[Counted, ...]
    memory: Liveness

    def by(self, group: str) -> pd.DataFrame:
        """Costs summed by phase, class, op, layer or node (:data:`GROUP_COLUMNS`), in the order of first appearance.

        ``bytes`` are those read and written. ``macs``, ``flops`` and ``bytes`` are NaN where a node of the group lacks
        that cost, and ``macs_by_definition`` where ``macs`` is; ``known_macs`` (and so on) is the sum over the nodes
        that have it, ``unknown_macs`` the number of those that do not. ``unknown`` is the number of nodes that lack any
        of the three. ``intensity`` is FLOPs a byte over the nodes that have both.
        """
        return _sums(self.nodes, GROUPS[group])

    @cached_property
    def totals(self) -> dict[str, Any]:
        """The sums over all nodes, under the names of :data:`GROUP_COLUMNS`.

        ``macs``, ``flops`` and ``bytes`` may be known though nodes lack them: what the branches of an ``If`` have in
        common is known of the whole, though not of the nodes in the branches.
        """
        row: dict[str, Any] = _sums(self.nodes.assign(all="all"), "all").iloc[0].to_dict()
        whole = total_cost(whole_costs(self.counted))
        for amount, known in (("macs", whole.macs), ("flops", whole.flops), ("bytes", whole.bytes_moved)):
            if known is not None:
                row[amount] = float(known)
        if not self.nodes["macs_by_definition"].lt(self.nodes["macs"]).any():
            row["macs_by_definition"] = row["macs"]
        return {name: value for name, value in row.items() if name != "name"}

    @cached_property
    def dynamic(self) -> list[dict[str, Any]]:
        """Input dimensions without a value: what to call each with ``--dim``, its input and its axis."""
        return [
            {"dim": dimension.label, "input": dimension.input, "axis": dimension.axis}
            for dimension in open_dimensions(self.graph.model.graph)
        ]

    @property
    def unlisted(self) -> dict[str, int]:
        """Ops that are in no table and not functions of the model, by name, with the number of their nodes."""
        own = {f"{f.domain}::{f.name}" for f in self.graph.model.functions}
        rows = self.nodes[(self.nodes["op_class"] == UNLISTED) & ~self.nodes["op"].isin(own)]
        return {str(op): int(nodes) for op, nodes in rows["op"].value_counts(sort=False).items()}

    @property
    def unknown_costs(self) -> list[dict[str, Any]]:
        """Reasons why nodes have no cost: reason, number of nodes, the first of them; the most frequent first."""
        rows = self.nodes[self.nodes["reason"] != ""]
        grouped = rows.groupby("reason", sort=False)["name"].agg(["size", "first"])
        ordered = grouped.sort_values("size", ascending=False, kind="stable")
        return [{"reason": r, "nodes": int(row["size"]), "first": row["first"]} for r, row in ordered.iterrows()]

    @property
    def unknown_shapes(self) -> tuple[str, ...]:
        """Tensors between nodes whose size is not known, in the order in which they are produced."""
        return self.memory.unknown

    @property
    def control_flow(self) -> list[dict[str, Any]]:
        """The bodies: the node they belong to, their nodes, and how often they run in a step."""
        names = list(self.nodes["name"])
        unknown_rows = []
        for row in self.counted:
            for body, part in bodies(row.entry.node):
                inner = [c for c in self.counted if c.entry.parent == row.entry.index and c.entry.body == body]
                unknown_rows.append(
                    {
                        "node": names[row.entry.index],
                        "op_type": row.entry.node.op_type,
                        "body": body,
                        "nodes": len(part.node),
                        "executions": inner[0].executions if inner else None,
                        "why": inner[0].why if inner else "",
                    }
                )
        return unknown_rows

    @property
    def functions(self) -> list[dict[str, Any]]:
        """The model's own functions: name, their nodes, and how many nodes call them."""
        calls = list(zip(self.nodes["domain"], self.nodes["op_type"], strict=True))
        return [
            {"name": f"{f.domain}::{f.name}", "nodes": len(f.node), "calls": calls.count((f.domain, f.name))}
            for f in self.graph.model.functions
        ]

    def summary(self) -> dict[str, Any]:
        """All of it as one JSON object of schema :data:`SCHEMA`; unknown numbers are null."""
        model, memory = self.graph.model, self.memory
        metadata = self.graph.metadata
        return {
            "schema": SCHEMA,
            "graph": self.graph.name,
            "graph_sha256": self.graph.sha256,
            "workload": metadata.workload if metadata else None,
            "mode": metadata.mode if metadata else None,
            "framework": metadata.framework if metadata else None,
            "preset": metadata.preset if metadata else None,
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
            "ir_version": model.ir_version,
            "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
            "inputs": [_interface(value) for value in model.graph.input if value.name not in self.graph.initializers],
            "outputs": [_interface(value) for value in model.graph.output],
            "initializers": len(constants_in(model.graph)),
            "totals": _plain(self.totals),
            **{f"by_{group}": [_plain(r) for r in self.by(group).to_dict("records")] for group in GROUPS},
            "memory": {
                "peak_bytes": memory.peak_bytes,
                "peak_node": memory.peak_node,
                "parameters_bytes": memory.parameters_bytes,
                "state_bytes": memory.state_bytes,
                "next_state_bytes": memory.next_state_bytes,
                "kept_bytes": memory.kept_bytes,
                "largest": [{"tensor": t.name, "bytes": t.size_bytes, "layer": t.layer} for t in memory.largest],
                "complete": not memory.unknown,
            },
            "control_flow": self.control_flow,
            "functions": self.functions,
            "not_understood": {
                "unlisted_ops": self.unlisted,
                "unknown_costs": self.unknown_costs,
                "unknown_shapes": {
                    "tensors": len(self.unknown_shapes),
                    "first": list(self.unknown_shapes[:_SHOWN]),
                },
                "dynamic_dimensions": self.dynamic,
            },
        }


def _sums(nodes: pd.DataFrame, column: str) -> pd.DataFrame:
    """Costs summed by a column of the table of nodes (:data:`GROUP_COLUMNS`), in the order of first appearance."""
    moved = nodes["bytes_read"] + nodes["bytes_written"]
    both = nodes["flops"].notna() & moved.notna()
    table = nodes.assign(bytes=moved, both_flops=nodes["flops"].where(both), both_bytes=moved.where(both))
    lacking = table[list(_AMOUNTS)].isna()
    table["unknown"] = lacking.any(axis=1)
    for amount in _AMOUNTS:
        table[f"known_{amount}"], table[f"unknown_{amount}"] = table[amount], lacking[amount]
    counted = ["parameters", "unknown", *(f"unknown_{amount}" for amount in _AMOUNTS)]
    known = [*(f"known_{amount}" for amount in _AMOUNTS), "macs_by_definition"]
    grouped = table.groupby(column, sort=False)
    sums = grouped[[*counted, *known, "both_flops", "both_bytes"]].sum()
    for amount in _AMOUNTS:
        sums[amount] = sums[f"known_{amount}"].where(sums[f"unknown_{amount}"] == 0)
    sums["macs_by_definition"] = sums["macs_by_definition"].where(sums["unknown_macs"] == 0)
    sums["nodes"] = grouped.size()
    sums["intensity"] = sums["both_flops"] / sums["both_bytes"].where(sums["both_bytes"] > 0)
    return sums.rename_axis("name").reset_index().astype(dict.fromkeys(counted, int))[list(GROUP_COLUMNS)]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row with counts as whole numbers and what is unknown as None."""

    def value(name: str, number: Any) -> Any:
        if isinstance(number, str):
            return number
        if number is None or np.isnan(number):
            return None
        return float(number) if name == "intensity" else int(number)

    return {name: value(name, number) for name, number in row.items()}


def _interface(info: onnx.ValueInfoProto) -> dict[str, Any]:
    """Name, element type and shape of an input or output; a dimension without a value by its name or as "?"."""
    kind = info.type.tensor_type
    if info.type.WhichOneof("value") not in (None, "tensor_type"):
        return {"name": info.name, "dtype": str(info.type.WhichOneof("value")).removesuffix("_type"), "shape": None}
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in kind.shape.dim]
    dtype = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    return {"name": info.name, "dtype": dtype, "shape": dims if kind.HasField("shape") else None}


def _rows(counted: tuple[Counted, ...], graph: Graph) -> Iterator[dict[str, Any]]:
    parameters = parameters_by_node(graph)
    labels = label_nodes([c.entry for c in counted])
    for row, label in zip(counted, labels, strict=True):
        step = row.step
        yield {
            "name": label.name,
            "op_type": row.entry.node.op_type,
            "domain": row.entry.node.domain,
            "phase": label.phase,
            "layer": label.layer,
            "op": label.op,
            "op_class": label.op_class,
            "depth": row.depth,
            "executions": row.executions,
            "macs": step.macs,
            "macs_by_definition": _by_definition(row),
            "flops": step.flops,
            "bytes_read": step.bytes_read,
            "bytes_written": step.bytes_written,
            "parameters": parameters.get(row.entry.index, 0),
            "reason": step.reason,
        }


def _by_definition(row: Counted) -> int | None:
    """The multiply-accumulates of a step that the node's definition has."""
    stated = macs_by_definition(row.entry.node)
    return row.step.macs if stated is None else replace(row.cost, macs=stated).times(row.executions).macs


def _idle(counted: tuple[Counted, ...]) -> set[Body]:
    """Bodies that are known not to run."""
    return {(c.entry.parent, c.entry.body) for c in counted if c.executions == 0}


def inspect(graph: Graph) -> Inspection:
    """Look at a graph: every node with its cost, the memory of a step, and what is not understood."""
    counted = count_nodes(graph)
    table = pd.DataFrame(list(_rows(counted, graph)), columns=list(NODE_COLUMNS))
    numbers = ["executions", "macs", "macs_by_definition", "flops", "bytes_read", "bytes_written"]
    table[numbers] = table[numbers].astype(float)
    return Inspection(graph, table, counted, liveness(graph, _idle(counted)))
