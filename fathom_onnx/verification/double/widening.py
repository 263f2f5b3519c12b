"""A model with every float32 in it made float64: inputs, outputs, constants, and attributes that name the type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

from fathom_onnx.graph import GraphMetadata
from fathom_onnx.workloads.contract import Array

from .numbers import wide

__all__ = ["widened"]

_SINGLE, _DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE

_TYPE_ATTRIBUTES = frozenset({"to", "dtype", "stash_type", "output_dtype", "softmax_precision"})
"""Attributes whose integer is an element type."""
_SINGLE_BY_DEFAULT = {
    "EyeLike": "",
    "RandomNormal": "dtype",
    "RandomUniform": "dtype",
    "HannWindow": "output_datatype",
    "HammingWindow": "output_datatype",
    "BlackmanWindow": "output_datatype",
    "MelWeightMatrix": "output_datatype",
    "LayerNormalization": "stash_type",
    "GroupNormalization": "stash_type",
    "RMSNormalization": "stash_type",
}
"""Op types that make float32 where nothing is said, and the attribute that says it.

EyeLike has the type of its input where it says nothing.
"""


@dataclass(frozen=True)
class _Numbers:
    """What constants were before they were rounded: guessed for single numbers, and as the file says."""

    guess: bool
    told: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def wide(self, array: Array, name: str) -> Array:
        return wide(array, self.guess, self.told.get(name, ()) if self.guess else ())


def _widen_tensor(tensor: onnx.TensorProto, numbers: _Numbers, name: str) -> None:
    if tensor.data_type == _SINGLE:
        tensor.CopyFrom(numpy_helper.from_array(numbers.wide(numpy_helper.to_array(tensor), name), tensor.name))


def _widen_type(declared: onnx.TypeProto) -> None:
    kind = declared.WhichOneof("value")
    if kind == "tensor_type" and declared.tensor_type.elem_type == _SINGLE:
        declared.tensor_type.elem_type = _DOUBLE
    elif kind == "sequence_type":
        _widen_type(declared.sequence_type.elem_type)
    elif kind == "optional_type":
        _widen_type(declared.optional_type.elem_type)


def _widen_constant(node: onnx.NodeProto, numbers: _Numbers) -> None:
    """Numbers in the attributes of a Constant as a tensor, since such attributes hold float32 alone."""
    for attribute in node.attribute:
        if attribute.name in ("value_float", "value_floats"):
            held = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            tensor = numpy_helper.from_array(numbers.wide(np.asarray(held, np.float32), node.output[0]))
            attribute.CopyFrom(onnx.helper.make_attribute("value", tensor))


def _widen_nodes(nodes: Iterable[onnx.NodeProto], numbers: _Numbers) -> None:
    for node in nodes:
        if node.op_type == "Constant":
            _widen_constant(node, numbers)
        names = {attribute.name for attribute in node.attribute}
        if node.op_type == "ConstantOfShape" and "value" not in names:
            node.attribute.append(onnx.helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))
        default = _SINGLE_BY_DEFAULT.get(node.op_type)
        if default and default not in names:
            node.attribute.append(onnx.helper.make_attribute(default, _DOUBLE))
        for attribute in node.attribute:
            names_type = attribute.name in _TYPE_ATTRIBUTES or attribute.name == default
            if names_type and attribute.type == onnx.AttributeProto.INT and attribute.i == _SINGLE:
                attribute.i = _DOUBLE
            if attribute.HasField("t"):
                _widen_tensor(attribute.t, numbers, node.output[0])
            for tensor in attribute.tensors:
                _widen_tensor(tensor, numbers, "")
            if attribute.HasField("g"):
                _widen_graph(attribute.g, numbers)
            for body in attribute.graphs:
                _widen_graph(body, numbers)


def _widen_graph(graph: onnx.GraphProto, numbers: _Numbers) -> None:
    for info in (*graph.input, *graph.output, *graph.value_info):
        _widen_type(info.type)
    for tensor in graph.initializer:
        _widen_tensor(tensor, numbers, tensor.name)
    _widen_nodes(graph.node, numbers)


def widened(model: onnx.ModelProto, guess: bool = True) -> onnx.ModelProto:
    """A copy of a model with float64 in place of every float32.

    Args:
        model: The model, its weights within it.
        guess: Whether single numbers are taken for what they were before they were rounded to float32
            (:func:`.numbers.unrounded`), where the model's metadata do not say what they were. Of tensors of several
            numbers only those are that the metadata tell.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    metadata = GraphMetadata.read(model)
    numbers = _Numbers(guess, metadata.rounded if metadata else {})
    _widen_graph(made.graph, numbers)
    for function in made.functions:
        for info in function.value_info:
            _widen_type(info.type)
        _widen_nodes(function.node, numbers)
    return made
