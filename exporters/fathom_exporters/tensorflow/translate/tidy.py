"""Taking out what tracing leaves behind: arithmetic with 0 and 1, whole tensors of one number, separate bias sums.

The pass that follows for every framework takes out identities, empty moves, duplicates and dead nodes.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from fathom_exporters.lowering import Tag

__all__ = ["tidy"]

_BROADCASTS = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul", "Or"}
    | {"Pow", "Sub", "Sum", "Where"}
)
"""Ops whose inputs broadcast, so that a tensor of one number can be that number."""

_HELD = 1024
"""Elements up to which a constant of one number is held as it is."""

_NEUTRAL: dict[str, tuple[float, tuple[int, ...]]] = {
    "Add": (0.0, (0, 1)),
    "Sub": (0.0, (1,)),
    "Mul": (1.0, (0, 1)),
    "Div": (1.0, (1,)),
}
"""Op to the number that changes nothing and the inputs where that holds."""


def _static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(int(dim) for dim in value.shape.numpy())


def _one_number(value: ir.Value | None) -> np.ndarray | None:
    """The number that a constant consists of, as a scalar array."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    array = value.const_value.numpy()
    first = array.reshape(-1)[:1]
    if not array.size or not (array == first).all():
        return None
    return first.reshape(())


def _shrink(graph: ir.Graph) -> None:
    """Replace constants of one number by scalars where broadcasting gives the same result."""
    scalars: dict[tuple[str, bytes], ir.Value] = {}
    for node in graph:
        if node.op_type not in _BROADCASTS or node.domain:
            continue
        wanted = _static_shape(node.outputs[0])
        for index, value in enumerate(node.inputs):
            number = _one_number(value)
            if number is None or _static_shape(value) == ():
                continue
            rest = [_static_shape(other) for place, other in enumerate(node.inputs) if place != index]
            if wanted is None or any(shape is None for shape in rest):
                continue
            if np.broadcast_shapes(*(shape for shape in rest if shape is not None)) != wanted:
                continue
            key = (str(number.dtype), number.tobytes())
            if key not in scalars:
                scalars[key] = _initializer(graph, f"scalar_{len(scalars)}", number)
            node.replace_input_with(index, scalars[key])


def _initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    value = ir.Value(
        name=name,
        const_value=ir.tensor(array, name=name),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        shape=ir.Shape(array.shape),
    )
    graph.register_initializer(value)
    return value


def _drop_neutral(graph: ir.Graph) -> None:
    """Let ``x + 0``, ``x - 0``, ``x * 1`` and ``x / 1`` be x. The numbers must be exact: 1e-8 is not 0."""
    for node in list(graph):
        if node.domain or node.op_type not in _NEUTRAL:
            continue
        neutral, places = _NEUTRAL[node.op_type]
        for index in places:
            kept = node.inputs[1 - index]
            number = _one_number(node.inputs[index])
            if number is None or number != neutral or kept is None or kept.shape != node.outputs[0].shape:
                continue
            if node.outputs[0].is_graph_output():
                continue
            ir.convenience.replace_all_uses_with(node.outputs[0], kept)
            graph.remove(node, safe=True)
            break


def _bias(value: ir.Value | None, channels: int) -> ir.Value | None:
    """The graph input [channels] that ``value`` is, as it is or as [channels, 1, 1]."""
    maker = value.producer() if value is not None else None
    if maker is not None and maker.op_type == "Reshape" and _static_shape(value) == (channels, 1, 1):
        value = maker.inputs[0]
    return value if value is not None and value.is_graph_input() and _static_shape(value) == (channels,) else None


def _fuse_bias(graph: ir.Graph) -> None:
    """Let a Gemm or Conv add the bias that is added to its result and nowhere else."""
    for node in list(graph):
        if node.op_type != "Add" or node.domain:
            continue
        result, added = node.inputs
        maker = result.producer() if result is not None else None
        shape = _static_shape(result)
        if maker is None or maker.op_type not in ("Gemm", "Conv") or len(maker.inputs) != 2 or maker.domain:
            continue
        if shape is None or len(list(maker.outputs[0].uses())) != 1:
            continue
        bias = _bias(added, shape[1])
        if bias is None or len(_static_shape(added) or ()) != len(shape) - 1:
            continue
        fused = ir.node(
            maker.op_type, [*maker.inputs, bias], maker.attributes, metadata_props=dict(maker.metadata_props)
        )
        ir.convenience.replace_nodes_and_values(
            graph, node, [maker, node], [fused], [node.outputs[0]], [fused.outputs[0]]
        )


def _fill(graph: ir.Graph) -> None:
    """Make a large constant of one number where it is needed, so that the file does not hold it."""
    made: dict[tuple[str, bytes, tuple[int, ...]], ir.Value] = {}
    for node in list(graph):
        for index, value in enumerate(node.inputs):
            number, shape = _one_number(value), _static_shape(value)
            if value is None or number is None or shape is None or math.prod(shape) <= _HELD:
                continue
            key = (str(number.dtype), number.tobytes(), shape)
            if key not in made:
                size = _initializer(graph, f"filled_shape_{len(made)}", np.array(shape, np.int64))
                filled = ir.node("ConstantOfShape", [size], {"value": ir.tensor(number.reshape(1))})
                tag = Tag.of(node)
                if tag is not None:
                    replace(tag, op="Fill", origin=f"{tag.origin}/fill").put(filled)
                made[key] = filled.outputs[0]
                made[key].name, made[key].shape, made[key].type = f"filled_{len(made)}", value.shape, value.type
                graph.insert_before(node, filled)
            node.replace_input_with(index, made[key])


def tidy(model: ir.Model) -> None:
    """Tidy ``model`` in place."""
    graph = model.graph
    _shrink(graph)
    _drop_neutral(graph)
    _fuse_bias(graph)
    _fill(graph)
    common.RemoveUnusedNodesPass()(model)
