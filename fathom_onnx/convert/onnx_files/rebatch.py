"""Rewriting of a graph to another batch size.

It changes the first dimension of every input, the constant shapes of Reshape, Expand and ConstantOfShape that contain
the batch size, and constant initial states of recurrent layers. Then onnx infers all shapes again, and they must be
consistent.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
import onnx
from onnx import numpy_helper

from fathom_onnx.errors import GraphError, one_line
from fathom_onnx.graph import Graph, Tensor, from_model
from fathom_onnx.graph.bodies import inputs_of, outputs_of
from fathom_onnx.graph.dataflow import moves
from fathom_onnx.graph.loading.inference import inferred
from fathom_onnx.graph.static.values import array_of
from fathom_onnx.workloads.contract import Array

from .onnx_file import INITIALIZERS_ALONE, copy_of, dense

__all__ = ["batch_of", "rewrite", "sample_axis"]

_TARGETS = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}
"""Op type to the index of the input that is a shape, which can contain the batch size."""

_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,), "Expand": (0,)}
"""Op type to the indices of inputs that can be a constant initial state, with the same row for every sample."""

_ADVICE = "export the model with the batch wanted"


def batch_of(graph: Graph) -> int:
    """The batch size: the first dimension that all inputs share.

    Raises:
        GraphError: There is none.
    """
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
    """The tensors that depend on an input."""
    flow = nx.DiGraph()
    flow.add_nodes_from(t.name for t in graph.inputs)
    for node in graph.model.graph.node:
        flow.add_edges_from((source, result) for source in inputs_of(node) for result in outputs_of(node))
    inputs = [t.name for t in graph.inputs if t.shape]
    return set(inputs).union(*(nx.descendants(flow, name) for name in inputs))


def _batch_axis(target: list[int], old: int, node: onnx.NodeProto) -> int | None:
    """Index of the batch size in a target shape, or None.

    It is the first entry, or else the only one, that equals the batch size; where none does, in a Reshape, which can
    merge axes, the first entry or else the only one that is a multiple of it.

    Raises:
        GraphError: Several entries other than the first can be the batch size.
    """
    exact = [i for i, size in enumerate(target) if size == old]
    multiples = [i for i, size in enumerate(target) if size > 0 and size % old == 0 and node.op_type == "Reshape"]
    candidates = exact or multiples
    if candidates and candidates[0] != 0 and len(candidates) > 1:
        raise GraphError(
            f"node '{node.name}' ({node.op_type}) has the shape {target}, in which it is not clear what the batch "
            f"of {old} is",
            _ADVICE,
        )
    return candidates[0] if candidates else None


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The constants of a model, by name."""
    constants = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                constants[node.output[0]] = attribute.t
            elif attribute.name == "value_ints":
                constants[node.output[0]] = numpy_helper.from_array(np.array(attribute.ints, np.int64))
    return constants


def _values(constant: onnx.TensorProto, graph: Graph) -> Array:
    values = array_of(constant)
    if values is None:
        raise GraphError(f"the values of constant '{constant.name}' of graph '{graph.name}' cannot be read", _ADVICE)
    return values


def _target(node: onnx.NodeProto, shape: Array, old: int, new: int) -> Array | None:
    """The target shape of a node at the new batch size; None where it needs no change."""
    target = [int(size) for size in shape]
    if target[:1] in ([0], [-1]):
        return None  # the first size is copied from the input, or inferred
    axis = _batch_axis(target, old, node)
    if axis is None:
        return None
    target[axis] = target[axis] // old * new
    return np.array(target, np.int64)


def _state(state: Array, old: int, new: int) -> Array | None:
    """A constant initial state at the new batch size; None where it differs between samples, or has no batch axis."""
    axes = [i for i, size in enumerate(state.shape) if size == old and (state == state.take([0], i)).all()]
    return np.repeat(state.take([0], axes[0]), new, axes[0]) if len(axes) == 1 else None


def _rewritten(graph: Graph, old: int, new: int) -> onnx.ModelProto:
    model = copy_of(graph.model)
    inputs = {t.name for t in graph.inputs}
    for info in model.graph.input:
        if info.name in inputs and info.type.tensor_type.shape.dim:
            info.type.tensor_type.shape.dim[0].dim_value = new
    of_the_batch, constants = _of_the_batch(graph), _constants(model)
    taken = set(constants)
    for node in model.graph.node:
        changed: dict[int, Array | None] = {}
        position = _TARGETS.get(node.op_type)
        # the Reshape of a constant does not change; ConstantOfShape and Expand can give a constant one row per sample
        if position is not None and (node.op_type != "Reshape" or node.input[0] in of_the_batch):
            name = node.input[position]
            if name in constants and constants[name].data_type == onnx.TensorProto.INT64:
                changed[position] = _target(node, _values(constants[name], graph), old, new)
        for position in _STATES.get(node.op_type, ()):
            if len(node.input) > position and node.input[position] in constants:
                changed[position] = _state(_values(constants[node.input[position]], graph), old, new)
        for position, value in changed.items():
            if value is not None:
                name = f"{node.output[0]}.{position}.batch"
                while name in taken:  # a graph that was rewritten before
                    name += "'"
                constant = numpy_helper.from_array(value, name)
                model.graph.initializer.append(constant)
                if model.ir_version < INITIALIZERS_ALONE:
                    model.graph.input.append(
                        onnx.helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims)
                    )
                node.input[position] = constant.name
    return model


def _inferred(model: onnx.ModelProto, graph: Graph) -> Graph:
    """The rewritten model with all shapes inferred again.

    Raises:
        GraphError: The shapes are inconsistent, or that of an output cannot be inferred.
    """
    del model.graph.value_info[:]
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")
    try:
        made = inferred(dense(model), strict=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise GraphError(f"graph '{graph.name}' holds its batch as a constant ({one_line(error)})", _ADVICE) from error
    model.graph.value_info.extend(made.graph.value_info)
    for info, known in zip(model.graph.output, made.graph.output, strict=True):
        info.type.CopyFrom(known.type)
    result = from_model(model, graph.name)
    for node in result.model.graph.node:
        if not moves(node):
            continue
        sizes = [result.tensors.get(n, Tensor(n, None, "")).elements for n in (node.input[0], node.output[0])]
        if None not in sizes and sizes[0] != sizes[1]:
            raise GraphError(
                f"node '{node.name}' ({node.op_type}) of graph '{graph.name}' gets {sizes[0]} elements and gives "
                f"{sizes[1]} at the new batch",
                _ADVICE,
            )
    for tensor in result.outputs:
        if tensor.shape is None:
            raise GraphError(f"the shape of output '{tensor.name}' cannot be inferred at the new batch", _ADVICE)
    return result


def sample_axis(before: Tensor, after: Tensor, old: int, new: int) -> int | None:
    """The axis of an output that enumerates the samples, or None where its shape is the same.

    Raises:
        GraphError: The two shapes do not differ in the batch size alone.
    """
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
    """A graph at batch size ``new`` instead of ``old``.

    Raises:
        GraphError: It is not clear where the batch size occurs, or the shapes are inconsistent; the node is named.
    """
    return _inferred(_rewritten(graph, old, new), graph)
