"""A part of a model as a model of its own.

What the part takes becomes an input with its recorded shape, or an initializer where it was a constant in the run: a
kernel packs a constant weight before the first step, and is another kernel for one that is fed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from fathom_onnx.errors import GraphError
from fathom_onnx.graph.bodies import inputs_of, outputs_of

from .constants import constants_for
from .subjects import Subject

__all__ = ["Cut", "cut"]

_LARGEST = (1 << 31) - (1 << 20)
"""Bytes of a protobuf message, with some room for what is not weights."""


@dataclass(frozen=True)
class Cut:
    """A part of a model.

    Attributes:
        model: The part as a model.
        inputs: Its inputs and their shapes.
        constants: Its initializers and their shapes.
        drawn: The initializers whose values are random.
    """

    model: onnx.ModelProto
    inputs: dict[str, tuple[int, ...]]
    constants: dict[str, tuple[int, ...]]
    drawn: tuple[str, ...]


def cut(subject: Subject, seed: int = 0) -> Cut:
    """Cut a subject out of its model.

    Args:
        subject: What to cut out.
        seed: Of the weights whose values are not at hand.

    Raises:
        GraphError: The shape of an input is not known, or it is no tensor; or the weights are too large for a file.
    """
    made = {name for node in subject.nodes for name in outputs_of(node)}
    taken = list(dict.fromkeys(n for node in subject.nodes for n in inputs_of(node) if n not in made))
    constants, drawn = constants_for(subject, taken, seed)
    size = sum(tensor.ByteSize() for tensor in constants.values())
    if size > _LARGEST:
        raise GraphError(f"the weights of '{subject.name}' take {size:,} bytes, too many for one file", "cut out less")
    declared = _declared(subject)
    inputs = [_input(subject, name, declared) for name in taken if name not in constants]
    graph = helper.make_graph(
        [_copied(node) for node in subject.nodes],
        subject.name,
        inputs,
        [_output(subject, name, declared) for name in _results(subject)],
        list(constants.values()),
    )
    model = helper.make_model(graph, producer_name="fathom-onnx extract")
    del model.opset_import[:]
    model.opset_import.extend(subject.model.opset_import)
    model.ir_version = subject.model.ir_version
    shapes = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in inputs}
    held = {name: tuple(tensor.dims) for name, tensor in constants.items()}
    return Cut(model, shapes, held, tuple(sorted(drawn)))


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _results(subject: Subject) -> list[str]:
    """The outputs of the part: what is used outside of it, or by nothing."""
    own = {id(node) for node in subject.nodes}
    inside = {name for node in subject.nodes for name in inputs_of(node)}
    around = subject.scopes[0]
    others = {n for node in around.node if id(node) not in own for n in inputs_of(node)}
    others |= {output.name for output in around.output}
    made = [name for node in subject.nodes for name in outputs_of(node)]
    return [name for name in made if name in others or name not in inside]


def _declared(subject: Subject) -> dict[str, onnx.ValueInfoProto]:
    """What the model declares of tensors, the innermost scope first."""
    found: dict[str, onnx.ValueInfoProto] = {}
    for scope in subject.scopes:
        for info in [*scope.input, *scope.output, *scope.value_info]:
            found.setdefault(info.name, info)
    return found


def _type(subject: Subject, name: str, declared: dict[str, onnx.ValueInfoProto]) -> int:
    """ONNX's number of a tensor's element type; 0 where it is not known."""
    info = declared.get(name)
    if info is not None and info.type.tensor_type.elem_type:
        return int(info.type.tensor_type.elem_type)
    tensor = subject.tensors.get(name)
    if tensor is None or not tensor.dtype:
        return 0
    if tensor.dtype in ("object", "str"):
        return int(onnx.TensorProto.STRING)
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)))


def _input(subject: Subject, name: str, declared: dict[str, onnx.ValueInfoProto]) -> onnx.ValueInfoProto:
    info = declared.get(name)
    if info is not None and info.type.WhichOneof("value") not in (None, "tensor_type"):
        raise GraphError(f"'{subject.name}' takes '{name}', which is no tensor", "cut out a node that takes tensors")
    tensor, kind = subject.tensors.get(name), _type(subject, name, declared)
    if tensor is None or tensor.shape is None or not kind:
        raise GraphError(
            f"the shape of '{name}', which '{subject.name}' takes, is not known", "profile with every dimension given"
        )
    return helper.make_tensor_value_info(name, kind, tensor.shape)


def _output(subject: Subject, name: str, declared: dict[str, onnx.ValueInfoProto]) -> onnx.ValueInfoProto:
    info = declared.get(name)
    if info is not None and info.type.WhichOneof("value") not in (None, "tensor_type"):
        return info
    tensor, kind = subject.tensors.get(name), _type(subject, name, declared)
    if not kind:
        return helper.make_empty_tensor_value_info(name)
    # sizes are left open: with other data they may be others
    sizes = None if tensor is None or tensor.shape is None else [None] * len(tensor.shape)
    return helper.make_tensor_value_info(name, kind, sizes)
