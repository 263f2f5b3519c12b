"""The account of a conversion: costs summed over the nodes kept, and over those left out by op and reason.

The same statement is printed, written to a file beside the result and, where the format allows it, into the result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakKeyDictionary

from fathom_onnx.analysis.cost.node_costs import NodeCost, graph_costs
from fathom_onnx.graph import Graph

from .converter import Conversion, ConversionRequest, CostSums, LeftOut

__all__ = ["SCHEMA", "Account", "account", "costs_of", "share", "statement", "sum_costs"]

SCHEMA = "fathom-onnx/conversion/1"
"""Name and version of the JSON schema."""


_COSTS: WeakKeyDictionary[Graph, list[NodeCost]] = WeakKeyDictionary()


def costs_of(graph: Graph) -> list[NodeCost]:
    """The cost of each top-level node; counted once for a graph that several formats are made of."""
    if graph not in _COSTS:
        _COSTS[graph] = graph_costs(graph)
    return _COSTS[graph]


@dataclass(frozen=True)
class Account:
    """What of a graph is in a conversion; see :class:`fathom_onnx.convert.converter.Conversion`."""

    kept: CostSums
    total: CostSums
    left_out: tuple[LeftOut, ...]


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def sum_costs(costs: Iterable[NodeCost]) -> CostSums:
    """The sums over some nodes; None where that of a node is unknown."""
    listed = list(costs)
    return CostSums(len(listed), _sum(c.macs for c in listed), _sum(c.bytes_moved for c in listed))


def _weight(row: LeftOut) -> tuple[float, float, str]:
    """Sort key: largest first, and the unknown before all, since it may be large."""
    macs, moved = (float("-inf") if n is None else float(-n) for n in (row.macs, row.bytes_moved))
    return macs, moved, row.op


def account(graph: Graph, left_out: Mapping[int, str]) -> Account:
    """The account of a conversion.

    Args:
        graph: The graph that was converted.
        left_out: Index of each top-level node that is not in the result, to the reason.
    """
    costs = costs_of(graph)
    groups: dict[tuple[str, str], list[NodeCost]] = defaultdict(list)
    for index, reason in left_out.items():
        groups[graph.model.graph.node[index].op_type, reason].append(costs[index])
    rows = []
    for (op, reason), members in groups.items():
        sums = sum_costs(members)
        rows.append(LeftOut(op, sums.nodes, sums.macs, sums.bytes_moved, reason))
    rows.sort(key=_weight)
    kept = sum_costs(cost for index, cost in enumerate(costs) if index not in left_out)
    return Account(kept, sum_costs(costs), tuple(rows))


def share(part: int | None, whole: int | None) -> float | None:
    """``part / whole``; None where one of them is unknown or the whole is zero."""
    return None if part is None or not whole else part / whole


def statement(graph: Graph, format_name: str, request: ConversionRequest, conversion: Conversion) -> dict[str, Any]:
    """The statement of what a conversion kept and left out, by the schema :data:`SCHEMA`; null means unknown."""
    kept, total = conversion.kept, conversion.total
    return {
        "schema": SCHEMA,
        "graph": graph.name,
        "graph_sha256": graph.sha256,
        "format": format_name,
        "options": dict(request.options),
        "macs_kept": share(kept.macs, total.macs),
        "bytes_kept": share(kept.bytes_moved, total.bytes_moved),
        "kept": asdict(kept),
        "total": asdict(total),
        "left_out": [asdict(row) for row in conversion.left_out],
        "notes": list(conversion.notes),
    }
