"""The builder that lowering rules write standard nodes with: it shares constants and tags every node."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from .rounding import rounded
from .tags import Tag

__all__ = ["Builder"]


class Builder:
    """Builds the nodes that replace private ops in one graph; its tensors have names that begin with ``prefix``.

    Attributes:
        nodes: The nodes built since the last :meth:`begin`, in topological order.
    """

    def __init__(self, graph: ir.Graph, prefix: str = "lowered") -> None:
        self._graph, self._prefix = graph, prefix
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._numbers = itertools.count()
        self._tag: Tag | None = None
        self.nodes: list[ir.Node] = []

    def begin(self, tag: Tag | None) -> None:
        """Start with the next private op; the nodes built for it have its tag."""
        self._tag = tag
        self.nodes = []

    def ops(self, op_type: str, *inputs: ir.Value | None, outputs: int, **attributes: Any) -> Sequence[ir.Value]:
        """A node with several outputs."""
        node = ir.node(op_type, list(inputs), attributes or None, num_outputs=outputs)
        for value in node.outputs:
            value.name = f"{self._prefix}_{next(self._numbers)}"
        if self._tag is not None:
            self._tag.put(node)
        self.nodes.append(node)
        return node.outputs

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A node with one output."""
        return self.ops(op_type, *inputs, outputs=1, **attributes)[0]

    def constant(self, array: np.ndarray[Any, Any], dtype: np.dtype[Any] | None = None) -> ir.Value:
        """A constant tensor, one for all uses of the same values, of the array's type or another."""
        tensor = rounded(array, dtype or array.dtype)
        array = tensor.numpy()
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            value = ir.Value(
                name=f"{self._prefix}_constant_{len(self._constants)}",
                const_value=tensor,
                type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
                shape=ir.Shape(array.shape),
            )
            self._graph.register_initializer(value)
            self._constants[key] = value
        return self._constants[key]

    def ints(self, *values: int) -> ir.Value:
        """A one-dimensional int64 constant: axes, starts, a shape."""
        return self.constant(np.array(values, dtype=np.int64))

    def number(self, value: float, like: ir.Value) -> ir.Value:
        """A scalar constant of the element type of ``like``."""
        if like.dtype is None:
            raise ValueError(f"tensor '{like.name}' has no element type")
        return self.constant(np.array(value), like.dtype.numpy())

    def replace(self, node: ir.Node, *values: ir.Value) -> None:
        """Put the nodes built since :meth:`begin` in the place of a node, and values in that of its outputs."""
        for old, new in zip(node.outputs, values, strict=True):
            new.shape, new.type = old.shape, old.type
        ir.convenience.replace_nodes_and_values(self._graph, node, [node], self.nodes, list(node.outputs), values)

    def reshape(self, x: ir.Value, *shape: int) -> ir.Value:
        """``x`` with another shape."""
        return self.op("Reshape", x, self.ints(*shape))

    def reduce_sum(self, x: ir.Value, *axes: int, keepdims: bool = False) -> ir.Value:
        """Sum along ``axes``."""
        return self.op("ReduceSum", x, self.ints(*axes), keepdims=int(keepdims))

    def slice(
        self,
        x: ir.Value,
        starts: Sequence[int],
        ends: Sequence[int],
        axes: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> ir.Value:
        """Part of ``x`` along ``axes``."""
        parts = [self.ints(*starts), self.ints(*ends), self.ints(*axes)]
        if steps and any(step != 1 for step in steps):
            parts.append(self.ints(*steps))
        return self.op("Slice", x, *parts)
