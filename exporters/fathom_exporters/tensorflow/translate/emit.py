"""The emitter that handlers replace a TensorFlow operation with, within tf2onnx's graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto
from tf2onnx.graph import Graph, Node
from tf2onnx.utils import make_name, map_onnx_to_numpy_type

from fathom_exporters.lowering import DOMAIN

__all__ = ["Emit", "Handler"]


class Emit:
    """Builds the nodes that replace one TensorFlow operation.

    A handler ends with the replacement: by one node (:meth:`replace`), or by tensors of earlier nodes
    (:meth:`become`).

    Args:
        graph: tf2onnx's graph.
        node: The operation in it.
        stock: Replaces the operation by tf2onnx's own handler.
    """

    def __init__(self, graph: Graph, node: Node, stock: Callable[[], None]) -> None:
        self._graph, self._node, self.stock = graph, node, stock
        self.inputs: list[str] = list(node.input)

    @property
    def name(self) -> str:
        """The operation's name."""
        return str(self._node.name)

    @property
    def type(self) -> str:
        """The operation's type."""
        return str(self._node.type)

    def dtype(self, tensor: str) -> int:
        """A tensor's element type, as ONNX numbers it."""
        return int(self._graph.get_dtype(tensor))

    def shape(self, tensor: str) -> list[int]:
        """The static shape of a tensor.

        Raises:
            ValueError: It is not static.
        """
        shape = self._graph.get_shape(tensor)
        if shape is None or any(dim is None or dim < 0 for dim in shape):
            raise ValueError(f"tensor '{tensor}' has no static shape")
        return [int(dim) for dim in shape]

    @property
    def output_shape(self) -> list[int]:
        """The static shape of the first output."""
        return self.shape(self._node.output[0])

    def shape_of_output(self, index: int) -> list[int]:
        """The static shape of an output."""
        return self.shape(self._node.output[index])

    @property
    def output_dtype(self) -> int:
        """The first output's element type, as ONNX numbers it."""
        return int(self._graph.get_dtype(self._node.output[0]))

    def dtype_of_output(self, index: int) -> int:
        """An output's element type, as ONNX numbers it."""
        return int(self._graph.get_dtype(self._node.output[index]))

    def is_used(self, output: int) -> bool:
        """Whether anything reads an output."""
        name = self._node.output[output]
        return name in self._graph.outputs or bool(self._graph.find_output_consumers(name))

    def readers(self) -> list[str]:
        """Types of the operations that read the first output."""
        return [str(node.type) for node in self._graph.find_output_consumers(self._node.output[0])]

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute; text as ``str``."""
        value = self._node.get_attr_value(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def static(self, index: int) -> np.ndarray:
        """The value of a constant input.

        Raises:
            ValueError: The input is not constant.
        """
        source = self._graph.get_node_by_output(self.inputs[index])
        if source is None or not source.is_const():
            raise ValueError(f"input {index} of {self._node.type} is not constant")
        return np.asarray(source.get_tensor_value(as_list=False))

    def constant(self, value: Any, dtype: Any) -> str:
        """A constant tensor."""
        array = np.asarray(value, dtype)
        return str(self._graph.make_const(make_name(f"{self._node.name}/constant"), array).output[0])

    def ints(self, values: Sequence[int]) -> str:
        """A one-dimensional int64 constant: axes, a shape."""
        return self.constant(values, np.int64)

    def number(self, value: Any, like: str) -> str:
        """A constant, a scalar or an array, of the element type of ``like``."""
        return self.constant(value, map_onnx_to_numpy_type(self._graph.get_dtype(like)))

    def op(self, op_type: str, *inputs: str, shape: Sequence[int], dtype: int | None = None, **attributes: Any) -> str:
        """A node with one output of ``shape``, of the element type of the first input unless ``dtype`` is given."""
        node = self._graph.make_node(
            op_type,
            list(inputs),
            attr=attributes,
            name=make_name(f"{self._node.name}/{op_type}"),
            shapes=[list(shape)],
            dtypes=[self._graph.get_dtype(inputs[0]) if dtype is None else dtype],
        )
        return str(node.output[0])

    def op_with_outputs(
        self,
        op_type: str,
        *inputs: str,
        shapes: Sequence[Sequence[int]],
        dtypes: Sequence[int],
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        """A node with one output for each of ``shapes`` and ``dtypes``."""
        node = self._graph.make_node(
            op_type,
            list(inputs),
            attr=attributes,
            name=make_name(f"{self._node.name}/{op_type}"),
            output_count=len(shapes),
            shapes=[list(shape) for shape in shapes],
            dtypes=list(dtypes),
            domain=domain,
        )
        return [str(name) for name in node.output]

    def unary(self, op_type: str, x: str) -> str:
        """An elementwise node of one input."""
        return self.op(op_type, x, shape=self.shape(x))

    def cast(self, x: str, dtype: int) -> str:
        """``x`` of another element type."""
        return x if self.dtype(x) == dtype else self.op("Cast", x, shape=self.shape(x), dtype=dtype, to=dtype)

    def compare(self, op_type: str, x: str, y: str) -> str:
        """A comparison of two tensors, with broadcasting."""
        shape = np.broadcast_shapes(tuple(self.shape(x)), tuple(self.shape(y)))
        return self.op(op_type, x, y, shape=shape, dtype=TensorProto.BOOL)

    def where(self, condition: str, x: str, y: str) -> str:
        """``x`` where the condition is true, else ``y``, with broadcasting."""
        shape = np.broadcast_shapes(*(tuple(self.shape(tensor)) for tensor in (condition, x, y)))
        return self.op("Where", condition, x, y, shape=shape, dtype=self.dtype(x))

    def binary(self, op_type: str, x: str, y: str) -> str:
        """An elementwise node of two inputs, with broadcasting."""
        return self.op(op_type, x, y, shape=np.broadcast_shapes(tuple(self.shape(x)), tuple(self.shape(y))))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """``x`` with another shape."""
        return self.op("Reshape", x, self.ints(shape), shape=shape)

    def transpose(self, x: str, perm: Sequence[int]) -> str:
        """``x`` with its axes permuted."""
        shape = self.shape(x)
        return self.op("Transpose", x, shape=[shape[axis] for axis in perm], perm=list(perm))

    def private(self, op_type: str, *inputs: str, shapes: Sequence[Sequence[int]], **attributes: Any) -> list[str]:
        """A canonical gradient op with one output for each of ``shapes``."""
        dtypes = [self._graph.get_dtype(inputs[0])] * len(shapes)
        return self.op_with_outputs(op_type, *inputs, shapes=shapes, dtypes=dtypes, domain=DOMAIN, **attributes)

    def replace(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> None:
        """Replace the operation by one node with the same first output."""
        node, graph = self._node, self._graph
        output, shape, dtype = node.output[0], node.output_shapes[0], node.output_dtypes[0]
        graph.remove_node(node.name)
        graph.make_node(
            op_type,
            list(inputs),
            attr=attributes,
            outputs=[output],
            name=node.name,
            shapes=[shape],
            dtypes=[dtype],
            domain=domain,
        )

    def become(self, *tensors: str | None) -> None:
        """Replace the operation's outputs by ``tensors``; None for one that nothing reads."""
        node, graph = self._node, self._graph
        rows = list(zip(node.output, node.output_shapes, node.output_dtypes, strict=True))
        graph.remove_node(node.name)
        for (output, shape, dtype), tensor in zip(rows, tensors, strict=False):
            if tensor is not None:
                graph.make_node(
                    "Identity",
                    [tensor],
                    outputs=[output],
                    name=make_name(f"{node.name}/Identity"),
                    shapes=[shape],
                    dtypes=[dtype],
                )


Handler = Callable[[Emit], None]
"""Replaces one TensorFlow operation by ONNX nodes."""
