"""Following an input through a graph: breadth first, so that the most direct use of a value is the one that counts."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .arithmetic import ARITHMETIC_RULES
from .findings import Finding, Pass, Reach
from .flow import Flow, Key
from .indices import INDEX_RULES
from .sizes import SIZE_RULES
from .use import Rule, Use
from .words import WORD_RULES

__all__ = ["follow"]

MOST_STEPS = 100_000
"""Uses after which an input is not followed any further."""


def follow(flow: Flow, name: str) -> list[Finding]:
    """What the uses of a top-level input say of its values, the most direct first."""
    start = Key(0, name)
    waiting = deque([Pass(start, Reach())])
    seen = {start}
    findings: list[Finding] = []
    steps = 0

    def go_on(passed: Pass) -> None:
        if passed.key not in seen:
            seen.add(passed.key)
            waiting.append(passed)

    while waiting and steps < MOST_STEPS:
        key, reach = (passed := waiting.popleft()).key, passed.reach
        for target, by_element in flow.handed.get(key, ()):
            go_on(Pass(target, reach.lost(picked=True) if by_element else reach))
        for site, position in flow.users.get(key, ()):
            steps += 1
            use = Use(flow, site, position, reach, key)
            for rule in _RULES.get((site.op, position), ()):
                for found in rule(use):
                    if isinstance(found, Pass):
                        go_on(found)
                    else:
                        findings.append(found)
            if site.op in _HANDS_ON and position in _HANDS_ON[site.op]:
                for output in _outputs(use):
                    go_on(output)
    return findings


def _outputs(use: Use) -> Iterator[Pass]:
    """The outputs of a node that only moves or picks elements, with what that does to the arrangement."""
    op, reach = use.site.op, use.reach
    if op == "Concat":
        yield from use.on(replace(reach, place=_place_in_concat(use), whole=False))
    elif op == "Slice":
        yield from use.on(_slice(use))
    elif op == "Gather":
        yield from use.on(_picked(use))
    elif op in _KEEP_ARRANGEMENT:
        yield from use.on()
    elif op in _KEEP_ORDER:
        yield from use.on(replace(reach, whole=False))
    elif op == "Split":
        for output in range(len(use.site.outputs)):
            yield from use.on(_split(use, output), output)
    else:
        picked = reach.picked or op in ("GatherElements", "GatherND", "SequenceAt", "Compress")
        yield from use.on(reach.lost(picked=picked))


def _place_in_concat(use: Use) -> int | None:
    before = 0
    for key in use.site.inputs[: use.position]:
        shape = use.flow.shape(key)
        if shape is None or len(shape) != 1:
            return None
        before += shape[0]
    return None if use.reach.place is None else use.reach.place + before


def _slice(use: Use) -> Reach:
    starts, steps = (use.flow.constant(use.site.input(n)) for n in (1, 4))
    plain = steps is None and use.site.input(4) is None
    if starts is None:
        return use.reach.lost(picked=True)
    if starts.size != 1 or int(starts.ravel()[0]) < 0:
        return replace(use.reach, place=None, whole=False)
    if not plain and (steps is None or steps.size != 1 or int(steps.ravel()[0]) != 1):
        return replace(use.reach, place=None, whole=False)
    return use.reach.cut(int(starts.ravel()[0]), use.flow.size(use.site.outputs[0], 0))


def _split(use: Use, output: int) -> Reach:
    sizes = [use.flow.size(key, 0) for key in use.site.outputs[: output + 1]]
    known = [size for size in sizes if size is not None]
    if len(known) != len(sizes):
        return replace(use.reach, place=None, whole=False)
    return use.reach.cut(sum(known[:-1]), known[-1])


def _picked(use: Use) -> Reach:
    indices = use.flow.constant(use.site.input(1))
    if indices is None:
        return use.reach.lost(picked=True)
    flat = [int(index) for index in indices.ravel()]
    size = use.flow.size(use.key, 0)
    start = flat[0] + (size or 0) if flat and flat[0] < 0 else min(flat, default=0)
    consecutive = flat == list(range(flat[0], flat[0] + len(flat))) if flat else False
    if not consecutive or (flat[0] < 0 and size is None) or use.site.number("axis", 0):
        return replace(use.reach, place=None, whole=False)
    return use.reach.cut(start, len(flat))


_KEEP_ARRANGEMENT = frozenset({"Identity", "Cast", "CastLike", "Abs", "Floor", "Ceil", "Round", "StringNormalizer"})
"""Ops that give one element for each, where it stood."""

_KEEP_ORDER = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Flatten", "SequenceConstruct", "Optional"})
"""Ops that keep the order of the elements, and all of them."""

_FIRST = frozenset({0})

_HANDS_ON: dict[str, Iterable[int]] = {
    **dict.fromkeys(_KEEP_ARRANGEMENT, _FIRST),
    **dict.fromkeys(_KEEP_ORDER, range(1)),
    **dict.fromkeys(
        (
            "Compress",
            "ConcatFromSequence",
            "DepthToSpace",
            "Expand",
            "Gather",
            "GatherElements",
            "GatherND",
            "OptionalGetElement",
            "Pad",
            "ReduceMax",
            "ReduceMin",
            "ReverseSequence",
            "SequenceAt",
            "SequenceErase",
            "Slice",
            "SpaceToDepth",
            "Split",
            "SplitToSequence",
            "StringConcat",
            "Tile",
            "TopK",
            "Transpose",
            "Trilu",
            "Unique",
        ),
        _FIRST,
    ),
    **dict.fromkeys(("Max", "Min", "Concat", "SequenceConstruct"), range(1 << 16)),
    **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND"), (0, 2)),
    "SequenceInsert": (0, 1),
    "TensorScatter": (0, 1),
    "Where": (1, 2),
}
"""Op type to the positions of inputs whose elements are in the first output; of ``Split``, in all of them."""


def _all_rules() -> dict[tuple[str, int], list[Rule]]:
    rules: dict[tuple[str, int], list[Rule]] = defaultdict(list)
    for table in (INDEX_RULES, SIZE_RULES, ARITHMETIC_RULES, WORD_RULES):
        for use, rule in table.items():
            rules[use].append(rule)
    return dict(rules)


_RULES = _all_rules()
