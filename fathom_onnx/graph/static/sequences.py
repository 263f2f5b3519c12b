"""Sequences: how many tensors each holds, and of what shape, where that follows from the graph.

``SplitToSequence`` of a known shape, ``SequenceConstruct``, ``SequenceInsert`` and a ``Loop`` that collects say how
long their sequence is; the length of a sequence that is fed is data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from fathom_onnx.graph.bodies import bodies
from fathom_onnx.graph.tensors import Tensor, element_type

from .values import Values

__all__ = ["Known", "KnownSequence", "declared_sequence", "made_sequences", "with_declared"]


@dataclass(frozen=True)
class KnownSequence:
    """What is known of a sequence of tensors.

    Attributes:
        length: Number of tensors, or None.
        shape: The shape that all of them have, or None where they differ or it is not known.
        elements: Elements of all of them together, or None.
        dtype: Their element type; empty where not known.
    """

    length: int | None
    shape: tuple[int, ...] | None
    elements: int | None
    dtype: str

    def as_tensor(self, name: str) -> Tensor:
        """A tensor of the same elements, for its size."""
        return Tensor(name, None if self.elements is None else (self.elements,), self.dtype)


@dataclass(frozen=True)
class Known:
    """What is known, before a run, in one body of a graph or at its top; names of what is around it included.

    Attributes:
        tensors: Shapes and types by name.
        values: Values by name.
        sequences: Sequences by name; None for what is none.
    """

    tensors: Mapping[str, Tensor]
    values: Values
    sequences: Mapping[str, KnownSequence | None]

    def sequence(self, name: str) -> KnownSequence:
        """A sequence, or one of which nothing is known."""
        return self.sequences.get(name) or KnownSequence(None, None, None, "")

    def sequences_as_tensors(self) -> dict[str, Tensor]:
        """The sequences by name, each as a tensor of the same elements, for its size."""
        return {name: one.as_tensor(name) for name, one in self.sequences.items() if one is not None}

    def tensor(self, name: str) -> Tensor:
        """A tensor, or one of which nothing is known."""
        return self.tensors.get(name) or Tensor(name, None, "")


def _of_equal(length: int | None, shape: tuple[int, ...] | None, dtype: str) -> KnownSequence:
    elements = None if length is None or shape is None else length * math.prod(shape)
    return KnownSequence(length, shape, 0 if length == 0 else elements, dtype)


def declared_sequence(info: onnx.ValueInfoProto) -> KnownSequence | None:
    """What a declaration says of a sequence: the shape of its tensors, not their number; None if it is no sequence."""
    if info.type.WhichOneof("value") != "sequence_type":
        return None
    kind = info.type.sequence_type.elem_type.tensor_type
    static = kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim)
    shape = tuple(dim.dim_value for dim in kind.shape.dim) if static else None
    return KnownSequence(None, shape, None, element_type(kind.elem_type))


def with_declared(found: KnownSequence, declared: KnownSequence | None) -> KnownSequence:
    """What was found, with the type that a graph declares where that says more."""
    if declared is None:
        return found
    full = replace(found, dtype=found.dtype or declared.dtype)
    if found.shape is None and found.elements is None and declared.shape is not None:
        return _of_equal(found.length, declared.shape, full.dtype)
    return full


def made_sequences(
    node: onnx.NodeProto, known: Known, inner: Mapping[str, Tensor], executions: int | None
) -> dict[str, KnownSequence]:
    """The sequences that a node makes, by name.

    Args:
        node: The node.
        known: What is known where it stands.
        inner: Tensors in its body, where it has one.
        executions: How often the body runs when the node runs once, or None.
    """
    kind, out = node.op_type, node.output[0] if node.output else ""
    if node.domain not in ("", "ai.onnx"):
        return {}
    if kind == "SequenceEmpty":
        return {out: KnownSequence(0, None, 0, element_type(_integer(node, "dtype", onnx.TensorProto.FLOAT)))}
    if kind == "SequenceConstruct":
        return {out: _collected([known.tensor(name) for name in node.input])}
    if kind == "SplitToSequence":
        return {out: _split(node, known)}
    if kind == "SequenceInsert":
        return {out: _inserted(known.sequence(node.input[0]), known.tensor(node.input[1]))}
    if kind == "SequenceErase":
        before = known.sequence(node.input[0])
        return {out: _of_equal(None if before.length is None else before.length - 1, before.shape, before.dtype)}
    if kind == "Identity" and known.sequences.get(node.input[0]) is not None:
        return {out: known.sequence(node.input[0])}
    if kind in ("SequenceMap", "Loop") and "body" not in dict(bodies(node)):
        return {}  # onnx's checker does not ask for one in a model to be looked at
    if kind == "SequenceMap":
        results = [inner[value.name] for value in dict(bodies(node))["body"].output]
        return {name: _of_equal(executions, r.shape, r.dtype) for name, r in zip(node.output, results, strict=False)}
    return _looped(node, known, inner, executions) if kind == "Loop" else {}


def _collected(tensors: Sequence[Tensor]) -> KnownSequence:
    shapes = {tensor.shape for tensor in tensors}
    sizes = [tensor.elements for tensor in tensors if tensor.elements is not None]
    dtype = next((tensor.dtype for tensor in tensors if tensor.dtype), "")
    total = sum(sizes) if len(sizes) == len(tensors) else None
    return KnownSequence(len(tensors), shapes.pop() if len(shapes) == 1 else None, total, dtype)


def _inserted(before: KnownSequence, tensor: Tensor) -> KnownSequence:
    length = None if before.length is None else before.length + 1
    alike = before.length == 0 or before.shape == tensor.shape
    total = None if before.elements is None or tensor.elements is None else before.elements + tensor.elements
    return KnownSequence(length, tensor.shape if alike else None, total, tensor.dtype or before.dtype)


def _split(node: onnx.NodeProto, known: Known) -> KnownSequence:
    tensor = known.tensor(node.input[0])
    if not tensor.shape:
        return KnownSequence(None, None, tensor.elements, tensor.dtype)
    axis = _integer(node, "axis", 0) % len(tensor.shape)
    size = tensor.shape[axis]
    before, after = tensor.shape[:axis], tensor.shape[axis + 1 :]
    whole = KnownSequence(None, None, tensor.elements, tensor.dtype)
    if len(node.input) < 2 or not node.input[1]:
        kept = (1,) if _integer(node, "keepdims", 1) else ()
        return replace(whole, length=size, shape=(*before, *kept, *after))
    split = known.values.get(node.input[1])
    if split is None:
        lengths = known.tensor(node.input[1]).shape
        return replace(whole, length=lengths[0]) if lengths else whole
    if split.ndim:
        parts = [int(part) for part in split]
    else:
        each = int(split)
        parts = [min(each, size - start) for start in range(0, size, each)] if each > 0 else []
    alike = len(set(parts)) == 1
    return replace(whole, length=len(parts), shape=(*before, parts[0], *after) if alike else None)


_STEPS = {"SequenceInsert": 1, "SequenceErase": -1, "Identity": 0}
"""How many tensors an op adds to the sequence that it takes."""


def _integer(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _looped(
    node: onnx.NodeProto, known: Known, inner: Mapping[str, Tensor], executions: int | None
) -> dict[str, KnownSequence]:
    """Sequences that a loop carries on: each iteration adds as many tensors as its body inserts."""
    body = dict(bodies(node))["body"]
    maker = {name: made for made in body.node for name in made.output}
    found = {}
    carried = zip(node.input[2:], body.input[2:], body.output[1:], node.output, strict=False)  # a file may say fewer
    for first, given, last, output in carried:
        before = known.sequence(first)
        name, grown, shapes = last.name, 0, {before.shape} if before.length else set()
        while name in maker and maker[name].op_type in _STEPS:
            grown += _STEPS[maker[name].op_type]
            if maker[name].op_type == "SequenceInsert":
                shapes.add(inner[maker[name].input[1]].shape)
            name = maker[name].input[0]
        if name == given.name and executions is not None and before.length is not None:
            shape = shapes.pop() if len(shapes) == 1 else None
            found[output] = _of_equal(before.length + executions * grown, shape, before.dtype)
    return found
