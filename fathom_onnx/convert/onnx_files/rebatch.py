"""A graph rewritten to another batch size.

Changed are the first dimension of every input, the constants that reshape, expand or fill to a shape with the batch in
it, and the constant that a recurrent layer starts from for every sample. Then all shapes are inferred again by onnx and
must agree with each other.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
import onnx
from onnx import numpy_helper

from fathom_onnx.errors import GraphError, one_line
from fathom_onnx.graph import Graph, Tensor, from_model
from fathom_onnx.graph.dataflow import inputs_of, moves, outputs_of
from fathom_onnx.workloads.contract import Array

from .onnx_file import copy_of

__all__ = ["batch_of", "rewrite", "sample_axis"]

_TARGETS = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}
"""Op type to the input that is a shape, in which the batch can stand as a number."""

_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,), "Expand": (0,)}
"""Op type to the inputs that can be a constant with the same row for every sample: where a recurrent layer starts."""

_ADVICE = "export the model with the batch wanted"


def batch_of(graph: Graph) -> int:
    """The first dimension that all inputs share."""
    firsts = {t.name: t.shape[0] for t in graph.inputs if t.shape}
    if not firsts:
        raise GraphError(f"graph '{graph.name}' has no input with a batch", "give a graph whose inputs have dimensions")
    if len(set(firsts.values())) > 1:
        shown = ", ".join(f"'{name}' {first}" for name, first in firsts.items())
        raise GraphError(
            f"the inputs of graph '{graph.name}' have different first dimensions ({shown})",
            "give a graph whose inputs all begin with the batch",
        )
    return next(iter(firsts.values()))


def _of_the_batch(graph: Graph) -> set[str]:
    """The tensors that are made from a fed value."""
    flow = nx.DiGraph()
    flow.add_nodes_from(t.name for t in graph.inputs)
    for node in graph.model.graph.node:
        flow.add_edges_from((taken, made) for taken in inputs_of(node) for made in outputs_of(node))
    fed = [t.name for t in graph.inputs if t.shape]
    return set(fed).union(*(nx.descendants(flow, name) for name in fed))


def _place(target: list[int], old: int, node: onnx.NodeProto) -> int | None:
    """Which entry of a shape holds the batch, or None.

    The first one where it is the batch, else the only one that is; in a Reshape, which can join axes, else the first or
    only multiple of it.
    """
    exact = [i for i, size in enumerate(target) if size == old]
    multiples = [i for i, size in enumerate(target) if size > 0 and size % old == 0 and node.op_type == "Reshape"]
    found = exact or multiples
    if found and found[0] != 0 and len(found) > 1:
        raise GraphError(
            f"node '{node.name}' ({node.op_type}) has the shape {target}, in which it is not clear what the batch "
            f"of {old} is",
            _ADVICE,
        )
    return found[0] if found else None


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The constants of a model, by name."""
    found = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                found[node.output[0]] = attribute.t
            elif attribute.name == "value_ints":
                found[node.output[0]] = numpy_helper.from_array(np.array(attribute.ints, np.int64))
    return found


def _target(node: onnx.NodeProto, was: Array, old: int, new: int) -> Array | None:
    """The shape that a node is given, at the new batch; None where it needs no change."""
    target = [int(size) for size in was]
    if target[:1] in ([0], [-1]):
        return None  # the first size is taken over from the input, or inferred
    entry = _place(target, old, node)
    if entry is None:
        return None
    target[entry] = target[entry] // old * new
    return np.array(target, np.int64)


def _state(was: Array, old: int, new: int) -> Array | None:
    """A constant that is the same for every sample, at the new batch; None where it is not, or has no batch."""
    axes = [i for i, size in enumerate(was.shape) if size == old and (was == was.take([0], i)).all()]
    return np.repeat(was.take([0], axes[0]), new, axes[0]) if len(axes) == 1 else None


def _rewritten(graph: Graph, old: int, new: int) -> onnx.ModelProto:
    model = copy_of(graph.model)
    fed = {t.name for t in graph.inputs}
    for info in model.graph.input:
        if info.name in fed and info.type.tensor_type.shape.dim:
            info.type.tensor_type.shape.dim[0].dim_value = new
    of_the_batch, constants = _of_the_batch(graph), _constants(model)
    for node in model.graph.node:
        changed: dict[int, Array | None] = {}
        place = _TARGETS.get(node.op_type)
        # a constant is reshaped as it was; filling and expanding can make a row a sample of one
        if place is not None and (node.op_type != "Reshape" or node.input[0] in of_the_batch):
            name = node.input[place]
            if name in constants and constants[name].data_type == onnx.TensorProto.INT64:
                changed[place] = _target(node, numpy_helper.to_array(constants[name]), old, new)
        for place in _STATES.get(node.op_type, ()):
            if len(node.input) > place and node.input[place] in constants:
                changed[place] = _state(numpy_helper.to_array(constants[node.input[place]]), old, new)
        for place, value in changed.items():
            if value is not None:
                made = numpy_helper.from_array(value, f"{node.output[0]}.{place}.batch")
                model.graph.initializer.append(made)
                node.input[place] = made.name
    return model


def _inferred(model: onnx.ModelProto, graph: Graph) -> Graph:
    """The rewritten model with all shapes inferred anew, which have to agree with each other."""
    del model.graph.value_info[:]
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")
    try:
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise GraphError(f"graph '{graph.name}' holds its batch as a constant ({one_line(error)})", _ADVICE) from error
    made = from_model(model, graph.name)
    for node in made.model.graph.node:
        if not moves(node):
            continue
        sizes = [made.tensors.get(n, Tensor(n, None, "")).elements for n in (node.input[0], node.output[0])]
        if None not in sizes and sizes[0] != sizes[1]:
            raise GraphError(
                f"node '{node.name}' ({node.op_type}) of graph '{graph.name}' gets {sizes[0]} elements and gives "
                f"{sizes[1]} at the new batch",
                _ADVICE,
            )
    for tensor in made.outputs:
        if tensor.shape is None:
            raise GraphError(f"the shape of output '{tensor.name}' cannot be inferred at the new batch", _ADVICE)
    return made


def sample_axis(before: Tensor, after: Tensor, old: int, new: int) -> int | None:
    """The axis of an output along which the samples lie, or None where its shape is the same."""
    if before.shape is None or after.shape is None or len(before.shape) != len(after.shape):
        raise GraphError(f"output '{after.name}' has another rank at the new batch", _ADVICE)
    changed = [i for i, (a, b) in enumerate(zip(before.shape, after.shape, strict=True)) if a != b]
    if len(changed) > 1 or any(before.shape[i] * new != after.shape[i] * old for i in changed):
        raise GraphError(
            f"output '{after.name}' is {list(before.shape)} at batch {old} and {list(after.shape)} at batch {new}",
            _ADVICE,
        )
    return changed[0] if changed else None


def rewrite(graph: Graph, old: int, new: int) -> Graph:
    """A graph at batch ``new`` instead of ``old``, its shapes consistent.

    Raises:
        GraphError: It is not clear where the batch is, or the shapes contradict each other; the node is named.
    """
    return _inferred(_rewritten(graph, old, new), graph)
