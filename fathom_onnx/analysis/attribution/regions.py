"""Which original nodes an executed node stands for, within one graph and its optimized form.

An executed node stands for the original nodes between what it takes and what it gives: starting at the original
class of each of its outputs, walk back until a class that some executed tensor holds. Executed nodes that pass
tensors which have no counterpart in the original belong to one group and share what the group stands for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
from networkx.utils import UnionFind

from fathom_onnx.graph import Tensor
from fathom_onnx.graph.dataflow import QUANTIZATIONS, Dataflow, moves, outputs_of
from fathom_onnx.graph.op_types import canonical_op
from fathom_onnx.graph.tensors import tensors_of

from .anchors import anchor_by_name, executed_dataflow
from .origins import Origins

__all__ = ["Group", "Level", "Question", "op_of"]

_TO_USER = frozenset({"ReorderInput", "MemcpyFromHost"})
"""Inserted for the node that follows; all other inserted movement is for the node before it."""

_GEMM_INPUT = "gemm_input_reshape"
"""Name of the reshape that onnxruntime puts before a batched MatMul and Add which it turns into a Gemm."""


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
class Group:
    """Executed nodes and the original nodes they stand for together (numbers within the graph).

    Attributes:
        members: The executed nodes.
        region: The original compute nodes.
        moved: The original movement nodes between those of ``region``.
    """

    members: tuple[int, ...]
    region: tuple[int, ...]
    moved: tuple[int, ...] = ()


class Level:
    """One graph and its optimized form: a model's top level, or a body.

    Args:
        original: The original graph.
        executed: Its optimized form.
        tensors: Shapes and types of the original tensors.
        held: Inputs of the original, or tensors around it, that are fixed at run time.
        executed_held: Tensors around the executed form that are fixed at run time.
    """

    def __init__(
        self,
        original: onnx.GraphProto,
        executed: onnx.GraphProto,
        tensors: Mapping[str, Tensor],
        held: Collection[str] = (),
        executed_held: Collection[str] = (),
    ) -> None:
        self.original = Dataflow(original, tensors, held)
        self.executed = executed_dataflow(executed, self.original, tensors_of(executed), executed_held)
        self.origins = Origins(self.original, self.executed)
        self.anchors = anchor_by_name(self.original, self.executed, self.origins)
        self.made_by: dict[str, int] = dict(self.executed.producer)
        self.namesakes: dict[int, list[int]] = defaultdict(list)
        for index, node in enumerate(self.executed.nodes):
            origin = self.origins.of(node)
            if origin is not None:
                self.namesakes[origin].append(index)
        self.folded = {t.name for t in executed.initializer if t.name in self.original.producer}

    def groups(self) -> list[Group]:
        """The compute nodes in groups, each with its region, in the order of execution."""
        run, base = self.executed, self.original
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
        # what was folded is a constant of the optimized graph, often under its name
        folded = {base.class_of(name) for name in self.folded}
        stops = set(self.anchors.of.values()) | folded
        claimed: set[int] = set()
        groups = []
        for members in sorted(sorted(g) for g in joined.to_sets()):
            region, moved = self._region(members, stops, claimed)
            claimed.update(region)
            groups.append(Group(tuple(members), tuple(sorted(region)), tuple(sorted(moved))))
        return groups

    def _region(
        self, members: Sequence[int], stops: Collection[str], claimed: Collection[int]
    ) -> tuple[set[int], set[int]]:
        """The compute and the movement nodes between what some executed nodes give and what they take."""
        run, base = self.executed, self.original
        made = {run.class_of(name) for i in members for name in outputs_of(run.nodes[i])}
        taken = {run.class_of(name) for i in members for name in run.inputs[i]} - made
        inputs = {self.anchors.of[c] for c in taken if c in self.anchors.of}
        starts = [self.anchors.of[c] for c in made if c in self.anchors.of]
        names = {name for i in members for name in outputs_of(run.nodes[i])}
        fixed = all(run.is_constant(i) for i in members)
        region: set[int] = set()
        moved: set[int] = set()
        seen: set[str] = set()
        pending = [(c, True) for c in dict.fromkeys(starts) if c not in inputs]
        while pending:
            of, is_start = pending.pop()
            if of in seen or (of in stops and not is_start):
                continue
            seen.add(of)
            if not is_start:
                moved.update(base.movers_of(of))
            makers = self._living(base.makers(of), members, names)
            for maker in makers:
                if maker in claimed and not is_start:
                    continue
                region.add(maker)
                explicit = set(base.nodes[maker].input)
                for name in base.inputs[maker]:
                    if name not in base.constant or (fixed and name in explicit):
                        pending.append((base.class_of(name), False))
        return region, moved

    def _living(self, makers: list[int], members: Collection[int], names: Collection[str]) -> list[int]:
        """Of twins, the ones that some executed nodes make or are named after, and those that no other node is."""
        if len(makers) < 2:
            return makers
        kept = []
        for maker in makers:
            mine = outputs_of(self.original.nodes[maker])
            namesakes = self.namesakes.get(maker, ())
            here = any(n in names for n in mine) or any(i in members for i in namesakes)
            elsewhere = bool(namesakes) or any(n in self.made_by for n in mine)
            if here or not elsewhere:
                kept.append(maker)
        return kept or makers

    def question(self, group: Group, measurable: Collection[str]) -> Question | None:
        """What to measure to tell a group's nodes apart, or None where nothing would help.

        Args:
            group: The group.
            measurable: Original tensors whose values can be had.
        """
        if len(group.members) < 2 or len(group.region) < 2:
            return None
        run, base = self.executed, self.original
        known = set(self.anchors.of.values())
        mine = {n: run.class_of(n) for i in group.members for n in outputs_of(run.nodes[i])}
        theirs = {n: base.class_of(n) for i in group.region for n in outputs_of(base.nodes[i])}
        mine = {n: c for n, c in mine.items() if c not in self.anchors.of}
        theirs = {n: c for n, c in theirs.items() if c not in known and n in measurable}
        return Question(mine, theirs) if mine and theirs else None

    def compute(self, taken: Collection[int] = ()) -> dict[int, tuple[int, ...]]:
        """Executed compute node to the original nodes it stands for.

        Args:
            taken: Original movement nodes that executed movement nodes stand for.
        """
        found: dict[int, tuple[int, ...]] = {}
        for group in self.groups():
            found.update(self._within(group))
            if len(group.members) == 1:
                index = group.members[0]
                free = tuple(i for i in group.moved if i not in taken)
                found[index] = self._with_moved(index, found[index], free)
        return found

    def _with_moved(self, index: int, region: tuple[int, ...], moved: tuple[int, ...]) -> tuple[int, ...]:
        """A region with the movement in it.

        A movement node that runs on quantized data has quantizations around it in the original, which it made
        superfluous; it stands for its like alone, and for nothing where it was inserted.
        """
        node = self.executed.nodes[index]
        alike = tuple(i for i in moved if self.original.nodes[i].op_type == node.op_type)
        if moves(node) and all(self.original.nodes[i].op_type in QUANTIZATIONS for i in region):
            return alike
        return tuple(sorted({*region, *moved}))

    def _within(self, group: Group) -> dict[int, tuple[int, ...]]:
        """Divide a group's region among its members: by op where that tells them apart, else all to all."""
        if len(group.members) == 1 or len(group.region) < 2:
            return dict.fromkeys(group.members, group.region)
        by_op = defaultdict(list)
        for index in group.region:
            by_op[op_of(self.original.nodes[index])].append(index)
        found = {i: tuple(by_op.get(op_of(self.executed.nodes[i]), ())) for i in group.members}
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
            path = self._path(node.output[0]) or self._namesake(node)
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

    def _namesake(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """The original movement node whose name and type an executed one kept, though not its place."""
        index = self.origins.of(node)
        if index in self.original.movers and index is not None and self.original.nodes[index].op_type == node.op_type:
            return (index,)
        return ()

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


def op_of(node: onnx.NodeProto) -> str:
    """The canonical op of a node."""
    return canonical_op(node.op_type, node.domain)
