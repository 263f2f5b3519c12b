"""The cost of a node from its shapes: multiply-accumulates, arithmetic operations, bytes.

Conventions (all of them: ``docs/reference/cost.md``): one multiply-accumulate is 2 FLOPs; an elementwise op is 1 FLOP
an element unless its table says otherwise, transcendental functions included; a reduction is 1 FLOP an input element;
comparisons and selections of a maximum count as 1; arithmetic on integers counts as arithmetic. Bytes are the least
that must be read and written: each input and output once. An unknown cost is None, not 0, and comes with its reason.
MACs, FLOPs and bytes are known apart from each other: an op that is no product has 0 MACs whatever its shapes.

Control flow costs as much as its bodies times their trip count, where that is known before a run; a call of a
model-local function costs as much as the function's body.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from fathom_onnx.graph import Graph, Tensor
from fathom_onnx.graph.bodies import TOP, NumberedNode, bodies
from fathom_onnx.graph.static.executions import Times, executions_of
from fathom_onnx.graph.static.known import known_by_body
from fathom_onnx.graph.static.sequences import Known
from fathom_onnx.graph.static.values import Values, opset_of

from .bytes_moved import bytes_read, bytes_written, size_of, total_bytes
from .call import Arithmetic, Call, Formula, NotKnown
from .expander import Expander
from .formulas import BODIES, FREE, rule

__all__ = ["Counted", "NodeCost", "count_nodes", "graph_costs", "node_cost", "total_cost", "whole_costs"]


@dataclass(frozen=True)
class NodeCost:
    """Cost of one execution of a node; None is unknown.

    Attributes:
        macs: Multiply-accumulates of convolutions and matrix products.
        flops: Arithmetic operations, those of ``macs`` included.
        bytes_read: Bytes of all inputs.
        bytes_written: Bytes of all outputs.
        reason: Why something is unknown; empty where all is known.
    """

    macs: int | None
    flops: int | None
    bytes_read: int | None
    bytes_written: int | None
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether all of it is known."""
        return None not in (self.macs, self.flops, self.bytes_read, self.bytes_written)

    @property
    def bytes_moved(self) -> int | None:
        """Bytes read and written."""
        if self.bytes_read is None or self.bytes_written is None:
            return None
        return self.bytes_read + self.bytes_written

    def times(self, executions: int | None, reason: str = "") -> NodeCost:
        """The cost of so many executions. What is 0 once is 0 for any number of them.

        Args:
            executions: Their number, or None where it is not known: then what is not 0 is unknown.
            reason: Why the number is not known.
        """
        if executions == 0:
            return _NOTHING

        def all_of(part: int | None) -> int | None:
            if part == 0:
                return 0
            return None if part is None or executions is None else part * executions

        many = NodeCost(
            all_of(self.macs),
            all_of(self.flops),
            all_of(self.bytes_read),
            all_of(self.bytes_written),
            self.reason,
        )
        return replace(many, reason=reason) if executions is None and not many.complete else many


@dataclass(frozen=True)
class Counted:
    """A node of a graph or of a body in it, with its cost.

    Attributes:
        entry: The node and its number, in the order of :func:`fathom_onnx.graph.bodies.numbered`.
        cost: The cost of one execution. A control-flow node itself costs nothing: its bodies do.
        executions: How often it runs in a step, or None where that is not known before a run.
        why: Why ``executions`` is None.
        depth: How many bodies it stands in.
        repeats: How often its body runs when the node around it runs once, or None and why that is not known; at the
            top (1, "").
    """

    entry: NumberedNode
    cost: NodeCost
    executions: int | None
    why: str
    depth: int
    repeats: Times

    @property
    def step(self) -> NodeCost:
        """The cost of all its executions in a step."""
        return self.cost.times(self.executions, self.why)


_NOTHING = NodeCost(0, 0, 0, 0)


def _arithmetic(formula: Formula, call: Call) -> Arithmetic:
    """What a formula says of a node.

    Raises:
        NotKnown: It has no answer: its inputs can be any that a file says.
    """
    try:
        found = formula(call)
    except (ArithmeticError, IndexError, ValueError):
        found = (-1, -1)
    if any(not isinstance(amount, int) or amount < 0 for amount in found):
        raise NotKnown("its inputs do not have the shapes that the operator asks for")
    return found


def node_cost(node: onnx.NodeProto, tensors: Mapping[str, Tensor], values: Values | None = None) -> NodeCost:
    """The cost of one execution of a node.

    Args:
        node: The node; what its bodies cost is not known here (:func:`count_nodes` goes through them).
        tensors: Shapes and types of its tensors, by name.
        values: Tensors whose values are known before a run, for the few ops whose work depends on one.
    """
    known = rule(node.op_type, node.domain)
    if node.op_type in FREE and known.formula is not None:
        return _NOTHING
    macs, flops = (None if known.product else 0), None
    reason = known.reason
    if known.formula is not None:
        try:
            macs, flops = _arithmetic(known.formula, Call(node, tensors, values or {}))
        except NotKnown as missing:
            reason = str(missing)
    written = bytes_written(node, tensors)
    read = total_bytes(node.input, tensors) if known.formula is None else bytes_read(node, tensors, written)
    if not reason and (read is None or written is None):
        unsized = next((n for n in [*node.input, *node.output] if n and size_of(tensors.get(n)) is None), "")
        reason = f"size of '{unsized}' is not known"
    return NodeCost(macs, flops, read, written, reason)


def count_nodes(graph: Graph) -> tuple[Counted, ...]:
    """Every node of a graph and of the bodies in it with its cost, in the order of their numbers."""
    model = graph.model
    opset = opset_of(model)
    known_in = known_by_body(model.graph, opset)
    expander = Expander(model)
    calls: dict[int, NodeCost] = {}
    rows: list[Counted] = []

    def walk(part: onnx.GraphProto, runs: Times, repeats: Times, parent: int | None, body: str, depth: int) -> None:
        known = known_in[parent, body]
        tensors = _sized(known)
        for node in part.node:
            entry = NumberedNode(len(rows), node, parent, body)
            control = node.op_type in BODIES and node.domain in ("", "ai.onnx")
            once = _NOTHING if control else node_cost(node, tensors, known.values)
            if not control and expander.knows(node):
                once = _call_cost(expander.expand(node, known.tensors, known.values), node.op_type, calls)
            rows.append(Counted(entry, once, *runs, depth, repeats))
            inside = dict(bodies(node))
            times = executions_of(node, inside, known, opset) if inside else {}
            for name, inner in inside.items():
                often, why = times[name]
                if often != 0 and (runs[0] is None or runs[0] == 0):
                    often, why = runs
                elif often is not None and runs[0] is not None:
                    often *= runs[0]
                walk(inner, (often, why), times[name], entry.index, name, depth + 1)

    walk(model.graph, (1, ""), (1, ""), *TOP, 0)
    return tuple(rows)


def _sized(known: Known) -> Mapping[str, Tensor]:
    """The tensors of a body, and its sequences as tensors of the same size."""
    sequences = known.sequences_as_tensors()
    return ChainMap(sequences, dict(known.tensors)) if sequences else known.tensors


def _call_cost(expanded: Graph | None, name: str, calls: dict[int, NodeCost]) -> NodeCost:
    """The cost of a function's body, kept by the expanded graph, which equal calls share."""
    if expanded is None:
        return NodeCost(None, None, None, None, f"function '{name}' cannot be expanded")
    if id(expanded) not in calls:
        cost = total_cost(graph_costs(expanded))
        calls[id(expanded)] = replace(cost, reason=f"in function '{name}': {cost.reason}" if cost.reason else "")
    return calls[id(expanded)]


def total_cost(costs: Iterable[NodeCost]) -> NodeCost:
    """The sum of costs; unknown where one of them is, for the first reason."""
    listed = list(costs)

    def add(parts: list[int | None]) -> int | None:
        return None if any(p is None for p in parts) else sum(p for p in parts if p is not None)

    return NodeCost(
        add([c.macs for c in listed]),
        add([c.flops for c in listed]),
        add([c.bytes_read for c in listed]),
        add([c.bytes_written for c in listed]),
        next((c.reason for c in listed if c.reason), ""),
    )


def graph_costs(graph: Graph) -> list[NodeCost]:
    """The cost of each top-level node of a graph, in order, with that of its bodies in all their executions.

    What the bodies that a node chooses from have in common (their MACs, say) is known whichever of them runs.
    """
    return whole_costs(count_nodes(graph))


def whole_costs(counted: Sequence[Counted]) -> list[NodeCost]:
    """What :func:`graph_costs` gives, from nodes that are counted already."""
    inside: dict[int, list[Counted]] = {}
    for row in counted:
        if row.entry.parent is not None:
            inside.setdefault(row.entry.parent, []).append(row)
    return [_whole(row, inside) for row in counted if row.entry.parent is None]


def _whole(row: Counted, inside: Mapping[int, Sequence[Counted]]) -> NodeCost:
    """The cost of one execution of a node with that of its bodies."""
    within = inside.get(row.entry.index, ())
    if not within:
        return row.cost
    parts = []
    for name, _ in bodies(row.entry.node):
        rows = [c for c in within if c.entry.body == name]
        repeats = rows[0].repeats if rows else (1, "")
        parts.append((total_cost(_whole(c, inside) for c in rows), repeats))
    whole = total_cost([row.cost, *(once.times(*repeats) for once, repeats in parts)])
    if row.entry.node.op_type != "If" or all(often is not None for _, (often, _) in parts):
        return whole
    branches = [once for once, _ in parts]

    def common(costs: list[int | None]) -> int | None:
        return costs[0] if len(set(costs)) == 1 else None

    found = NodeCost(
        common([b.macs for b in branches]),
        common([b.flops for b in branches]),
        common([b.bytes_read for b in branches]),
        common([b.bytes_written for b in branches]),
    )
    return found if found.complete else replace(found, reason=whole.reason)
