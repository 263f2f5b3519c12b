"""Original nodes that no executed node is named after, in groups, and the executed nodes that could stand for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf

from networkx.utils import UnionFind

from fathom_onnx.graph.bodies import outputs_of
from fathom_onnx.graph.dataflow import Dataflow
from fathom_onnx.graph.op_types import CONTRIB, INTERNAL, ML, ONNX
from fathom_onnx.runtime.traces.foreign import TracedNode

from .fusions import could_be

__all__ = ["AbsentGroup", "Assignment", "absent_groups", "assign"]

_KNOWN_OPS = frozenset({*ONNX, *CONTRIB, *INTERNAL, *ML})


@dataclass(frozen=True)
class AbsentGroup:
    """Original nodes that exchange tensors which no named executed node makes.

    A tensor that a told node takes ends a group.

    Attributes:
        members: Numbers within the graph.
        op_types: Their op types.
        outputs: Tensors that are used outside the group.
        shapes: Shapes of the outputs, None where unknown.
        after: The place in the order of execution of the last executed node that makes something for the group.
        before: That of the first executed node that takes something from it.
    """

    members: tuple[int, ...]
    op_types: frozenset[str]
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...] | None, ...]
    after: float
    before: float


@dataclass(frozen=True)
class Assignment:
    """Which executed nodes stand for which groups.

    Attributes:
        of: Place of an executed node to its groups.
        untold: Place to why it has none.
        open: Groups that a node of ``untold`` may stand for.
    """

    of: Mapping[int, tuple[AbsentGroup, ...]]
    untold: Mapping[int, str]
    open: tuple[AbsentGroup, ...]


def absent_groups(
    flow: Dataflow, claimed: Collection[int], made_by: Mapping[str, int], users_at: Mapping[int, int]
) -> list[AbsentGroup]:
    """The compute nodes that nothing executed was named after, in groups that exchange tensors.

    Args:
        flow: The original graph.
        claimed: Nodes that are told, or fused into one that is.
        made_by: Class of a tensor that is told to be made, to the place of the executed node.
        users_at: Original node to the place of the executed node that is named after it.
    """
    computes = [i for i in range(len(flow.nodes)) if i not in flow.movers and not flow.is_constant(i)]
    absent = [i for i in computes if i not in claimed and not _twin_of_claimed(flow, i, claimed)]
    joined: UnionFind = UnionFind(absent)
    within = set(absent)
    # what a told node takes is made by some executed node, which ends there
    classes = {
        flow.class_of(name): i
        for i in absent
        for name in outputs_of(flow.nodes[i])
        if _users(flow, flow.class_of(name)) <= within
    }
    for index in absent:
        for name in flow.inputs[index]:
            of = flow.class_of(name)
            if of in classes and of not in made_by:
                joined.union(classes[of], index)
    groups = []
    for members in sorted(sorted(g) for g in joined.to_sets()):
        group = _group(flow, members, made_by, users_at)
        if group.outputs:
            groups.append(group)
    return groups


def _users(flow: Dataflow, of: str) -> set[int]:
    """The compute nodes that use a class."""
    return {u for name in flow.members(of) for u in flow.users.get(name, ()) if u not in flow.movers}


def _twin_of_claimed(flow: Dataflow, index: int, claimed: Collection[int]) -> bool:
    """Whether an equal node is told: the optimizer keeps one of them."""
    return any(
        maker != index and maker in claimed
        for name in outputs_of(flow.nodes[index])
        for maker in flow.makers(flow.class_of(name))
    )


def _group(flow: Dataflow, members: list[int], made_by: Mapping[str, int], users_at: Mapping[int, int]) -> AbsentGroup:
    own = set(members)
    after, before = -inf, inf
    for index in members:
        for name in flow.inputs[index]:
            after = max(after, made_by.get(flow.class_of(name), -inf))
    outputs: list[str] = []
    for index in members:
        for name in outputs_of(flow.nodes[index]):
            of = flow.class_of(name)
            if of in made_by:
                continue
            users = _users(flow, of)
            if not users or users - own:
                outputs.append(name)
                before = min([before, *(users_at[u] for u in users if u in users_at)])
    tensors = (flow.tensors.get(name) for name in outputs)
    shapes = tuple(tensor.shape if tensor else None for tensor in tensors)
    kinds = frozenset(flow.nodes[index].op_type for index in members)
    return AbsentGroup(tuple(members), kinds, tuple(outputs), shapes, after, before)


def assign(untold: Mapping[int, TracedNode], groups: list[AbsentGroup]) -> Assignment:
    """Tell which executed nodes stand for which groups, where only one way is left.

    A group fits a node that runs after what the group takes is made and before what it makes is taken, whose op can
    stand for one of its ops, and whose output has the shape of one of its outputs.

    Args:
        untold: Executed nodes that are not told, by place.
        groups: The groups.
    """
    fits = {p: {i for i, group in enumerate(groups) if _fits(p, node, group)} for p, node in untold.items()}
    found: dict[int, tuple[AbsentGroup, ...]] = {}
    changed = True
    while changed:
        changed = False
        takers = Counter(number for numbers in fits.values() for number in numbers)
        for place, numbers in fits.items():
            alone = bool(numbers) and all(takers[number] == 1 for number in numbers)
            # a provider's subgraph can hold several groups, an op of onnxruntime one
            if alone and (len(numbers) == 1 or untold[place].op_type not in _KNOWN_OPS):
                found[place] = tuple(groups[number] for number in sorted(numbers))
                fits[place] = set()
                changed = True
                break
            only = next(iter(numbers)) if len(numbers) == 1 else None
            if only is not None and _takes_all(place, only, fits):
                for other in fits:
                    if other != place and only in fits[other]:
                        fits[other] = fits[other] - {only}
                changed = True
                break
    why = {p: _reason(untold[p], [groups[i] for i in sorted(fits[p])]) for p in untold if p not in found}
    left = sorted({number for numbers in fits.values() for number in numbers})
    return Assignment(found, why, tuple(groups[number] for number in left))


def _takes_all(place: int, number: int, fits: Mapping[int, Collection[int]]) -> bool:
    """Whether a group is the only one that fits a node, while every other node that it fits has a choice."""
    others = [numbers for p, numbers in fits.items() if p != place and number in numbers]
    return bool(others) and all(len(numbers) > 1 for numbers in others)


def _fits(place: int, node: TracedNode, group: AbsentGroup) -> bool:
    if not group.after < place < group.before or not could_be(node.op_type, group.op_types, _KNOWN_OPS):
        return False
    if not node.output_shapes or None in group.shapes or node.op_type not in _KNOWN_OPS:
        return True
    return node.output_shapes[0] in group.shapes


def _reason(node: TracedNode, groups: list[AbsentGroup]) -> str:
    if not groups:
        return f"nothing of the graph is left that a {node.op_type} stands for; the optimized model tells"
    number = sum(len(group.members) for group in groups)
    return f"could stand for any of {number} nodes that the trace does not name; the optimized model tells"
