"""Shapes that follow from the lengths of sequences: of what is joined, and of what a body takes one by one."""

from __future__ import annotations

import numpy as np
import onnx

from fathom_onnx.graph.bodies import TOP, Body, all_nodes, bodies
from fathom_onnx.graph.static.known import known_by_body
from fathom_onnx.graph.static.sequences import KnownSequence
from fathom_onnx.graph.static.values import opset_of

__all__ = ["fill_sequences"]


def fill_sequences(model: onnx.ModelProto) -> bool:
    """Give a model the shapes that follow from the lengths of its sequences, in place; whether there was any to give.

    They are those of what ``ConcatFromSequence`` joins and of the tensors that a ``SequenceMap`` hands to its body.
    """
    if not any("Sequence" in node.op_type for node in all_nodes(model.graph.node)):
        return False
    known = known_by_body(model.graph, opset_of(model))
    count, filled = 0, False

    def walk(part: onnx.GraphProto, where: Body) -> None:
        nonlocal count, filled
        infos = {info.name: info for info in [*part.value_info, *part.output]}
        for node in part.node:
            index = count
            count += 1
            given = known[where].sequences.get(node.input[0]) if node.input else None
            if node.op_type == "ConcatFromSequence" and given is not None:
                filled |= _give(part, infos.get(node.output[0]), node.output[0], _joined(node, given), given.dtype)
            for name, body in bodies(node):
                if node.op_type == "SequenceMap":
                    for value, outer in zip(body.input, node.input, strict=False):
                        one = known[where].sequences.get(outer) or known[where].tensors.get(outer)
                        if one is not None and value.type.WhichOneof("value") in (None, "tensor_type"):
                            filled |= _give(body, value, value.name, one.shape, one.dtype)
                walk(body, (index, name))

    walk(model.graph, TOP)
    return filled


def _joined(node: onnx.NodeProto, given: KnownSequence) -> tuple[int, ...] | None:
    """The shape of a sequence's tensors joined along an axis, or along a new one."""
    if given.length is None or given.shape is None:
        return None
    attributes = {a.name: int(a.i) for a in node.attribute}
    new, rank = attributes.get("new_axis", 0), len(given.shape)
    axis = attributes["axis"] % (rank + (1 if new else 0)) if rank or new else 0
    if new:
        return (*given.shape[:axis], given.length, *given.shape[axis:])
    return (*given.shape[:axis], given.length * given.shape[axis], *given.shape[axis + 1 :]) if rank else None


def _give(
    part: onnx.GraphProto, info: onnx.ValueInfoProto | None, name: str, shape: tuple[int, ...] | None, dtype: str
) -> bool:
    """Declare a tensor's shape where it has none; whether it had none."""
    if shape is None or not dtype:
        return False
    if info is None:
        info = part.value_info.add(name=name)
    kind = info.type.tensor_type
    if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
        return False
    number = kind.elem_type or onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    info.type.CopyFrom(onnx.helper.make_tensor_type_proto(number, shape))
    return True
