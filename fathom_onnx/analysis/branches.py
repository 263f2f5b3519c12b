"""An ``If`` whose condition is constant: onnxruntime puts the branch that it takes in the place of the node.

The original is written the same way before the two are compared, the branch's tensors under the names they get there
(``_if_then_branch_<tensor>``, with a number where that is taken), so that the rest is one level of one graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import onnx
from onnx import numpy_helper

from ..runtime.optimized import bodies
from .dataflow import outputs_of

__all__ = ["with_decided_branches"]

_PREFIX = re.compile(r"^(.*_if_(then_branch|else_branch)(?:_token_\d+)?_)")

Numbers = Mapping[tuple[int | None, str], Sequence[int]]
"""(number of a control-flow node, name of its body) to the numbers of the nodes in the body."""


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
    left = {name for node in executed.node if node.op_type == "If" for name in (node.name, *node.output)}
    decided = [n.op_type == "If" and left.isdisjoint([n.name, *n.output]) for n in original.node]
    if not any(decided):
        return original, list(numbers)
    names = {name for node in executed.node for name in outputs_of(node)} | {t.name for t in executed.initializer}
    prefixes: dict[str, str] = {}
    for name in [*names, *(node.name for node in executed.node)]:
        found = _PREFIX.match(name)
        if found:
            prefixes[found[1]] = found[2]
    values = {t.name: t for t in original.initializer}
    makers = {name: node for node in executed.node for name in outputs_of(node)}
    flat = onnx.GraphProto()
    flat.CopyFrom(original)
    del flat.node[:]
    kept: list[int] = []
    for node, number, is_decided in zip(original.node, numbers, decided, strict=True):
        branch = _taken(node, makers, names, prefixes, values) if is_decided else None
        if branch is None:
            flat.node.add().CopyFrom(node)
            kept.append(number)
            continue
        name, prefix = branch
        prefixes.pop(prefix, None)
        body = dict(bodies(node))[name]
        renamed, within = with_decided_branches(_renamed(body, node, prefix), inside[number, name], executed, inside)
        flat.node.extend(renamed.node)
        flat.initializer.extend(renamed.initializer)
        kept.extend(within)
    return flat, kept


def _taken(
    node: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    names: Iterable[str],
    prefixes: Mapping[str, str],
    values: Mapping[str, onnx.TensorProto],
) -> tuple[str, str] | None:
    """The branch that a decided ``If`` took and the prefix of its tensors, or None where that is not certain."""
    present = set(names)
    known = values.get(node.input[0])
    only = None if known is None else ("then_branch" if numpy_helper.to_array(known).item() else "else_branch")
    maker = next((makers[name] for name in outputs_of(node) if name in makers), None)
    scores: dict[tuple[str, str], tuple[int, bool, bool]] = {}
    for name, body in bodies(node):
        if only not in (None, name):
            continue
        inner = [t for n in body.node for t in outputs_of(n)]
        alike = maker is not None and maker.op_type in {n.op_type for n in body.node}
        for prefix in [*(p for p, of in prefixes.items() if of == name), ""]:
            hits = sum(prefix + t in present for t in inner) if prefix else 0
            said = bool(prefix) and maker is not None and prefix in maker.name
            if hits or said or not prefix:
                scores[name, prefix] = (hits, said, alike)
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
