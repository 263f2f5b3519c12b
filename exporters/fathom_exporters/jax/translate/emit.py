"""The writer of nodes: it gives each its tag, and makes tensors of values that are none yet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from fathom_exporters.jax.jaxprs import Place
from fathom_exporters.lowering import DOMAIN, OPSET, REPEATED, VERSION, Tag
from fathom_exporters.lowering.rounding import rounded
from fathom_onnx.workloads.contract import TensorSpec

from .values import Known, Spread, Stack, Value, dtype_of, narrow, shape_of

__all__ = ["NOWHERE", "Emit", "Result"]

NOWHERE = "?"
"""Phase and scope of a node whose place is found from its neighbours at the end."""

Result = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and element type of a result."""


class Emit:
    """Writes the nodes of one graph.

    Attributes:
        graph: The graph.
        place: Where the equation is that is translated.
        op: Its canonical op.
        repeated: Whether it repeats a part of the forward pass for the backward pass.
        summing: Whether it adds gradients of one value, each in the scope of the layer that has read the value.
        sums: The nodes that do, whose layer is that of the value.
    """

    def __init__(self, inputs: Sequence[TensorSpec], layers: Collection[str], update_op: str) -> None:
        self.inputs = [ir.Value(name=t.name, shape=ir.Shape(t.shape), type=_type(np.dtype(t.dtype))) for t in inputs]
        self.graph = ir.Graph(self.inputs, [], nodes=[], opset_imports={"": OPSET, DOMAIN: VERSION}, name="jax")
        self.place = Place(None)
        self.op = "Identity"
        self.repeated = False
        self.summing = False
        self.sums: list[ir.Node] = []
        self._layers, self._update_op = layers, update_op
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._whole: dict[int, tuple[Value, ir.Value]] = {}
        self._numbers = itertools.count()

    @property
    def in_backward(self) -> bool:
        """Whether the equation is of a derivative."""
        return self.place.phase == "backward"

    def _tag(self, number: int) -> Tag:
        phase, names = self.place.phase, self.place.names
        if phase == "optimizer":
            return Tag(phase, NOWHERE, next((n for n in names if n == "ClipGradient"), self._update_op), f"jax{number}")
        scope = next((name for name in reversed(names) if name in self._layers), None)
        if phase is None or scope is None or self.summing:
            return Tag(phase or NOWHERE, NOWHERE, self.op, f"jax{number}")
        return Tag(phase, scope, self.op, f"jax{number}")

    def constant(self, array: Known) -> ir.Value:
        """A constant tensor, one for all uses of the same values; float64 is rounded to float32."""
        dtype = narrow(array.dtype)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            tensor = rounded(array, dtype) if array.dtype != dtype else ir.Tensor(np.asarray(array, order="C"))
            made = ir.Value(
                name=f"known_{len(self._constants)}",
                const_value=tensor,
                type=_type(dtype),
                shape=ir.Shape(array.shape),
            )
            self.graph.register_initializer(made)
            self._constants[key] = made
        return self._constants[key]

    def number(self, value: float, like: Value) -> Known:
        """A known scalar of the element type of ``like``."""
        dtype = dtype_of(like)
        return np.array(value, np.float64 if dtype == np.float32 else dtype)

    def ints(self, *values: int) -> Known:
        """Known whole numbers in a row: axes, a shape."""
        return np.array(values, np.int64)

    def tensor(self, value: Value) -> ir.Value:
        """A tensor of the graph for a value: constants, rows joined, repetitions written out; once for each value."""
        if isinstance(value, ir.Value):
            return value
        if isinstance(value, np.ndarray):
            return self.constant(value)
        if id(value) not in self._whole:
            self._whole[id(value)] = (value, self._written(value))
        return self._whole[id(value)][1]

    def _written(self, value: Spread | Stack) -> ir.Value:
        before = self.op
        if isinstance(value, Spread) and math.prod(shape_of(value.base)) == math.prod(value.shape):
            self.op = "Reshape"
            made = self.tensor(self.reshape(value.base, value.shape))
        elif isinstance(value, Spread):
            self.op = "Tile"
            made = self.node("Expand", value.base, self.ints(*value.shape), shape=value.shape, dtype=dtype_of(value))
        else:
            self.op = "Concat"
            rows = [self.reshape(part, (1, *value.shape[1:])) for part in value.parts]
            made = self.node("Concat", *rows, axis=0, shape=value.shape, dtype=dtype_of(value))
        self.op = before
        return made

    def nodes(
        self, op_type: str, *inputs: Value | None, results: Sequence[Result], domain: str = "", **attributes: Any
    ) -> Sequence[ir.Value]:
        """A node with several outputs."""
        tensors = [None if value is None else self.tensor(value) for value in inputs]
        for name, value in attributes.items():
            if isinstance(value, (list, tuple)):
                attributes[name] = [int(number) for number in value]
            elif isinstance(value, np.integer):
                attributes[name] = int(value)
        node = ir.node(op_type, tensors, attributes or None, domain=domain, num_outputs=len(results))
        number = next(self._numbers)
        for index, (output, (shape, dtype)) in enumerate(zip(node.outputs, results, strict=True)):
            output.name = f"made_{number}_{index}"
            output.shape, output.type = ir.Shape(shape), _type(dtype)
        self._tag(number).put(node)
        if self.repeated:
            node.metadata_props[REPEATED] = "true"
        if self.summing:
            self.sums.append(node)
        self.graph.append(node)
        return node.outputs

    def node(
        self, op_type: str, *inputs: Value | None, shape: Sequence[int], dtype: Any, domain: str = "", **attributes: Any
    ) -> ir.Value:
        """A node with one output."""
        result = (tuple(shape), narrow(dtype))
        return self.nodes(op_type, *inputs, results=[result], domain=domain, **attributes)[0]

    def draw(self, op_type: str, result: Result) -> ir.Value:
        """Random numbers."""
        attributes: dict[str, Any] = {"shape": list(result[0])}
        return self.nodes(op_type, results=[result], **attributes)[0]

    def gradient(self, op_type: str, *inputs: Value, shape: Sequence[int], dtype: Any, **attributes: Any) -> ir.Value:
        """A canonical gradient op with one output."""
        return self.node(op_type, *inputs, shape=shape, dtype=dtype, domain=DOMAIN, **attributes)

    def pointwise(self, op_type: str, *inputs: Value, dtype: Any = None, **attributes: Any) -> Value:
        """An elementwise node, of the type of the first input by default: repeated elements are computed once."""
        whole = np.broadcast_shapes(*(shape_of(value) for value in inputs))
        bases = [value.base if isinstance(value, Spread) else value for value in inputs]
        shape = np.broadcast_shapes(*(shape_of(base) for base in bases))
        made = self.node(
            op_type, *bases, shape=shape, dtype=dtype_of(inputs[0]) if dtype is None else dtype, **attributes
        )
        return made if shape == whole else Spread(made, whole)

    def reshape(self, value: Value, shape: Sequence[int]) -> Any:
        """A value in another shape; what is known stays known."""
        if isinstance(value, np.ndarray):
            return value.reshape(shape)
        if shape_of(value) == tuple(shape):
            return self.tensor(value)
        if isinstance(value, Spread) and math.prod(shape_of(value.base)) == math.prod(shape):
            return self.reshape(value.base, shape)
        if isinstance(value, Spread) and math.prod(shape_of(value.base)) == 1:
            return Spread(self.reshape(value.base, ()), tuple(shape))
        producer = value.producer() if isinstance(value, ir.Value) else None
        if producer is not None and producer.op_type == "Reshape" and producer.inputs[0] is not None:
            return self.reshape(producer.inputs[0], shape)
        return self.node("Reshape", value, self.ints(*shape), shape=shape, dtype=dtype_of(value))

    def transpose(self, value: Value, order: Sequence[int]) -> Any:
        """A value with its axes permuted; what is known stays known."""
        if list(order) == sorted(order):
            return value
        if isinstance(value, np.ndarray):
            return value.transpose(order)
        shape = tuple(shape_of(value)[axis] for axis in order)
        if isinstance(value, Spread):
            base = value.base
            if math.prod(shape_of(base)) != 1:
                whole = self.reshape(base, _padded(shape_of(base), len(shape)))
                base = self.transpose(whole, order)
            return Spread(base, shape)
        return self.node("Transpose", value, perm=list(order), shape=shape, dtype=dtype_of(value))

    def slice(
        self, value: Value, starts: Sequence[int], ends: Sequence[int], steps: Sequence[int] | None = None
    ) -> Any:
        """Part of a value along all axes, by starts, ends and steps, which are above 0."""
        shape = shape_of(value)
        steps = list(steps or [1] * len(shape))
        if isinstance(value, np.ndarray):
            return value[tuple(map(slice, starts, ends, steps))]
        size = tuple(max(0, -(-(end - start) // step)) for start, end, step in zip(starts, ends, steps, strict=True))
        if size == shape:
            return value
        if isinstance(value, Spread) and all(
            got == whole or part == 1
            for got, whole, part in zip(size, shape, _padded(shape_of(value.base), len(shape)), strict=True)
        ):
            return Spread(value.base, size)
        axes = [axis for axis in range(len(shape)) if size[axis] != shape[axis] or steps[axis] != 1]
        parts = [[row[axis] for axis in axes] for row in (starts, ends, range(len(shape)), steps)]
        if all(step == 1 for step in parts[3]):
            parts.pop()
        return self.node("Slice", value, *(self.ints(*part) for part in parts), shape=size, dtype=dtype_of(value))


def _padded(shape: Sequence[int], rank: int) -> list[int]:
    return [1] * (rank - len(shape)) + list(shape)


def _type(dtype: np.dtype[Any]) -> ir.TensorType:
    return ir.TensorType(ir.DataType.from_numpy(dtype))
