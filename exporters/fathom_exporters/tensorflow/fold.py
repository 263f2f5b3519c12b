"""Static folding of a captured graph: whatever depends on shapes and constants only becomes a constant.

TensorFlow's own optimizer (Grappler) does that too, but it renames nodes, and the names contain the layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

__all__ = ["fold"]

_Array = npt.NDArray[Any]

_WHOLE = 1024
"""Elements up to which a filled constant is evaluated and stored whole."""

_SHAPE_OPS = ("Shape", "ShapeN", "Size", "Rank")


def _known_shape(op: tf.Operation) -> list[_Array] | None:
    """The outputs of a shape operation on tensors of static shape."""
    if op.type not in _SHAPE_OPS or not all(t.shape.is_fully_defined() for t in op.inputs):
        return None
    values = []
    for source, output in zip(op.inputs, op.outputs, strict=True):
        shape = source.shape.as_list()
        value = {"Size": int(np.prod(shape)), "Rank": len(shape)}.get(op.type, shape)
        values.append(np.array(value, output.dtype.as_numpy_dtype))
    return values


def _fits(op: tf.Operation, largest: int | None) -> bool:
    """Whether all that an operation computes has at most so many elements."""
    return largest is None or all(t.shape.num_elements() <= largest for t in op.outputs if t.shape.is_fully_defined())


def _rounds(op: tf.Operation) -> bool:
    """Whether numbers of double precision are cast to float32: the graph file says what they were."""
    return bool(
        op.type == "Cast"
        and (op.inputs[0].dtype, op.outputs[0].dtype) == (tf.float64, tf.float32)
        and op.inputs[0].shape.num_elements() != 1
    )


def _static(operations: Iterable[tf.Operation], largest: int | None) -> tuple[set[str], dict[str, _Array]]:
    """Names of operations whose outputs are constant, and those outputs already known from shapes."""
    names: set[str] = set()
    counted: set[str] = set()  # what depends on a range: other constants are filled with one number, and stay small
    shapes: dict[str, _Array] = {}
    for op in operations:  # an imported graph lists operations in topological order
        known = _known_shape(op)
        if op.type == "Range" or any(t.op.name in counted for t in op.inputs):
            counted.add(op.name)
        if known is not None:
            shapes |= {output.name: value for output, value in zip(op.outputs, known, strict=True)}
            names.add(op.name)
        elif op.type == "Const" or (
            op.inputs
            and not _rounds(op)
            and not op.op_def.is_stateful
            and all(t.op.name in names for t in op.inputs)
            and (op.name not in counted or _fits(op, largest))
        ):
            names.add(op.name)
    return names, shapes


def _without_control(graph_def: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """A copy without control dependencies."""
    copied = tf.compat.v1.GraphDef()
    copied.CopyFrom(graph_def)
    for node in copied.node:
        data = [name for name in node.input if not name.startswith("^")]
        del node.input[:]
        node.input.extend(data)
    return copied


def _import(graph_def: tf.compat.v1.GraphDef) -> tf.Graph:
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    return graph


def _source(tensor: tf.Tensor) -> tf.Tensor:
    """What a constant is made of: itself, or the number that fills it where it is large.

    What a training step adds up starts from zeros: of a recurrent network's, a gigabyte.
    """
    op, shape = tensor.op, tensor.shape
    filled = op.type == "Fill" and shape.is_fully_defined() and shape.num_elements() > _WHOLE
    return op.inputs[1] if filled else tensor


def _constant(values: _Array, tensor: tf.Tensor) -> Any:
    """A constant of some values; of one that fills a larger tensor, only that is stored."""
    shape = tensor.shape.as_list() if tensor.shape.is_fully_defined() else None
    return tf.make_tensor_proto(values, tensor.dtype, shape)


def fold(
    graph_def: tf.compat.v1.GraphDef, inputs: Iterable[str], outputs: Iterable[str], largest: int | None = None
) -> tf.Graph:
    """A graph of the same operations with the same names, without those that are constant or not needed.

    Control dependencies are dropped: the graph is pure, except for random draws, whose order does not matter.

    Args:
        graph_def: The captured graph.
        inputs: Names of operations to keep whether they are needed or not.
        outputs: Names of the operations whose results are the graph's.
        largest: Elements of the largest result of a range that becomes a constant: a larger one (a mask, a table of
            angles) is computed in the graph, which would swell otherwise. None for any.
    """
    # before anything is evaluated: the tape makes even constants depend on other operations
    graph = _import(_without_control(graph_def))
    static, shapes = _static(graph.get_operations(), largest)
    needed: set[str] = set(inputs)
    border: dict[str, tf.Tensor] = {}
    stack = [graph.get_operation_by_name(name) for name in outputs]
    while stack:
        op = stack.pop()
        if op.name in needed:
            continue
        needed.add(op.name)
        for tensor in op.inputs:
            if tensor.op.name in static:
                border[tensor.name] = tensor
            else:
                stack.append(tensor.op)

    with tf.compat.v1.Session(graph=graph) as session:
        fetched = {name: _source(tensor) for name, tensor in border.items() if name not in shapes}
        values = shapes | dict(zip(fetched, session.run(list(fetched.values()), shapes), strict=True))

    folded = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    constants: dict[str, str] = {}
    for op in graph.get_operations():
        for tensor in op.outputs:
            if tensor.name in border:
                index = tensor.value_index
                constants[tensor.name] = op.name if index == 0 else f"{op.name}/output_{index}"
                node = folded.node.add(name=constants[tensor.name], op="Const")
                node.attr["dtype"].type = tensor.dtype.as_datatype_enum
                node.attr["value"].tensor.CopyFrom(_constant(values[tensor.name], tensor))
        if op.name in needed:
            node = folded.node.add()
            node.CopyFrom(op.node_def)
            del node.input[:]
            node.input.extend(constants.get(t.name, t.name) for t in op.inputs)
            node.attr.pop("_class", None)  # colocation with an operation that may have been folded
    return _import(folded)
