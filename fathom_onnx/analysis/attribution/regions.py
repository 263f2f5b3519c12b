"""The original nodes that an executed node stands for, within one graph and its optimized form.

An executed node stands for the original nodes between its inputs and its outputs: starting at the original class of
each of its outputs, walk back until a class that some executed tensor is anchored to. Executed nodes that exchange
tensors without a counterpart in the original belong to one group and share the original nodes of the group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import onnx
from networkx.utils import UnionFind

from fathom_onnx.graph import Tensor
from fathom_onnx.graph.bodies import outputs_of
from fathom_onnx.graph.dataflow import QUANTIZATIONS, Dataflow, moves
from fathom_onnx.graph.op_types import canonical_op
from fathom_onnx.graph.tensors import tensors_of

from .anchors import Anchors, anchor_by_name, executed_dataflow
from .origins import Origins

__all__ = ["GraphPair", "Group", "Question", "op_of"]

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


class GraphPair:
    """One graph and its optimized form: a model's top graph, or a body.

    Args:
        original: The original graph.
        executed: Its optimized form.
        tensors: Shapes and types of the original tensors.
        fixed: Inputs of the original, or tensors it captures, whose value never changes between steps.
        executed_fixed: The same of the executed form.
    """

    def __init__(
        self,
        original: onnx.GraphProto,
        executed: onnx.GraphProto,
        tensors: Mapping[str, Tensor],
        fixed: Collection[str] = (),
        executed_fixed: Collection[str] = (),
    ) -> None:
        self.original = Dataflow(original, tensors, fixed)
        self.executed = executed_dataflow(executed, self.original, tensors_of(executed), executed_fixed)
        self.origins = Origins(self.original, self.executed)
        self.anchors = anchor_by_name(self.original, self.executed, self.origins)
        self.made_by: dict[str, int] = dict(self.executed.producer)
        self.namesakes: dict[int, list[int]] = defaultdict(list)
        for index, node in enumerate(self.executed.nodes):
            origin = self.origins.of(node)
            if origin is not None:
                self.namesakes[origin].append(index)
        self.folded = {t.name for t in executed.initializer if t.name in self.original.producer}

    def with_anchors(self, anchors: Anchors) -> GraphPair:
        """The same pair, its regions between other anchors."""
        other = copy(self)
        other.anchors = anchors
        other.__dict__.pop("groups", None)
        return other

    @cached_property
    def groups(self) -> list[Group]:
        """The compute nodes in groups, each with its region, in the order of execution."""
        executed, original = self.executed, self.original
        joined: UnionFind = UnionFind(i for i in range(len(executed.nodes)) if i not in executed.movers)
        flow = executed.graph()
        for kind, of in list(flow.nodes):
            if kind != "class" or of in self.anchors.of or not executed.makers(of):
                continue
            around = [i for _, i in flow.predecessors((kind, of))] + [i for _, i in flow.successors((kind, of))]
            # a class computed from constants only does not join its users: many nodes may use it
            if all(executed.is_constant(i) for i in executed.makers(of)):
                continue
            joined.union(*around)
        # a folded tensor is a constant of the optimized graph, often under its own name
        folded = {original.class_of(name) for name in self.folded}
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
        """The compute and the movement nodes between the outputs and the inputs of some executed nodes."""
        executed, original = self.executed, self.original
        made = {executed.class_of(name) for i in members for name in outputs_of(executed.nodes[i])}
        taken = {executed.class_of(name) for i in members for name in executed.inputs[i]} - made
        inputs = {self.anchors.of[c] for c in taken if c in self.anchors.of}
        starts = [self.anchors.of[c] for c in made if c in self.anchors.of]
        names = {name for i in members for name in outputs_of(executed.nodes[i])}
        fixed = all(executed.is_constant(i) for i in members)
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
                moved.update(original.movers_of(of))
            makers = self._living(original.makers(of), members, names)
            for maker in makers:
                if maker in claimed and not is_start:
                    continue
                region.add(maker)
                explicit = set(original.nodes[maker].input)
                for name in original.inputs[maker]:
                    if name not in original.constant or (fixed and name in explicit):
                        pending.append((original.class_of(name), False))
        return region, moved

    def _living(self, makers: list[int], members: Collection[int], names: Collection[str]) -> list[int]:
        """Of twins, those that some executed nodes produce or are named after, and those that no other node matches."""
        if len(makers) < 2:
            return makers
        kept = []
        for maker in makers:
            outputs = outputs_of(self.original.nodes[maker])
            namesakes = self.namesakes.get(maker, ())
            in_members = any(n in names for n in outputs) or any(i in members for i in namesakes)
            in_others = bool(namesakes) or any(n in self.made_by for n in outputs)
            if in_members or not in_others:
                kept.append(maker)
        return kept or makers

    def question(self, group: Group, measurable: Collection[str]) -> Question | None:
        """The tensors to measure to tell a group's nodes apart, or None where no measurement would help.

        Args:
            group: The group.
            measurable: Original tensors whose values can be measured.
        """
        if len(group.members) < 2 or len(group.region) < 2:
            return None
        executed, original = self.executed, self.original
        known = set(self.anchors.of.values())
        executed_classes = {n: executed.class_of(n) for i in group.members for n in outputs_of(executed.nodes[i])}
        original_classes = {n: original.class_of(n) for i in group.region for n in outputs_of(original.nodes[i])}
        executed_classes = {n: c for n, c in executed_classes.items() if c not in self.anchors.of}
        original_classes = {n: c for n, c in original_classes.items() if c not in known and n in measurable}
        return Question(executed_classes, original_classes) if executed_classes and original_classes else None

    def compute(self, taken: Collection[int] = ()) -> dict[int, tuple[int, ...]]:
        """Executed compute node to the original nodes it stands for.

        Args:
            taken: Original movement nodes that executed movement nodes stand for.
        """
        originals_of: dict[int, tuple[int, ...]] = {}
        for group in self.groups:
            originals_of.update(self._within(group))
            if len(group.members) == 1:
                index = group.members[0]
                free = tuple(i for i in group.moved if i not in taken)
                originals_of[index] = self._with_moved(index, originals_of[index], free)
        return originals_of

    def _with_moved(self, index: int, region: tuple[int, ...], moved: tuple[int, ...]) -> tuple[int, ...]:
        """A region with the movement in it.

        A movement node that runs on quantized data makes the quantizations around it in the original superfluous; it
        stands for movement of its own type alone, and for nothing where it was inserted.
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
        parts = {i: tuple(by_op.get(op_of(self.executed.nodes[i]), ())) for i in group.members}
        left = tuple(i for i in group.region if i not in {o for part in parts.values() for o in part})
        unmatched = [i for i, part in parts.items() if not part]
        for index in unmatched:
            parts[index] = left or group.region
        if left and not unmatched:
            parts = {i: tuple(sorted({*part, *left})) for i, part in parts.items()}
        return parts

    def movement(self) -> dict[int, tuple[int, ...]]:
        """Executed movement node to the original movement nodes it stands for (none: it was inserted)."""
        executed, original = self.executed, self.original
        paths: dict[int, tuple[int, ...]] = {}
        loose: dict[str, list[int]] = defaultdict(list)
        for index in sorted(executed.movers):
            node = executed.nodes[index]
            path = self._path(node.output[0]) or self._namesake(node)
            paths[index] = path
            of = self.anchors.of.get(executed.class_of(node.output[0]))
            if (
                not path
                and of is not None
                and node.op_type in {original.nodes[i].op_type for i in original.movers_of(of)}
            ):
                loose[of].append(index)
        claimed = {i for path in paths.values() for i in path}
        for of, movers in loose.items():
            for kind in {executed.nodes[i].op_type for i in movers}:
                free = tuple(
                    i for i in original.movers_of(of) if i not in claimed and original.nodes[i].op_type == kind
                )
                for index in movers:
                    if executed.nodes[index].op_type == kind:
                        paths[index] = free
        return paths

    def _namesake(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """The original movement node whose name and type an executed one kept, though not its place."""
        index = self.origins.of(node)
        if index in self.original.movers and index is not None and self.original.nodes[index].op_type == node.op_type:
            return (index,)
        return ()

    def _path(self, name: str) -> tuple[int, ...]:
        """The original movement nodes that lead to a tensor from the last one that is made by an executed node."""
        original = self.original
        path: list[int] = []
        while name in original.producer and original.producer[name] in original.movers:
            path.append(original.producer[name])
            name = original.nodes[path[-1]].input[0]
            if name in self.made_by or name in original.fed:
                break
        return tuple(reversed(path))

    def neighbours(self, index: int) -> Iterator[int]:
        """Executed nodes around a node, nearest first: before it, then after it, or the other way round."""
        executed = self.executed

        def before(i: int) -> list[int]:
            return [executed.producer[n] for n in executed.inputs[i] if n in executed.producer]

        def after(i: int) -> list[int]:
            return [u for n in outputs_of(executed.nodes[i]) for u in executed.users.get(n, ())]

        node = executed.nodes[index]
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
