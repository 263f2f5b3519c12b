"""From executed nodes back to the nodes of the original graph.

An executed node stands for the original nodes between what it takes and what it gives: starting at the original
class of each of its outputs, walk back until a class that some executed tensor holds. Executed nodes that pass
tensors which have no counterpart in the original belong to one group and share what the group stands for.
Every executed node ends in exactly one state:

* ``attributed``: to one or several original nodes; over several its time is split by modelled cost and marked;
* ``charged``: movement that onnxruntime inserted, charged to the original node next to it;
* ``unattributed``: with a reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import onnx
from networkx.utils import UnionFind

from ..graph import Graph, Tensor
from ..runtime.fingerprint import Fingerprint
from ..runtime.optimized import NumberedNode, bodies, numbered
from .anchors import anchor_by_name, anchor_by_value, executed_dataflow
from .cost import NodeCost, node_cost
from .dataflow import Dataflow, outputs_of, tensors_of
from .optable import canonical_op, class_of_op

__all__ = ["Attribution", "Kind", "NodeAttribution", "Question", "Share", "attribute", "questions"]

Kind = Literal["attributed", "charged", "unattributed"]

_TO_USER = frozenset({"ReorderInput", "MemcpyFromHost"})
"""Inserted for the node that follows; all other inserted movement is for the node before it."""

_GEMM_INPUT = "gemm_input_reshape"
"""Name of the reshape that onnxruntime puts before a batched MatMul and Add which it turns into a Gemm."""


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
    """

    nodes: tuple[NodeAttribution, ...]
    originals: tuple[NumberedNode, ...]
    executed: tuple[NumberedNode, ...]

    @property
    def absent(self) -> tuple[int, ...]:
        """Original nodes that no executed node stands for: folded to constants, merged or dropped."""
        present = {share.original for node in self.nodes for share in node.shares if node.kind == "attributed"}
        return tuple(node.index for node in self.originals if node.index not in present)


@dataclass(frozen=True)
class Question:
    """Tensors whose values would tell apart the nodes of one group.

    Attributes:
        executed: Executed tensor to its class.
        original: Original tensor to its class.
    """

    executed: dict[str, str]
    original: dict[str, str]


@dataclass(frozen=True)
class _Group:
    """Executed nodes and the original nodes they stand for together (numbers within the graph)."""

    members: tuple[int, ...]
    region: tuple[int, ...]


class _Level:
    """One graph and its optimized form: a model's top level, or a body.

    Args:
        original: The original graph.
        executed: Its optimized form.
        tensors: Shapes and types of the original tensors.
        held: Inputs of the original that are fixed at run time.
    """

    def __init__(
        self,
        original: onnx.GraphProto,
        executed: onnx.GraphProto,
        tensors: Mapping[str, Tensor],
        held: Collection[str] = (),
    ) -> None:
        self.original = Dataflow(original, tensors, held)
        self.executed = executed_dataflow(executed, self.original, tensors_of(executed))
        self.anchors = anchor_by_name(self.original, self.executed)
        self.made_by: dict[str, int] = dict(self.executed.producer)

    def groups(self) -> list[_Group]:
        """The compute nodes in groups, each with its region, in the order of execution."""
        run = self.executed
        joined: UnionFind = UnionFind(i for i in range(len(run.nodes)) if i not in run.movers)
        flow = run.graph()
        for kind, of in list(flow.nodes):
            if kind != "class" or of in self.anchors.of or not run.makers(of):
                continue
            around = [i for _, i in flow.predecessors((kind, of))] + [i for _, i in flow.successors((kind, of))]
            # what is made of constants only joins nothing: many nodes may use it
            if all(run.is_constant(i) for i in run.makers(of)):
                continue
            joined.union(*around)
        stops = set(self.anchors.of.values())
        claimed: set[int] = set()
        groups = []
        for members in sorted(sorted(g) for g in joined.to_sets()):
            region = self._region(members, stops, claimed)
            claimed.update(region)
            groups.append(_Group(tuple(members), tuple(sorted(region))))
        return groups

    def _region(self, members: Sequence[int], stops: Collection[str], claimed: Collection[int]) -> set[int]:
        run, base = self.executed, self.original
        made = {run.class_of(name) for i in members for name in outputs_of(run.nodes[i])}
        taken = {run.class_of(name) for i in members for name in run.inputs[i]} - made
        inputs = {self.anchors.of[c] for c in taken if c in self.anchors.of}
        starts = [self.anchors.of[c] for c in made if c in self.anchors.of]
        names = {name for i in members for name in outputs_of(run.nodes[i])}
        fixed = all(run.is_constant(i) for i in members)
        region: set[int] = set()
        seen: set[str] = set()
        pending = [(c, True) for c in dict.fromkeys(starts) if c not in inputs]
        while pending:
            of, is_start = pending.pop()
            if of in seen or (of in stops and not is_start):
                continue
            seen.add(of)
            makers = self._living(base.makers(of), names)
            for maker in makers:
                if maker in claimed and not is_start:
                    continue
                region.add(maker)
                for name in base.inputs[maker]:
                    if fixed or name not in base.constant:
                        pending.append((base.class_of(name), False))
        return region

    def _living(self, makers: list[int], names: Collection[str]) -> list[int]:
        """Of twins, the ones that ``names`` makes and those that nothing else makes."""
        if len(makers) < 2:
            return makers
        kept = []
        for maker in makers:
            mine = outputs_of(self.original.nodes[maker])
            if any(n in names for n in mine) or not any(n in self.made_by for n in mine):
                kept.append(maker)
        return kept or makers

    def question(self, group: _Group) -> Question | None:
        """What to measure to tell a group's nodes apart, or None where nothing would help."""
        if len(group.members) < 2 or len(group.region) < 2:
            return None
        run, base = self.executed, self.original
        known = set(self.anchors.of.values())
        mine = {n: run.class_of(n) for i in group.members for n in outputs_of(run.nodes[i])}
        theirs = {n: base.class_of(n) for i in group.region for n in outputs_of(base.nodes[i])}
        mine = {n: c for n, c in mine.items() if c not in self.anchors.of}
        theirs = {n: c for n, c in theirs.items() if c not in known}
        return Question(mine, theirs) if mine and theirs else None

    def compute(self) -> dict[int, tuple[int, ...]]:
        """Executed compute node to the original nodes it stands for."""
        found: dict[int, tuple[int, ...]] = {}
        for group in self.groups():
            found.update(self._within(group))
        return found

    def _within(self, group: _Group) -> dict[int, tuple[int, ...]]:
        """Divide a group's region among its members: by op where that tells them apart, else all to all."""
        if len(group.members) == 1 or len(group.region) < 2:
            return dict.fromkeys(group.members, group.region)
        by_op = defaultdict(list)
        for index in group.region:
            by_op[_op(self.original.nodes[index])].append(index)
        found = {i: tuple(by_op.get(_op(self.executed.nodes[i]), ())) for i in group.members}
        left = tuple(i for i in group.region if i not in {o for part in found.values() for o in part})
        unmatched = [i for i, part in found.items() if not part]
        for index in unmatched:
            found[index] = left or group.region
        if left and not unmatched:
            found = {i: tuple(sorted({*part, *left})) for i, part in found.items()}
        return found

    def movement(self) -> dict[int, tuple[int, ...]]:
        """Executed movement node to the original movement nodes it stands for (none: it was inserted)."""
        run, base = self.executed, self.original
        found: dict[int, tuple[int, ...]] = {}
        loose: dict[str, list[int]] = defaultdict(list)
        for index in sorted(run.movers):
            node = run.nodes[index]
            path = self._path(node.output[0])
            found[index] = path
            of = self.anchors.of.get(run.class_of(node.output[0]))
            if not path and of is not None and node.op_type in {base.nodes[i].op_type for i in base.movers_of(of)}:
                loose[of].append(index)
        claimed = {i for path in found.values() for i in path}
        for of, movers in loose.items():
            for kind in {run.nodes[i].op_type for i in movers}:
                free = tuple(i for i in base.movers_of(of) if i not in claimed and base.nodes[i].op_type == kind)
                for index in movers:
                    if run.nodes[index].op_type == kind:
                        found[index] = free
        return found

    def _path(self, name: str) -> tuple[int, ...]:
        """The original movement nodes that lead to a tensor from the last one that is made by an executed node."""
        base = self.original
        path: list[int] = []
        while name in base.producer and base.producer[name] in base.movers:
            path.append(base.producer[name])
            name = base.nodes[path[-1]].input[0]
            if name in self.made_by or name in base.fed:
                break
        return tuple(reversed(path))

    def neighbours(self, index: int) -> Iterator[int]:
        """Executed nodes around a node, nearest first: before it, then after it, or the other way round."""
        run = self.executed

        def before(i: int) -> list[int]:
            return [run.producer[n] for n in run.inputs[i] if n in run.producer]

        def after(i: int) -> list[int]:
            return [u for n in outputs_of(run.nodes[i]) for u in run.users.get(n, ())]

        node = run.nodes[index]
        to_user = node.op_type in _TO_USER or node.name.startswith(_GEMM_INPUT)
        ways = [after, before] if to_user else [before, after]
        for way in ways:
            seen, pending = {index}, [index]
            while pending:
                for near in way(pending.pop(0)):
                    if near not in seen:
                        seen.add(near)
                        pending.append(near)
                        yield near


def _op(node: onnx.NodeProto) -> str:
    return canonical_op(node.op_type, node.domain)


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


class _Mapper:
    """Attributes all levels of a model, bodies inside their control-flow nodes."""

    def __init__(self, original: onnx.GraphProto, executed: onnx.GraphProto, tensors: Mapping[str, Tensor]) -> None:
        self.originals, self.executed = numbered(original), numbered(executed)
        self.tensors = tensors
        self.costs = [node_cost(entry.node, tensors) for entry in self.originals]
        self.found: dict[int, NodeAttribution] = {}

    @staticmethod
    def _level(nodes: Sequence[NumberedNode], parent: int | None, body: str) -> list[int]:
        return [n.index for n in nodes if n.parent == parent and n.body == body]

    def run(self, level: _Level, parents: tuple[int | None, int | None] = (None, None), body: str = "") -> None:
        """Attribute one level; ``parents`` are the numbers of the original and executed node around it."""
        theirs = self._level(self.originals, parents[0], body)
        mine = self._level(self.executed, parents[1], body)
        compute = level.compute()
        for local, originals in compute.items():
            shares = _weights([theirs[i] for i in originals], self.costs) if originals else ()
            self._put(mine[local], shares)
        moved = level.movement()
        for local, originals in moved.items():
            shares = _weights([theirs[i] for i in originals], self.costs) if originals else ()
            self._put(mine[local], shares)
        for local, index in enumerate(mine):
            if not self.found[index].shares:
                self.found[index] = self._rest(level, local, mine, parents[0])
        for index in mine:
            self._bodies(index)

    def _put(self, index: int, shares: tuple[Share, ...]) -> None:
        kind: Kind = "attributed" if shares else "unattributed"
        self.found[index] = NodeAttribution(index, kind, shares, len(shares) > 1)

    def _rest(self, level: _Level, local: int, mine: Sequence[int], parent: int | None) -> NodeAttribution:
        """A node that stands for no original: inserted movement, or something that is not understood."""
        index, node = mine[local], level.executed.nodes[local]
        if local in level.executed.movers or class_of_op(_op(node)) == "G":
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

    def _bodies(self, index: int) -> None:
        """Attribute the nodes inside a control-flow node."""
        inner = [n for n in self.executed if n.parent == index]
        if not inner:
            return
        around = self.found[index]
        if len(around.shares) == 1 and around.kind == "attributed":
            original = self.originals[around.shares[0].original]
            pairs = dict(bodies(original.node))
            mine = dict(bodies(self.executed[index].node))
            if set(pairs) == set(mine):
                for name, body in mine.items():
                    self.run(_Level(pairs[name], body, self.tensors), (original.index, index), name)
                return
        for entry in inner:
            self.found[entry.index] = replace(around, executed=entry.index, reason="part of a body")
            self._bodies(entry.index)

    def finish(self) -> Attribution:
        """All attributions, with originals that run as several executed nodes marked."""
        nodes = [self.found[entry.index] for entry in self.executed]
        uses = Counter(s.original for n in nodes if n.kind == "attributed" for s in n.shares)
        for place, node in enumerate(nodes):
            shared = node.kind == "attributed" and any(uses[s.original] > 1 for s in node.shares)
            if shared:
                reason = node.reason or "its original node runs as several"
                nodes[place] = replace(node, split=True, reason=reason)
        return Attribution(tuple(nodes), self.originals, self.executed)


def _top(graph: Graph, executed: onnx.ModelProto) -> tuple[_Level, dict[str, Tensor]]:
    tensors = {**tensors_of(graph.model.graph), **graph.tensors}
    held = {v.name for v in graph.metadata.variables} if graph.metadata and not graph.training else set()
    return _Level(graph.model.graph, executed.graph, tensors, held), tensors


def questions(graph: Graph, executed: onnx.ModelProto) -> list[Question]:
    """What names leave open: for each group of nodes that they cannot tell apart, the tensors to measure.

    Args:
        graph: The original graph.
        executed: The model that onnxruntime made of it.
    """
    level, _ = _top(graph, executed)
    asked = (level.question(group) for group in level.groups())
    return [question for question in asked if question is not None]


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
    level, tensors = _top(graph, executed)
    if asked:
        mine = {q.executed[n]: f for q in asked for n, f in (executed_values or {}).items() if n in q.executed}
        theirs = {q.original[n]: f for q in asked for n, f in (original_values or {}).items() if n in q.original}
        candidates = [(set(q.executed.values()), set(q.original.values())) for q in asked]
        level.anchors = anchor_by_value(level.anchors, mine, theirs, candidates)
    mapper = _Mapper(graph.model.graph, executed.graph, tensors)
    mapper.run(level)
    return mapper.finish()
