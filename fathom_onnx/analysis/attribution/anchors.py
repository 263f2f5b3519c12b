"""Anchors: the tensor of the original graph that a tensor of the optimized graph equals.

Optimizers keep the name of most tensors that outlive a fusion; the others are matched, in this order, through movement
(a tensor that is reordered into a known one has the same elements), by the names that onnxruntime gives its blocked
convolutions, by a node's own name and, last, by value.
"""

from __future__ import annotations

import re
from collections import ChainMap, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import onnx

from fathom_onnx.graph import Tensor
from fathom_onnx.graph.bodies import outputs_of
from fathom_onnx.graph.dataflow import QUANTIZATIONS, Dataflow, moves
from fathom_onnx.runtime.fingerprint import Fingerprint

from .origins import Origins

__all__ = ["Anchors", "anchor_by_name", "anchor_by_value", "executed_dataflow", "known_tensors"]

_BLOCKED_DOMAIN = "com.microsoft.nchwc"
_BLOCKED_NAME = re.compile(r"_nchwc(_token_\d+)?$")


@dataclass(frozen=True)
class Anchors:
    """Executed class to original class, and how each was classes (``name``, ``layout``, ``node`` or ``value``)."""

    of: Mapping[str, str]
    how: Mapping[str, str]

    def with_further(self, further: Mapping[str, str], how: str) -> Anchors:
        """These anchors and further ones; existing anchors stay."""
        new = {k: v for k, v in further.items() if k not in self.of}
        return replace(self, of={**self.of, **new}, how={**self.how, **dict.fromkeys(new, how)})


def executed_dataflow(
    graph: onnx.GraphProto, original: Dataflow, tensors: Mapping[str, Tensor], fixed: Collection[str] = ()
) -> Dataflow:
    """The data flow of an optimized graph.

    A node counts as movement unless the original has an op between its two ends: a ``Transpose`` that replaces an
    ``Einsum`` counts as compute. A ``Cast`` that the original does not have was inserted around
    a kernel that lacks a type, and counts as movement; so does a quantization that is undone at once.
    """
    movers: list[int] = []
    made = {name for node in graph.node for name in outputs_of(node)}
    known = known_tensors(original)
    anchored = {name: original.class_of(name) for name in known}
    for index, node in enumerate(graph.node):
        if not node.input or not node.output:
            continue
        maker = original.producer.get(node.output[0])
        inserted = node.op_type == "Cast" and (maker is None or original.nodes[maker].op_type != "Cast")
        source, result = anchored.get(node.input[0]), anchored.get(node.output[0])
        to_same_type = node.op_type == "Cast" and source is not None and source == result
        pair = node.op_type in QUANTIZATIONS and _inserted_pair(node, made)
        if not (moves(node) or inserted or to_same_type or pair):
            continue
        if source is not None and result is not None and source != result:
            continue
        movers.append(index)
        if result is None and source is not None:
            anchored[node.output[0]] = source
    return Dataflow(graph, tensors, fixed, movers=movers, merge=False)


def _inserted_pair(node: onnx.NodeProto, made: Collection[str]) -> bool:
    """Whether a node quantizes ``<tensor>_pre_q`` or gives ``<tensor>_post_dq``, and the model holds both."""
    base = node.input[0] if node.op_type == "QuantizeLinear" else node.output[0]
    base = base.removesuffix("_pre_q").removesuffix("_post_dq")
    return f"{base}_pre_q" in made and f"{base}_post_dq" in made


def known_tensors(original: Dataflow) -> set[str]:
    """Names of all tensors of the original graph that a node makes, a run feeds or a body takes from around it."""
    return set(original.producer) | set(original.fed) | set(original.captured)


def anchor_by_name(original: Dataflow, executed: Dataflow, origins: Origins) -> Anchors:
    """Anchors from names alone."""
    known = known_tensors(original)
    anchors = Anchors({}, {})
    made = [name for node in executed.nodes for name in outputs_of(node)]
    by_name: dict[str, str] = {}
    for name in [*executed.fed, *executed.captured, *made]:
        if name in known:
            by_name.setdefault(executed.class_of(name), original.class_of(name))
    anchors = anchors.with_further(by_name, "name")
    anchors = anchors.with_further(_by_decorated_name(executed, original, known, made), "name")
    anchors = anchors.with_further(_by_layout_name(original, executed, anchors, known), "layout")
    return anchors.with_further(_by_node_name(original, executed, anchors, origins), "node")


def _by_decorated_name(
    executed: Dataflow, original: Dataflow, known: Collection[str], made: Collection[str]
) -> dict[str, str]:
    """Tensors that onnxruntime makes of another one when it copies or moves a quantization.

    ``<tensor>/duplicated`` is the tensor. Where a quantization moved up, ``<tensor>_pre_q`` is the tensor; where it
    moved down, ``<tensor>_post_dq`` is.
    """
    present = set(made)
    classes: dict[str, str] = {}
    for name in made:
        base = name
        for ending in ("/duplicated", "_pre_q", "_post_dq"):
            base = base.removesuffix(ending)
        moved_up = name.endswith("_post_dq") and f"{base}_pre_q" in present
        if base != name and base in known and not moved_up:
            classes[executed.class_of(name)] = original.class_of(base)
    return classes


def _only_user(original: Dataflow, of: str, ops: Collection[str]) -> str | None:
    """The class made by the one node of type ``ops`` that uses a class, or None."""
    users = {
        user
        for name in original.members(of)
        for user in original.users.get(name, ())
        if user not in original.movers and original.nodes[user].op_type in ops
    }
    if len(users) != 1:
        return None
    return original.class_of(original.nodes[users.pop()].output[0])


def _by_layout_name(original: Dataflow, executed: Dataflow, anchors: Anchors, known: Collection[str]) -> dict[str, str]:
    """``<tensor>_nchwc`` is a blocked convolution or pool that began as the maker of ``<tensor>``.

    It may since have swallowed the addition of a residual (its fourth input) and the activation after that.
    """
    classes: dict[str, str] = {}
    for node in executed.nodes:
        base = _BLOCKED_NAME.sub("", node.name)
        if node.domain != _BLOCKED_DOMAIN or base == node.name or base not in known:
            continue
        of = executed.class_of(node.output[0])
        if of in anchors.of:
            continue
        place: str | None = original.class_of(base)
        if node.op_type == "Conv" and len(node.input) > 3 and node.input[3]:
            place = _only_user(original, place, ("Add", "Sum")) if place else None
            activation = next((a.s.decode(errors="replace") for a in node.attribute if a.name == "activation"), "")
            if place and activation:
                place = _only_user(original, place, (activation,)) or place
        if place is not None:
            classes[of] = place
    return classes


def _by_node_name(original: Dataflow, executed: Dataflow, anchors: Anchors, origins: Origins) -> dict[str, str]:
    """A node that kept its name, as it was or decorated, and lost the names of its outputs."""
    classes: dict[str, str] = {}
    known = ChainMap(classes, dict(anchors.of))
    for node in executed.nodes:
        missing = [name for name in outputs_of(node) if executed.class_of(name) not in known]
        index = origins.of(node) if missing else None
        if index is None:
            continue
        first = origins.output_class(node, known)
        if first is not None and node.output[0] in missing:
            classes[executed.class_of(node.output[0])] = first
        origin = original.nodes[index]
        if origin.op_type != node.op_type:
            continue
        for output, origin_output in zip(node.output[1:], origin.output[1:], strict=False):
            if output in missing and origin_output:
                classes[executed.class_of(output)] = original.class_of(origin_output)
    return classes


def anchor_by_value(
    anchors: Anchors,
    executed: Mapping[str, Fingerprint],
    original: Mapping[str, Fingerprint],
    candidates: Iterable[tuple[Collection[str], Collection[str]]],
) -> Anchors:
    """More anchors from measured values.

    Args:
        anchors: The existing anchors.
        executed: Fingerprints by executed class.
        original: Fingerprints by original class.
        candidates: For each part of the graph, the executed classes to anchor and the original ones to choose from.

    Only a match that is the only one in both directions counts.
    """
    classes: dict[str, str] = {}
    for unanchored, choices in candidates:
        matches: dict[str, list[str]] = {}
        taken: dict[str, list[str]] = defaultdict(list)
        for executed_class in unanchored:
            if executed_class not in executed:
                continue
            values = executed[executed_class]
            matches[executed_class] = [c for c in choices if c in original and values.matches(original[c])]
            for choice in matches[executed_class]:
                taken[choice].append(executed_class)
        for executed_class, fitting in matches.items():
            if len(fitting) == 1 and len(taken[fitting[0]]) == 1:
                classes[executed_class] = fitting[0]
    return anchors.with_further(classes, "value")
