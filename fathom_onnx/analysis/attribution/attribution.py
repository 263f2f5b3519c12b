"""From executed nodes back to the nodes of the original graph.

Every executed node ends in exactly one state:

* ``attributed``: to one or several original nodes; over several its time is split by modelled cost and marked;
* ``charged``: movement that onnxruntime inserted, charged to the original node next to it;
* ``unattributed``: with a reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import onnx

from fathom_onnx.analysis.cost.node_costs import NodeCost, node_cost
from fathom_onnx.graph import Graph, Tensor
from fathom_onnx.graph.bodies import NumberedNode, bodies, numbered
from fathom_onnx.graph.dataflow import Dataflow, all_tensors, outputs_of
from fathom_onnx.graph.op_types import class_of_op
from fathom_onnx.runtime.fingerprint import Fingerprint

from .anchors import anchor_by_value
from .constant_ifs import with_decided_branches
from .regions import Level, Question, op_of

__all__ = [
    "Attribution",
    "Kind",
    "NodeAttribution",
    "Question",
    "Share",
    "State",
    "anchored",
    "attribute",
    "questions",
]

Kind = Literal["attributed", "charged", "unattributed"]

State = Literal["ran", "folded", "merged"]
"""What became of an original node: executed nodes stand for it; it was constant, and computed before the run; or it
was merged with a node that computes the same, or dropped (it changed nothing, nothing used it, or an ``If`` whose
condition is constant never takes it)."""


@dataclass(frozen=True)
class Share:
    """A part of an executed node's time: the original node (its number) and the part."""

    original: int
    weight: float


@dataclass(frozen=True)
class NodeAttribution:
    """What one executed node stands for.

    Attributes:
        executed: Number of the executed node.
        kind: Its state.
        shares: Original nodes with weights that sum to 1; none where unattributed.
        split: Whether its time is divided by a model, or an original's time is the sum of several executed nodes.
        reason: Why it is charged, unattributed or shared; else empty.
    """

    executed: int
    kind: Kind
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
    """

    nodes: tuple[NodeAttribution, ...]
    originals: tuple[NumberedNode, ...]
    executed: tuple[NumberedNode, ...]
    constant: frozenset[int] = frozenset()

    @cached_property
    def present(self) -> frozenset[int]:
        """Original nodes that executed nodes stand for."""
        return frozenset(s.original for node in self.nodes for s in node.shares if node.kind == "attributed")

    @property
    def absent(self) -> tuple[int, ...]:
        """Original nodes that no executed node stands for; :meth:`state_of` says why."""
        return tuple(node.index for node in self.originals if node.index not in self.present)

    def state_of(self, original: int) -> State:
        """What became of an original node, by its number."""
        if original in self.present:
            return "ran"
        return "folded" if original in self.constant else "merged"


def _weights(originals: Sequence[int], costs: Sequence[NodeCost]) -> tuple[Share, ...]:
    """Shares by FLOPs: within a fused node tensors do not travel, so arithmetic is what is left to model.

    Nodes without arithmetic among them go by bytes. An unknown cost counts as the mean of the known ones.
    """
    if len(originals) == 1:
        return (Share(originals[0], 1.0),)
    for raw in ([costs[i].flops for i in originals], [costs[i].bytes_moved for i in originals]):
        known = [w for w in raw if w is not None]
        if sum(known) > 0:
            usual = sum(known) / len(known)
            filled = [usual if w is None else float(w) for w in raw]
            return tuple(Share(i, w / sum(filled)) for i, w in zip(originals, filled, strict=True))
    return tuple(Share(i, 1.0 / len(originals)) for i in originals)


def _by_body(nodes: Sequence[NumberedNode]) -> dict[tuple[int | None, str], list[int]]:
    """(number of the node around it, its body) to the numbers of the nodes in it."""
    found: dict[tuple[int | None, str], list[int]] = defaultdict(list)
    for node in nodes:
        found[node.parent, node.body].append(node.index)
    return found


class _Mapper:
    """Attributes all levels of a model, bodies inside their control-flow nodes."""

    def __init__(self, original: onnx.GraphProto, executed: onnx.GraphProto, tensors: Mapping[str, Tensor]) -> None:
        self.originals, self.executed = numbered(original), numbered(executed)
        self.tensors = tensors
        self.costs = [node_cost(entry.node, tensors) for entry in self.originals]
        self.found: dict[int, NodeAttribution] = {}
        self.constant: set[int] = set()
        self.visited: set[tuple[int, str]] = set()
        self._theirs, self._mine = _by_body(self.originals), _by_body(self.executed)

    def run(self, level: Level, theirs: Sequence[int], mine: Sequence[int], parent: int | None = None) -> None:
        """Attribute one level.

        Args:
            level: The level.
            theirs: Numbers of its original nodes.
            mine: Numbers of its executed nodes.
            parent: Number of the original node around it.
        """
        self._fold(level.original, theirs)
        moved = level.movement()
        taken = {i for path in moved.values() for i in path}
        for local, originals in {**level.compute(taken), **moved}.items():
            shares = _weights([theirs[i] for i in originals], self.costs) if originals else ()
            self._put(mine[local], shares)
        for local, index in enumerate(mine):
            if not self.found[index].shares:
                self.found[index] = self._rest(level, local, mine, parent)
        for index in mine:
            self._bodies(index, level)
        self._fold_bodies(level.original, theirs)

    def _fold(self, flow: Dataflow, theirs: Sequence[int]) -> None:
        self.constant.update(index for local, index in enumerate(theirs) if flow.is_constant(local))

    def _fold_bodies(self, around: Dataflow, theirs: Sequence[int]) -> None:
        """Find what is constant in bodies that were not attributed on their own."""
        for index in theirs:
            for name, body in bodies(self.originals[index].node):
                if (index, name) not in self.visited:
                    flow = Dataflow(body, self.tensors, around.constant, merge=False)
                    self._fold(flow, self._theirs[index, name])
                    self._fold_bodies(flow, self._theirs[index, name])

    def _put(self, index: int, shares: tuple[Share, ...]) -> None:
        kind: Kind = "attributed" if shares else "unattributed"
        self.found[index] = NodeAttribution(index, kind, shares, len(shares) > 1)

    def _rest(self, level: Level, local: int, mine: Sequence[int], parent: int | None) -> NodeAttribution:
        """A node that stands for no original: inserted movement, or something that is not understood."""
        index, node = mine[local], level.executed.nodes[local]
        if local in level.executed.movers or class_of_op(op_of(node)) == "G":
            for near in level.neighbours(local):
                beside = self.found[mine[near]]
                if beside.kind == "attributed":
                    heaviest = max(beside.shares, key=lambda share: share.weight)
                    share = Share(heaviest.original, 1.0)
                    return NodeAttribution(index, "charged", (share,), reason=f"inserted {node.op_type}")
        if parent is not None:
            return NodeAttribution(index, "attributed", (Share(parent, 1.0),), reason="part of a body")
        if local in level.executed.movers:
            return NodeAttribution(index, "unattributed", (), reason="inserted movement without a neighbour")
        anchored = any(level.executed.class_of(n) in level.anchors.of for n in outputs_of(node))
        why = "its outputs equal its inputs in the original" if anchored else "no output is a tensor of the original"
        return NodeAttribution(index, "unattributed", (), reason=why)

    def _bodies(self, index: int, level: Level | None) -> None:
        """Attribute the nodes inside a control-flow node."""
        executed = self.executed[index].node
        mine = dict(bodies(executed))
        if not mine:
            return
        around = self.found[index]
        alike = [s.original for s in around.shares if self._same_bodies(self.originals[s.original].node, executed)]
        if level is not None and len(alike) == 1 and around.kind == "attributed":
            pairs = dict(bodies(self.originals[alike[0]].node))
            for name, body in mine.items():
                place = alike[0], name
                self.visited.add(place)
                original, theirs = with_decided_branches(pairs[name], self._theirs[place], body, self._theirs)
                held, run_held = level.original.constant, level.executed.constant
                inner = Level(original, body, self.tensors, held, run_held)
                self.run(inner, theirs, self._mine[index, name], alike[0])
            return
        for name in mine:
            for inside in self._mine[index, name]:
                self.found[inside] = replace(around, executed=inside, reason="part of a body")
                self._bodies(inside, None)

    @staticmethod
    def _same_bodies(original: onnx.NodeProto, executed: onnx.NodeProto) -> bool:
        return original.op_type == executed.op_type and dict(bodies(original)).keys() == dict(bodies(executed)).keys()

    def whole(self, level: Level, theirs: Sequence[int]) -> Attribution:
        """Attribute the top level and what is in it; originals that run as several executed nodes are marked."""
        self.run(level, theirs, self._mine[None, ""])
        nodes = [self.found[entry.index] for entry in self.executed]
        uses = Counter(s.original for n in nodes if n.kind == "attributed" for s in n.shares)
        for place, node in enumerate(nodes):
            shared = node.kind == "attributed" and any(uses[s.original] > 1 for s in node.shares)
            if shared:
                reason = node.reason or "its original node runs as several"
                nodes[place] = replace(node, split=True, reason=reason)
        return Attribution(tuple(nodes), self.originals, self.executed, frozenset(self.constant))


def _top(graph: Graph, executed: onnx.ModelProto, originals: Sequence[NumberedNode]) -> tuple[Level, list[int]]:
    """The top level, and the numbers of its original nodes."""
    held = {v.name for v in graph.metadata.variables} if graph.metadata and not graph.training else set()
    inside = _by_body(originals)
    original, theirs = with_decided_branches(graph.model.graph, inside[None, ""], executed.graph, inside)
    return Level(original, executed.graph, all_tensors(graph), held), theirs


def questions(graph: Graph, executed: onnx.ModelProto) -> list[Question]:
    """What names leave open: for each group of nodes that they cannot tell apart, the tensors to measure.

    Args:
        graph: The original graph.
        executed: The model that onnxruntime made of it.
    """
    level, _ = _top(graph, executed, numbered(graph.model.graph))
    own = {name for node in graph.model.graph.node for name in outputs_of(node)}
    asked = (level.question(group, own) for group in level.groups())
    return [question for question in asked if question is not None]


def anchored(graph: Graph, executed: onnx.ModelProto) -> dict[str, str]:
    """Executed tensor to the original tensor whose elements it holds, as names tell it; the top level only.

    What :func:`attribute` rests on, for checking it: the values of the two must agree but for order and padding.
    """
    level, _ = _top(graph, executed, numbered(graph.model.graph))
    own = {name for node in graph.model.graph.node for name in outputs_of(node)}
    found: dict[str, str] = {}
    for name in level.executed.producer:
        of = level.anchors.of.get(level.executed.class_of(name))
        same = [name] if name in own else [n for n in level.original.members(of) if n in own] if of is not None else []
        if of is not None and same:
            found[name] = same[0]
    return found


def attribute(
    graph: Graph,
    executed: onnx.ModelProto,
    asked: Sequence[Question] = (),
    original_values: Mapping[str, Fingerprint] | None = None,
    executed_values: Mapping[str, Fingerprint] | None = None,
) -> Attribution:
    """Attribute every node of an optimized model to nodes of the original graph.

    Args:
        graph: The original graph.
        executed: The model that onnxruntime made of it, nodes in the order of the file.
        asked: Questions that were answered by measuring values.
        original_values: Fingerprints of original tensors, by tensor.
        executed_values: Fingerprints of executed tensors, by tensor.
    """
    mapper = _Mapper(graph.model.graph, executed.graph, all_tensors(graph))
    level, theirs = _top(graph, executed, mapper.originals)
    if asked:
        mine = {q.executed[n]: f for q in asked for n, f in (executed_values or {}).items() if n in q.executed}
        known = {q.original[n]: f for q in asked for n, f in (original_values or {}).items() if n in q.original}
        candidates = [(set(q.executed.values()), set(q.original.values())) for q in asked]
        level.anchors = anchor_by_value(level.anchors, mine, known, candidates)
    return mapper.whole(level, theirs)
