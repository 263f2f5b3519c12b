"""Attribution: from executed nodes back to the nodes of the original graph.

Every executed node is exactly one of:

* ``attributed``: to one or several original nodes; over several its time is split by modelled cost and marked;
* ``charged``: movement that onnxruntime inserted, charged to the original node next to it;
* ``unattributed``: with a reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import onnx

from fathom_onnx.analysis.cost.node_costs import NodeCost, node_cost
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import NumberedNode, bodies, names_in, numbered, outputs_of
from fathom_onnx.graph.dataflow import Dataflow
from fathom_onnx.graph.labels import Label, label_nodes
from fathom_onnx.graph.op_types import class_of_op
from fathom_onnx.graph.tensors import tensors_by_body
from fathom_onnx.runtime.fingerprint import Fingerprint

from .anchors import anchor_by_value
from .constant_ifs import with_decided_branches
from .regions import GraphPair, Question, op_of

__all__ = [
    "PART_OF_A_BODY",
    "Attribution",
    "AttributionKind",
    "Matching",
    "NodeAttribution",
    "NodeState",
    "Question",
    "Share",
    "attribute",
]

AttributionKind = Literal["attributed", "charged", "unattributed"]
"""What the time of an executed node is: see the module's docstring."""

PART_OF_A_BODY = "part of a body"
"""Reason of a node inside control flow that stands for the control-flow node itself."""

NodeState = Literal["ran", "folded", "merged", "unknown"]
"""State of an original node in the run: executed nodes stand for it; it was constant and computed before the run; it
was merged with an equal node or removed (it changed nothing, nothing used it, or an ``If`` with a constant condition
never takes it); or a trace alone does not tell which executed node it is in."""


@dataclass(frozen=True)
class Share:
    """A part of an executed node's time: the original node (its number) and the part."""

    original: int
    weight: float


@dataclass(frozen=True)
class NodeAttribution:
    """The original nodes that one executed node stands for.

    Attributes:
        executed: Number of the executed node.
        kind: Attributed, charged or unattributed.
        shares: Original nodes with weights that sum to 1; none where unattributed.
        split: Whether its time is divided by a model, or an original's time is the sum of several executed nodes.
        reason: Why it is charged, unattributed or split; else empty.
    """

    executed: int
    kind: AttributionKind
    shares: tuple[Share, ...]
    split: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Attribution:
    """The attribution of a whole optimized model.

    Attributes:
        nodes: One entry an executed node, by number.
        originals: The original nodes by number, those of bodies included.
        executed: The executed nodes by number.
        constant: Numbers of the original nodes that compute the same in every step.
        twins: Original node to the first node that computes the same from the same inputs, where it is not the first.
        doubtful: Numbers of those that may be in an unattributed executed node, where no optimized model tells.
    """

    nodes: tuple[NodeAttribution, ...]
    originals: tuple[NumberedNode, ...]
    executed: tuple[NumberedNode, ...]
    constant: frozenset[int] = frozenset()
    twins: Mapping[int, int] = field(default_factory=dict)
    doubtful: frozenset[int] = frozenset()

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """A label for each original node."""
        return label_nodes(self.originals)

    @cached_property
    def present(self) -> frozenset[int]:
        """Original nodes that executed nodes stand for."""
        return frozenset(s.original for node in self.nodes for s in node.shares if node.kind == "attributed")

    @property
    def absent(self) -> tuple[int, ...]:
        """Original nodes that no executed node stands for; :meth:`state_of` says why."""
        return tuple(node.index for node in self.originals if node.index not in self.present)

    def state_of(self, original: int) -> NodeState:
        """The state of an original node, by its number."""
        if original in self.present:
            return "ran"
        if original in self.doubtful:
            return "unknown"
        return "folded" if original in self.constant else "merged"


def _weights(originals: Sequence[int], costs: Sequence[NodeCost]) -> tuple[Share, ...]:
    """Shares of nodes by FLOPs: within a fused node tensors are not moved, so that only arithmetic is left to model.

    Where no node has arithmetic, shares go by bytes. An unknown cost counts as the mean of the known ones.
    """
    for raw in ([cost.flops for cost in costs], [cost.bytes_moved for cost in costs]):
        known = [w for w in raw if w is not None]
        if sum(known) > 0:
            usual = sum(known) / len(known)
            filled = [usual if w is None else float(w) for w in raw]
            return tuple(Share(i, w / sum(filled)) for i, w in zip(originals, filled, strict=True))
    return tuple(Share(i, 1.0 / len(originals)) for i in originals)


def _by_body(nodes: Sequence[NumberedNode]) -> dict[tuple[int | None, str], list[int]]:
    """(number of a control-flow node, its body) to the numbers of the nodes in the body."""
    inside: dict[tuple[int | None, str], list[int]] = defaultdict(list)
    for node in nodes:
        inside[node.parent, node.body].append(node.index)
    return inside


class _Attributor:
    """Attributes the top graph of a model and, inside their control-flow nodes, its bodies."""

    def __init__(self, original: onnx.GraphProto, executed: onnx.GraphProto) -> None:
        self.originals, self.executed = numbered(original), numbered(executed)
        self.tensors = tensors_by_body(original)
        self.attributed: dict[int, NodeAttribution] = {}
        self.constant: set[int] = set()
        self.twins: dict[int, int] = {}
        self.visited: set[tuple[int, str]] = set()
        self._originals_in, self._executed_in = _by_body(self.originals), _by_body(self.executed)

    def run(
        self,
        pair: GraphPair,
        original_numbers: Sequence[int],
        executed_numbers: Sequence[int],
        parent: int | None = None,
    ) -> None:
        """Attribute the nodes of one pair of graphs.

        Args:
            pair: The pair.
            original_numbers: Numbers of its original nodes.
            executed_numbers: Numbers of its executed nodes.
            parent: Number of the original control-flow node around it.
        """
        self._fold(pair.original, original_numbers)
        for first, later in pair.original.twins.items():
            self.twins.update((original_numbers[local], original_numbers[first]) for local in later)
        moved = pair.movement()
        taken = {i for path in moved.values() for i in path}
        for local, originals in {**pair.compute(taken), **moved}.items():
            self._put(executed_numbers[local], self._shares([original_numbers[i] for i in originals]))
        for local, index in enumerate(executed_numbers):
            if not self.attributed[index].shares:
                self.attributed[index] = self._rest(pair, local, executed_numbers, parent)
        for index in executed_numbers:
            self._bodies(index, pair)
        self._fold_bodies(pair.original, original_numbers)

    def _fold(self, flow: Dataflow, original_numbers: Sequence[int]) -> None:
        self.constant.update(index for local, index in enumerate(original_numbers) if flow.is_constant(local))

    def _fold_bodies(self, around: Dataflow, original_numbers: Sequence[int]) -> None:
        """Find the constant nodes of bodies that were not attributed on their own."""
        for index in original_numbers:
            for name, body in bodies(self.originals[index].node):
                if (index, name) not in self.visited:
                    fixed = around.constant - names_in(body)
                    flow = Dataflow(body, self.tensors[index, name], fixed, merge=False)
                    self._fold(flow, self._originals_in[index, name])
                    self._fold_bodies(flow, self._originals_in[index, name])

    def _shares(self, originals: Sequence[int]) -> tuple[Share, ...]:
        """The shares of the original nodes that an executed node stands for."""
        if len(originals) < 2:
            return tuple(Share(index, 1.0) for index in originals)
        entries = [self.originals[index] for index in originals]
        costs = [node_cost(entry.node, self.tensors[entry.parent, entry.body]) for entry in entries]
        return _weights(originals, costs)

    def _put(self, index: int, shares: tuple[Share, ...]) -> None:
        kind: AttributionKind = "attributed" if shares else "unattributed"
        self.attributed[index] = NodeAttribution(index, kind, shares, len(shares) > 1)

    def _rest(
        self, pair: GraphPair, local: int, executed_numbers: Sequence[int], parent: int | None
    ) -> NodeAttribution:
        """A node that stands for no original node: inserted movement, or a node that is not understood."""
        index, node = executed_numbers[local], pair.executed.nodes[local]
        if local in pair.executed.movers or class_of_op(op_of(node)) == "G":
            for near in pair.neighbours(local):
                beside = self.attributed[executed_numbers[near]]
                if beside.kind == "attributed":
                    heaviest = max(beside.shares, key=lambda share: share.weight)
                    share = Share(heaviest.original, 1.0)
                    return NodeAttribution(index, "charged", (share,), reason=f"inserted {node.op_type}")
        if parent is not None:
            return NodeAttribution(index, "attributed", (Share(parent, 1.0),), reason=PART_OF_A_BODY)
        if local in pair.executed.movers:
            return NodeAttribution(index, "unattributed", (), reason="inserted movement without a neighbour")
        anchored = any(pair.executed.class_of(n) in pair.anchors.of for n in outputs_of(node))
        why = "its outputs equal its inputs in the original" if anchored else "no output is a tensor of the original"
        return NodeAttribution(index, "unattributed", (), reason=why)

    def _bodies(self, index: int, pair: GraphPair | None) -> None:
        """Attribute the nodes inside a control-flow node."""
        executed = self.executed[index].node
        executed_bodies = dict(bodies(executed))
        if not executed_bodies:
            return
        around = self.attributed[index]
        alike = [s.original for s in around.shares if self._same_bodies(self.originals[s.original].node, executed)]
        if pair is not None and len(alike) == 1 and around.kind == "attributed":
            original_bodies = dict(bodies(self.originals[alike[0]].node))
            for name, body in executed_bodies.items():
                place = alike[0], name
                self.visited.add(place)
                original, original_numbers = with_decided_branches(
                    original_bodies[name], self._originals_in[place], body, self._originals_in
                )
                original_fixed = pair.original.constant - names_in(original)
                executed_fixed = pair.executed.constant - names_in(body)
                inner = GraphPair(original, body, self.tensors[place], original_fixed, executed_fixed)
                self.run(inner, original_numbers, self._executed_in[index, name], alike[0])
            return
        for name in executed_bodies:
            for inside in self._executed_in[index, name]:
                self.attributed[inside] = replace(around, executed=inside, reason=PART_OF_A_BODY)
                self._bodies(inside, None)

    @staticmethod
    def _same_bodies(original: onnx.NodeProto, executed: onnx.NodeProto) -> bool:
        return original.op_type == executed.op_type and dict(bodies(original)).keys() == dict(bodies(executed)).keys()

    def whole(self, pair: GraphPair, original_numbers: Sequence[int]) -> Attribution:
        """Attribute the top graph and its bodies; originals that run as several executed nodes are marked."""
        self.run(pair, original_numbers, self._executed_in[None, ""])
        nodes = [self.attributed[entry.index] for entry in self.executed]
        uses = Counter(s.original for n in nodes if n.kind == "attributed" for s in n.shares)
        for place, node in enumerate(nodes):
            shared = node.kind == "attributed" and any(uses[s.original] > 1 for s in node.shares)
            if shared:
                reason = node.reason or "its original node runs as several"
                nodes[place] = replace(node, split=True, reason=reason)
        return Attribution(tuple(nodes), self.originals, self.executed, frozenset(self.constant), self.twins)


def _top(graph: Graph, executed: onnx.ModelProto, originals: Sequence[NumberedNode]) -> tuple[GraphPair, list[int]]:
    """The pair of top graphs, and the numbers of the original nodes."""
    fixed = {v.name for v in graph.metadata.variables} if graph.metadata and not graph.training else set()
    inside = _by_body(originals)
    original, original_numbers = with_decided_branches(graph.model.graph, inside[None, ""], executed.graph, inside)
    return GraphPair(original, executed.graph, graph.tensors, fixed), original_numbers


class Matching:
    """A graph beside the model that onnxruntime made of it: what names leave open and, once measured, what is what.

    Args:
        graph: The original graph.
        executed: The model that onnxruntime made of it, nodes in the order of the file.
    """

    def __init__(self, graph: Graph, executed: onnx.ModelProto) -> None:
        self._graph, self._executed = graph, executed
        self._pair, self._numbers = _top(graph, executed, numbered(graph.model.graph))
        self._own = {name for node in graph.model.graph.node for name in outputs_of(node)}

    @cached_property
    def questions(self) -> list[Question]:
        """What names leave open: for each group of nodes that they cannot tell apart, the tensors to measure."""
        candidates = (self._pair.question(group, self._own) for group in self._pair.groups)
        return [question for question in candidates if question is not None]

    def anchored(self) -> dict[str, str]:
        """Executed tensor to the original tensor whose elements it holds, as names tell it; the top pair only.

        :meth:`attribution` rests on these anchors. They can be checked: the values of the two must agree but for order
        and padding.
        """
        pair, own = self._pair, self._own
        original_of: dict[str, str] = {}
        for name in pair.executed.producer:
            of = pair.anchors.of.get(pair.executed.class_of(name))
            same = (
                [name] if name in own else [n for n in pair.original.members(of) if n in own] if of is not None else []
            )
            if of is not None and same:
                original_of[name] = same[0]
        return original_of

    def attribution(
        self,
        original_values: Mapping[str, Fingerprint] | None = None,
        executed_values: Mapping[str, Fingerprint] | None = None,
    ) -> Attribution:
        """Attribute every node of the optimized model to nodes of the original graph.

        Args:
            original_values: Fingerprints of original tensors that the questions name; None where none were measured.
            executed_values: Those of executed tensors.
        """
        pair = self._pair
        if original_values is not None and executed_values is not None:
            asked = self.questions
            executed_known = {q.executed[n]: f for q in asked for n, f in executed_values.items() if n in q.executed}
            original_known = {q.original[n]: f for q in asked for n, f in original_values.items() if n in q.original}
            candidates = [(set(q.executed.values()), set(q.original.values())) for q in asked]
            pair = pair.with_anchors(anchor_by_value(pair.anchors, executed_known, original_known, candidates))
        attributor = _Attributor(self._graph.model.graph, self._executed.graph)
        return attributor.whole(pair, self._numbers)


def attribute(graph: Graph, executed: onnx.ModelProto) -> Attribution:
    """Attribute every node of an optimized model by names alone (:meth:`Matching.attribution`)."""
    return Matching(graph, executed).attribution()
