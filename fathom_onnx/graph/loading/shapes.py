"""Shapes of a model's tensors: inferred, not believed.

A file may declare shapes that its graph does not have: a batch size edited at the input alone, an output that kept an
older one. So whatever it declares for tensors between nodes and for outputs is set aside, and shapes come, in this
order, from onnx's inference, from onnxruntime's for what is left (operators that only it has, sizes behind constants
that it folds), from the file's own declarations for what neither knows, and from the lengths of sequences. If one
declaration contradicts what was inferred, none of the file's is used.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.shape_inference

from fathom_onnx.graph.bodies import all_graphs, bodies, outputs_of

from .contrib_shapes import shapes_by_onnxruntime
from .inference import inferred, open_tensors, types_of
from .sequence_shapes import fill_sequences

__all__ = ["infer_shapes"]

_Types = dict[str, onnx.TypeProto]

_ROUNDS = 8
"""How often what follows from the lengths of sequences is followed on: sequences made of what others hold."""


def infer_shapes(model: onnx.ModelProto) -> None:
    """Infer the shapes of a model's tensors anew, in place.

    ``value_info`` and the types of outputs, those of bodies included, become what was inferred; a tensor of which
    nothing is known has none.
    """
    declared = [_declared(part) for part in all_graphs(model.graph)]
    _infer_anew(model)
    parts = list(zip(declared, all_graphs(model.graph), strict=True))
    if any(_contradicts(known, part) for known, part in parts) or any(_contradicting_inputs(model.graph)):
        if _forget_body_inputs(model):
            _infer_anew(model)
    elif sum(_fill(known, part) for known, part in parts):
        _infer(model)
    for _ in range(_ROUNDS):
        if not fill_sequences(model):
            break
        _infer(model)


def _infer_anew(model: onnx.ModelProto) -> None:
    _forget(model)
    _infer(model)
    if any(open_tensors(model.graph)):
        _ask_onnxruntime(model)


def _declared(part: onnx.GraphProto) -> _Types:
    """What a graph declares of the tensors that its nodes make."""
    made = {name for node in part.node for name in outputs_of(node)}
    types: _Types = {}
    for value in [*part.value_info, *part.output]:
        if value.name in made:
            types[value.name] = onnx.TypeProto.FromString(value.type.SerializeToString())
    return types


def _forget(model: onnx.ModelProto) -> None:
    """Take away every shape but those of inputs and initializers; outputs keep their element types."""
    for part in all_graphs(model.graph):
        made = {name for node in part.node for name in outputs_of(node)}
        del part.value_info[:]
        for value in part.output:
            if value.name in made and value.type.WhichOneof("value") == "tensor_type":
                value.type.tensor_type.ClearField("shape")


def _forget_body_inputs(model: onnx.ModelProto) -> bool:
    """Take away the shapes that bodies declare for their own inputs, as old as the others; whether there were any."""
    inputs = [value for part in list(all_graphs(model.graph))[1:] for value in part.input]
    shaped = [value.type.tensor_type for value in inputs if value.type.tensor_type.HasField("shape")]
    for tensor in shaped:
        tensor.ClearField("shape")
    return bool(shaped)


def _infer(model: onnx.ModelProto) -> None:
    """Write what onnx infers into a model."""
    given = onnx.ModelProto()
    given.CopyFrom(model)
    for part in all_graphs(given.graph):
        # to a runtime these are dense tensors; their values do not matter here
        part.initializer.extend(
            onnx.TensorProto(
                name=t.values.name, data_type=t.values.data_type, dims=t.dims, data_location=onnx.TensorProto.EXTERNAL
            )
            for t in part.sparse_initializer
        )
        del part.sparse_initializer[:]
    try:
        made = inferred(given)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        # following values through the graph fails as a whole where one of them cannot be computed
        made = inferred(given, follow=False)
    for part, known in zip(all_graphs(model.graph), all_graphs(made.graph), strict=True):
        del part.value_info[:]
        part.value_info.extend(known.value_info)
        for value, output in zip(part.output, known.output, strict=True):
            value.type.CopyFrom(output.type)


def _ask_onnxruntime(model: onnx.ModelProto) -> None:
    """Let onnxruntime infer what is open, where it may know more than onnx, and go on from there."""
    graph = model.graph
    made_by = {name: node for node in graph.node for name in outputs_of(node)}
    sizes_missing = any(not d.HasField("dim_value") for i in graph.input for d in i.type.tensor_type.shape.dim)
    wanted = list(open_tensors(graph))
    # with open sizes most shapes are open for good; only operators that onnx does not have are worth the question
    if sizes_missing and all(_has_schema(made_by[name]) for name in wanted):
        return
    answers = {value.name: value.type for value in shapes_by_onnxruntime(model, wanted)}
    if _fill(answers, graph):
        _infer(model)


def _has_schema(node: onnx.NodeProto) -> bool:
    return bool(onnx.defs.has(node.op_type, node.domain if node.domain != "ai.onnx" else ""))


def _contradicts(declared: _Types, part: onnx.GraphProto) -> bool:
    """Whether a declared shape cannot be one that was inferred."""
    known = types_of(part)
    return any(name in known and _differ(kind, known[name]) for name, kind in declared.items())


def _differ(one: onnx.TypeProto, other: onnx.TypeProto) -> bool:
    """Whether two types are of tensors whose shapes cannot be equal."""
    a, b = one.tensor_type, other.tensor_type
    if not a.HasField("shape") or not b.HasField("shape"):
        return False
    if len(a.shape.dim) != len(b.shape.dim):
        return True
    pairs = zip(a.shape.dim, b.shape.dim, strict=True)
    return any(x.HasField("dim_value") and y.HasField("dim_value") and x.dim_value != y.dim_value for x, y in pairs)


def _contradicting_inputs(part: onnx.GraphProto) -> Iterator[bool]:
    """For every body that declares shapes of state, whether they contradict what is handed to it."""
    known = {**types_of(part), **{value.name: value.type for value in part.input}}
    for node in part.node:
        for _, body in bodies(node):
            if node.op_type == "Loop":
                pairs = zip(node.input[2:], body.input[2:], strict=False)
                yield any(name in known and _differ(known[name], value.type) for name, value in pairs)
            yield from _contradicting_inputs(body)


def _fill(known: _Types, part: onnx.GraphProto) -> bool:
    """Give tensors of a graph whose shape is open what is known of it; whether there was any to give."""
    there = {value.name: value for value in [*part.value_info, *part.output]}
    filled = False
    for name in list(open_tensors(part)):
        kind = known.get(name)
        if kind is None or kind.WhichOneof("value") is None:
            continue
        if name not in there or there[name].type.WhichOneof("value") is None:
            place = there.get(name) or part.value_info.add(name=name)
            place.type.CopyFrom(kind)
            filled = True
        elif kind.WhichOneof("value") == "tensor_type":
            filled |= _complete(there[name].type.tensor_type, kind.tensor_type)
    return filled


def _complete(tensor: onnx.TypeProto.Tensor, known: onnx.TypeProto.Tensor) -> bool:
    """Give a tensor's type the sizes that it lacks; whether there was any to give."""
    if not known.HasField("shape"):
        return False
    if not tensor.HasField("shape"):
        tensor.shape.CopyFrom(known.shape)
        return True
    given = False
    for dim, other in zip(tensor.shape.dim, known.shape.dim, strict=False):
        if other.HasField("dim_value") and not dim.HasField("dim_value"):
            dim.dim_value = other.dim_value
            given = True
    return given
