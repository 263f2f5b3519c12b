"""Constants of one repeated number: as scalars where that broadcasts to the same, else filled where they are used."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.values import known_shape

__all__ = ["FillLargeConstants", "UseScalars", "repeated_number"]

_BROADCASTS = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul", "Or"}
    | {"Pow", "Sub", "Sum", "Where"}
)
"""Ops whose inputs broadcast, so that a tensor of one repeated number can be that number."""

_STORED = 1024
"""Elements up to which a constant of one repeated number is stored in the file."""


def repeated_number(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """The number that all elements of a constant are, as a scalar array."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    array = value.const_value.numpy()
    first = array.reshape(-1)[:1]
    if not array.size or not (array == first).all():
        return None
    return first.reshape(())


def _initializer(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    value = ir.Value(
        name=name,
        const_value=ir.tensor(array, name=name),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        shape=ir.Shape(array.shape),
    )
    graph.register_initializer(value)
    return value


def _broadcasts_without(node: ir.Node, index: int) -> bool:
    """Whether the inputs other than ``index`` alone broadcast to the output's shape."""
    shapes = [known_shape(other) for other_index, other in enumerate(node.inputs) if other_index != index]
    known = [shape for shape in shapes if shape is not None]
    output = known_shape(node.outputs[0])
    return output is not None and len(known) == len(shapes) and np.broadcast_shapes(*known) == output


class UseScalars(ir.passes.InPlacePass):
    """A constant of one repeated number is a scalar where it is an input of an op that broadcasts.

    Exact: every element meets the same number, and the other inputs alone have the output's shape.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        graph = model.graph
        scalars: dict[tuple[str, bytes], ir.Value] = {}
        for node in graph:
            if node.op_type not in _BROADCASTS or node.domain:
                continue
            for index, value in enumerate(node.inputs):
                number = repeated_number(value)
                if number is None or known_shape(value) == () or not _broadcasts_without(node, index):
                    continue
                key = (str(number.dtype), number.tobytes())
                if key not in scalars:
                    scalars[key] = _initializer(graph, f"scalar_{len(scalars)}", number)
                node.replace_input_with(index, scalars[key])
        return ir.passes.PassResult(model, bool(scalars))


class FillLargeConstants(ir.passes.InPlacePass):
    """A large constant of one repeated number becomes a ConstantOfShape where it is used, so that no file stores it.

    Exact: the same elements. The fill is tagged as an op of its own in the phase and layer of its first user.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        graph = model.graph
        fills: dict[tuple[str, bytes, tuple[int, ...]], ir.Value] = {}
        for node in list(graph):
            for index, value in enumerate(node.inputs):
                number, shape = repeated_number(value), known_shape(value)
                if value is None or number is None or shape is None or math.prod(shape) <= _STORED:
                    continue
                key = (str(number.dtype), number.tobytes(), shape)
                if key not in fills:
                    size = _initializer(graph, f"filled_shape_{len(fills)}", np.array(shape, np.int64))
                    fill = ir.node("ConstantOfShape", [size], {"value": ir.tensor(number.reshape(1))})
                    tag = Tag.of(node)
                    if tag is not None:
                        replace(tag, op="Fill", origin=f"{tag.origin}/fill").put(fill)
                    filled = fills[key] = fill.outputs[0]
                    filled.name, filled.shape, filled.type = f"filled_{len(fills)}", value.shape, value.type
                    graph.insert_before(node, fill)
                node.replace_input_with(index, fills[key])
        return ir.passes.PassResult(model, bool(fills))
