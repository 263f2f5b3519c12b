"""Constant ``If`` nodes: onnxruntime replaces an ``If`` with a constant condition by the branch that it takes.

The original is rewritten in the same way before the two are compared, with the branch's tensors under the names that
onnxruntime gives them (``_if_then_branch_<tensor>``, numbered where that is taken), so that the nodes of the branch are
part of the graph around it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import onnx
from onnx import numpy_helper

from fathom_onnx.graph.bodies import bodies, outputs_of

__all__ = ["from_decided_branch", "with_decided_branches"]

_PREFIX = re.compile(r"^(.*_if_(then_branch|else_branch)(?:_token_\d+)?_)")

Numbers = Mapping[tuple[int | None, str], Sequence[int]]
"""(number of a control-flow node, name of its body) to the numbers of the nodes in the body."""


def from_decided_branch(name: str) -> bool:
    """Whether a name is one that onnxruntime gives what it takes out of a branch."""
    return _PREFIX.match(name) is not None


def with_decided_branches(
    original: onnx.GraphProto, numbers: Sequence[int], executed: onnx.GraphProto, inside: Numbers
) -> tuple[onnx.GraphProto, list[int]]:
    """A graph in which each ``If`` that the optimizer decided is replaced by the branch it took.

    Args:
        original: The graph.
        numbers: The numbers of its nodes.
        executed: Its optimized form.
        inside: The numbers of the nodes in bodies.

    Returns:
        The graph (the same where nothing was decided) and the numbers of its nodes.
    """
    left = {name for node in executed.node if node.op_type == "If" for name in (node.name, *node.output) if name}
    decided = [n.op_type == "If" and left.isdisjoint([n.name, *n.output]) for n in original.node]
    if not any(decided):
        return original, list(numbers)
    names = {name for node in executed.node for name in outputs_of(node)} | {t.name for t in executed.initializer}
    prefixed: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for name in names:
        match = _PREFIX.match(name)
        if match:
            prefixed[name[match.end() :]].add((match[2], match[1]))
    used: set[str] = set()
    values = {t.name: t for t in original.initializer}
    makers = {name: node for node in executed.node for name in outputs_of(node)}
    flat = onnx.GraphProto()
    flat.CopyFrom(original)
    del flat.node[:]
    kept: list[int] = []
    for node, number, is_decided in zip(original.node, numbers, decided, strict=True):
        branch = _taken(node, makers, prefixed, used, values) if is_decided else None
        if branch is None:
            flat.node.add().CopyFrom(node)
            kept.append(number)
            continue
        name, prefix = branch
        used.add(prefix)
        body = dict(bodies(node))[name]
        renamed, within = with_decided_branches(_renamed(body, node, prefix), inside[number, name], executed, inside)
        flat.node.extend(renamed.node)
        flat.initializer.extend(renamed.initializer)
        kept.extend(within)
    return flat, kept


def _taken(
    node: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    prefixed: Mapping[str, Collection[tuple[str, str]]],
    used: Collection[str],
    values: Mapping[str, onnx.TensorProto],
) -> tuple[str, str] | None:
    """The branch that a decided ``If`` took and the prefix of its tensors, or None where that is not certain.

    Args:
        node: The ``If``.
        makers: Executed tensor to its node.
        prefixed: Tensor of a branch to the (branch, prefix) under which it is in the optimized graph.
        used: Prefixes that belong to other nodes.
        values: Constants by name.
    """
    known = values.get(node.input[0])
    only = None if known is None else ("then_branch" if numpy_helper.to_array(known).item() else "else_branch")
    maker = next((makers[name] for name in outputs_of(node) if name in makers), None)
    named = _PREFIX.match(maker.name) if maker is not None else None
    scores: dict[tuple[str, str], tuple[int, bool, bool]] = {}
    for name, body in bodies(node):
        if only not in (None, name):
            continue
        inner = [t for n in body.node for t in outputs_of(n)]
        hits = Counter(p for t in inner for branch, p in prefixed.get(t, ()) if branch == name and p not in used)
        if named is not None and named[2] == name:
            hits.update({named[1]: 0})
        alike = maker is not None and maker.op_type in {n.op_type for n in body.node}
        for prefix, count in [*hits.items(), ("", 0)]:
            scores[name, prefix] = (count, named is not None and named[1] == prefix, alike)
    best = max(scores, key=lambda key: scores[key])
    if only is None and sum(score == scores[best] for score in scores.values()) > 1:
        return None
    return best


def _renamed(body: onnx.GraphProto, around: onnx.NodeProto, prefix: str) -> onnx.GraphProto:
    """A branch with its outputs under the names of the ``If``'s and the rest under ``prefix``."""
    made = {name for node in body.node for name in outputs_of(node)} | {t.name for t in body.initializer}
    names = {name: prefix + name for name in made}
    names |= {inner.name: outer for inner, outer in zip(body.output, around.output, strict=False) if inner.name in made}
    renamed = onnx.GraphProto()
    renamed.CopyFrom(body)
    _rename(renamed, names)
    return renamed


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename tensors in a graph and where its bodies take them from around them."""
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        for place, name in enumerate(node.output):
            node.output[place] = names.get(name, name)
        for _, body in bodies(node):
            own = {t.name for t in [*body.input, *body.initializer]} | {t for n in body.node for t in outputs_of(n)}
            _rename(body, {name: new for name, new in names.items() if name not in own})
            for output in body.output:
                if output.name not in own:
                    output.name = names.get(output.name, output.name)
