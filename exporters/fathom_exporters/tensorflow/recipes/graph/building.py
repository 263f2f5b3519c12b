"""The lifted graph as it grows: operations with names of their own, and what of it is already known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fathom_exporters.tensorflow.fold import fold

__all__ = ["SHAPES", "Building"]

SHAPES = ("Shape", "Size", "Rank", "ShapeN")
"""Operations that read the shapes of their inputs alone."""

_SOURCES = ("Placeholder", "ReadVariableOp")

_PHASES = {"forward": 2, "loss": 2, "optimizer": 2, "gradient_tape": 3}
"""First part of a scope to its number of parts."""


class Building:
    """Builds a graph.

    Args:
        versions: Those of the graph that it is made from.

    Attributes:
        made: The graph.
    """

    def __init__(self, versions: Any) -> None:
        self.made = tf.compat.v1.GraphDef(versions=versions)
        self._nodes: dict[str, tf.compat.v1.NodeDef] = {}
        self._names: set[str] = set()
        self._varying: set[str] = set()

    def unique(self, name: str, path: str = "") -> str:
        """The name of an operation, with the path of its function after the phase and the layer."""
        if path:
            parts = name.split("/")
            count = _PHASES.get(parts[0], 0)
            name = "/".join([*parts[:count], path, *parts[count:]])
        candidate, number = name, 1
        while candidate in self._names:
            candidate, number = f"{name}_{number}", number + 1
        self._names.add(candidate)
        return candidate

    def add(self, op_type: str, name: str, inputs: Sequence[str], **types: tf.DType) -> str:
        """Add an operation with attributes of element type; its first output."""
        node = self.made.node.add(op=op_type, name=self.unique(name), input=inputs)
        self._record(node)
        for key, value in types.items():
            node.attr[key].type = tf.as_dtype(value).as_datatype_enum
        return f"{node.name}:0"

    def copy(self, node_def: Any, name: str, inputs: Sequence[str]) -> str:
        """Add an operation like another one, under a name that is unique; its name."""
        node = self.made.node.add()
        node.CopyFrom(node_def)
        node.attr.pop("_class", None)  # colocation with an operation that may be gone
        node.name = name
        del node.input[:]
        node.input.extend(inputs)
        self._record(node)
        return name

    def placeholder(self, name: str, dtype: tf.DType, shape: tf.TensorShape) -> str:
        """Add a placeholder."""
        tensor = self.add("Placeholder", name, [], dtype=dtype)
        self.made.node[-1].attr["shape"].shape.CopyFrom(shape.as_proto())
        return tensor

    def constant(self, name: str, value: Any, dtype: tf.DType) -> str:
        """Add a constant."""
        tensor = self.add("Const", name, [], dtype=dtype)
        self.made.node[-1].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
        return tensor

    def packed(self, name: str, tensors: Sequence[str], dtype: tf.DType) -> str:
        """Add a tensor of tensors, along a new first axis."""
        made = self.add("Pack", name, tensors, T=dtype)
        self.made.node[-1].attr["N"].i = len(tensors)
        return made

    def unpacked(self, name: str, tensor: str, count: int, dtype: tf.DType) -> list[str]:
        """Add the slices of a tensor along its first axis."""
        made = self.add("Unpack", name, [tensor], T=dtype)
        self.made.node[-1].attr["num"].i = count
        return [f"{made.removesuffix(':0')}:{index}" for index in range(count)]

    def select(self, name: str, condition: str, yes: str, no: str, dtype: tf.DType) -> str:
        """Add a choice by a condition."""
        return yes if yes == no else self.add("SelectV2", f"{name}/chosen", [condition, yes, no], T=dtype)

    def shape_of(self, name: str, tensor: str, dtype: tf.DType) -> list[int]:
        """The shape of a tensor.

        Raises:
            ValueError: It is not known.
        """
        shape = self.add("Shape", f"{name}/shape", [tensor], T=dtype, out_type=tf.int32)
        (value,) = self.known([(shape, tf.int32)])
        if value is None:
            raise ValueError("a tensor of unknown shape")
        return [int(size) for size in value]

    def known(self, tensors: Sequence[tuple[str, tf.DType]]) -> list[npt.NDArray[Any] | None]:
        """The values of tensors of a type; None for one that depends on an input other than by its shape."""
        asked = [(name, dtype) for name, dtype in tensors if _operation(name) not in self._varying]
        part = tf.compat.v1.GraphDef(versions=self.made.versions)
        stack, seen = [_operation(name) for name, _ in asked], set[str]()
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                part.node.add().CopyFrom(self._nodes[name])
                stack += [_operation(i) for i in self._nodes[name].input]
        ends = [part.node.add(op="Identity", name=f"known_{i}", input=[name]) for i, (name, _) in enumerate(asked)]
        for end, (_, dtype) in zip(ends, asked, strict=True):
            end.attr["T"].type = dtype.as_datatype_enum
        graph = fold(part, [], [end.name for end in ends]) if ends else None
        found = {}
        for end, (name, _) in zip(ends, asked, strict=True):
            source = graph.get_operation_by_name(end.name).inputs[0].op if graph is not None else None
            if source is not None and source.type == "Const":
                found[name] = np.asarray(tf.make_ndarray(source.get_attr("value")))
        return [found.get(name) for name, _ in tensors]

    def _record(self, node: tf.compat.v1.NodeDef) -> None:
        self._nodes[node.name] = node
        varies = node.op in _SOURCES or node.op.startswith("Random")
        if varies or (node.op not in SHAPES and any(_operation(i) in self._varying for i in node.input)):
            self._varying.add(node.name)


def _operation(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
