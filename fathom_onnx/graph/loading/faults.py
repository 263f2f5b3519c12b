"""Faults of onnx's inference of shapes, and how they are kept from whoever reads a graph. They are those of onnx 1.23.

- **Crashes.** The inference of a few operators reads the type of an input without asking whether that is known, and the
  process ends. It is not known behind an operator of another domain, or behind nodes that contradict each other; so a
  small graph that is no fault of anyone would end whatever reads it. Such nodes are hidden until their inputs are
  known. Split in no parts divides by their number, and stays hidden. A test asks every version of every operator.
- **No end.** The inference of an Einsum whose equation has other characters than it may have can go on for ever. Such a
  node stays hidden.
- **A wrong default.** STFT without ``onesided`` gives half of the spectrum, and inference says all of it. The
  differential tests compare what is known of outputs with what they are.
- **Negative sizes**, of a convolution whose filter is larger than its image, for example. They are not known, or a
  contradiction.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

import onnx
import onnx.shape_inference

from fathom_onnx.graph.bodies import all_graphs, all_nodes, bodies, constants_in

__all__ = ["NEEDS_TYPES", "inferred_without_faults", "typed_in", "with_nodes_hidden"]

NEEDS_TYPES = frozenset(
    {
        ("", "EyeLike"),
        ("", "RegexFullMatch"),
        ("ai.onnx.ml", "DictVectorizer"),
        ("ai.onnx.ml", "LabelEncoder"),
        ("ai.onnx.ml", "TreeEnsemble"),
    }
)
"""Domain and type of the operators whose inference crashes where their first input has no known type."""

_HIDING = "fathom_onnx.hidden:"
"""Before the domain of a hidden node; of a domain without operators onnx infers nothing."""

_SIDES = "onesided"

_TERM = rb"[A-Za-z]*(\.\.\.)?[A-Za-z]*"
_EQUATION = re.compile(rb"%b(,%b)*(->%b)?" % (_TERM, _TERM, _TERM))
"""Equations of an Einsum, without spaces."""

Infer = Callable[[onnx.ModelProto], onnx.ModelProto]


def inferred_without_faults(model: onnx.ModelProto, infer: Infer, *, strict: bool) -> onnx.ModelProto:
    """What inference makes of a model, but for its faults.

    Args:
        model: The model, which stays as it is.
        infer: Gives a copy of a model with inferred types in it.
        strict: Whether contradictions are errors.

    Raises:
        onnx.shape_inference.InferenceError: A size would be negative, where contradictions are errors.
    """
    if any(map(_has_wrong_default, _nodes(model))):
        infer = functools.partial(_with_defaults, infer=infer)
    fails = any(_fails(node, known=False) for node in _nodes(model))
    made = with_nodes_hidden(model, infer, show=True) if fails else infer(model)
    for part in all_graphs(made.graph):
        for value in [*part.value_info, *part.output]:
            for dimension in _dimensions(value.type):
                if dimension.dim_value < 0:
                    if strict:
                        told = f"tensor '{value.name}' would have a dimension of {dimension.dim_value}"
                        raise onnx.shape_inference.InferenceError(told)
                    dimension.ClearField("dim_value")
    return made


def with_nodes_hidden(model: onnx.ModelProto, work: Infer, *, show: bool = False) -> onnx.ModelProto:
    """What some work of onnx that infers types makes of a model without the nodes at which inference can fail.

    Args:
        model: The model, which stays as it is.
        work: Gives another model, with these nodes in it, and with the types that are known.
        show: Whether nodes are shown, and the work is done again, as soon as it is known that inference does not fail.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for node in _nodes(made):
        if _fails(node, known=False):
            node.domain = _HIDING + node.domain
    domains = {node.domain for node in _nodes(made) if node.domain.startswith(_HIDING)}
    for holder in (made, *made.functions):
        holder.opset_import.extend(onnx.helper.make_opsetid(domain, 1) for domain in sorted(domains))
    made = work(made)
    while show and _shown(made.graph, set()):
        made = work(made)
    for node in _nodes(made):
        node.domain = node.domain.removeprefix(_HIDING)
    for holder in (made, *made.functions):
        kept = [entry for entry in holder.opset_import if entry.domain not in domains]
        del holder.opset_import[:]
        holder.opset_import.extend(kept)
    return made


def _with_defaults(model: onnx.ModelProto, infer: Infer) -> onnx.ModelProto:
    """What inference makes of a model with the defaults written out that it does not know."""
    given = onnx.ModelProto()
    given.CopyFrom(model)
    for node in _nodes(given):
        if _has_wrong_default(node):
            node.attribute.append(onnx.helper.make_attribute(_SIDES, 1))
    made = infer(given)
    for before, after in zip(_nodes(model), _nodes(made), strict=True):
        if _has_wrong_default(before):
            after.attribute.pop()
    return made


def typed_in(graph: onnx.GraphProto) -> set[str]:
    """Names of a graph's own tensors of which a type is known."""
    values = (v for v in [*graph.input, *graph.value_info, *graph.output] if v.type.WhichOneof("value"))
    return {value.name for value in values} | constants_in(graph)


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a model: of its graph, of its functions, and of the bodies in both."""
    for part in (model.graph, *model.functions):
        yield from all_nodes(part.node)


def _operator(node: onnx.NodeProto) -> tuple[str, str]:
    return "" if node.domain == "ai.onnx" else node.domain, node.op_type


def _fails(node: onnx.NodeProto, *, known: bool) -> bool:
    """Whether inference would crash or not end at a node, where the type of its first input is known or not."""
    operator = _operator(node)
    if operator == ("", "Split"):
        return any(a.name == "num_outputs" and a.i <= 0 for a in node.attribute)
    if operator == ("", "Einsum"):
        equations = (a.s.replace(b" ", b"") for a in node.attribute if a.name == "equation")
        return not all(_EQUATION.fullmatch(equation) for equation in equations)
    return not known and operator in NEEDS_TYPES


def _has_wrong_default(node: onnx.NodeProto) -> bool:
    return _operator(node) == ("", "STFT") and all(a.name != _SIDES for a in node.attribute)


def _shown(graph: onnx.GraphProto, around: set[str]) -> int:
    """Show the hidden nodes whose inputs have types by now; how many they are.

    Args:
        graph: The graph, with its bodies.
        around: Names of the typed tensors of the graphs around it.
    """
    typed = around | typed_in(graph)
    count = 0
    for node in graph.node:
        count += sum(_shown(body, typed) for _, body in bodies(node))
        if not node.domain.startswith(_HIDING) or not node.input or node.input[0] not in typed:
            continue
        hidden, node.domain = node.domain, node.domain.removeprefix(_HIDING)
        if _fails(node, known=True):
            node.domain = hidden
        else:
            count += 1
    return count


def _dimensions(kind: onnx.TypeProto) -> Iterator[onnx.TensorShapeProto.Dimension]:
    """The dimensions of a type, those of a sequence's elements or an optional's included."""
    match kind.WhichOneof("value"):
        case "tensor_type" | "sparse_tensor_type" as which:
            yield from getattr(kind, which).shape.dim
        case "sequence_type" | "optional_type" as which:
            yield from _dimensions(getattr(kind, which).elem_type)
