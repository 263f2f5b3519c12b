"""The matrix products of a node: the work of a systolic array, or of any tool that knows only [m, k] x [k, n].

A convolution is the product of its unrolled windows (im2col) with its filters: m = batch x output positions,
n = filters, k = channels x kernel elements, once for each group. This also holds for the gradients in the form they
have in a graph. A filter gradient, written as a convolution of the input by the output's gradient (batch and channels
swapped, stride as dilation), has m = channels x kernel elements, n = filters, k = batch x output positions, which is
the product that defines it. An input gradient, written as a transposed convolution, has m = batch x output positions,
n = channels x kernel elements, k = filters. Zeros between dilated elements are not counted.

The products of a node have exactly the multiply-accumulates of :mod:`fathom_onnx.analysis.cost.node_costs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from fathom_onnx.graph import Tensor

__all__ = ["FORMS", "MatrixProduct", "products"]


@dataclass(frozen=True)
class MatrixProduct:
    """``times`` independent products [m, k] x [k, n]."""

    m: int
    n: int
    k: int
    times: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all of them."""
        return self.m * self.n * self.k * self.times


@dataclass(frozen=True)
class NodeShapes:
    """A node with known shapes: its attributes, the shapes of its inputs and of its first output."""

    attributes: Mapping[str, Any]
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]


Form = Callable[[NodeShapes], tuple[MatrixProduct, ...] | None]
"""From a node to its products; None where it has no such form."""


def _convolution(node: NodeShapes) -> tuple[MatrixProduct, ...]:
    group = int(node.attributes.get("group", 1))
    positions = node.output[0] * math.prod(node.output[2:])
    return (MatrixProduct(positions, node.output[1] // group, math.prod(node.inputs[1][1:]), group),)


def _transposed(node: NodeShapes) -> tuple[MatrixProduct, ...]:
    group = int(node.attributes.get("group", 1))
    x, w = node.inputs[:2]
    return (MatrixProduct(x[0] * math.prod(x[2:]), math.prod(w[1:]), x[1] // group, group),)


def _gemm(node: NodeShapes) -> tuple[MatrixProduct, ...]:
    depth = node.inputs[0][0 if node.attributes.get("transA") else 1]
    return (MatrixProduct(node.output[0], node.output[1], depth),)


def _contraction(left: Mapping[str, int], right: Mapping[str, int], result: str) -> tuple[MatrixProduct, ...]:
    """The products of an einsum of two operands.

    An index of both operands and the result counts independent products; one of both operands alone is summed (k); one
    of a single operand belongs to that operand's side (m or n).

    Args:
        left: Index to size of the first operand.
        right: Index to size of the second operand.
        result: Indices of the result.
    """
    sizes = {**left, **right}
    both = left.keys() & right.keys()
    k = math.prod(sizes[i] for i in both if i not in result)
    times = math.prod(sizes[i] for i in both if i in result)
    m = math.prod(size for i, size in left.items() if i not in both)
    n = math.prod(size for i, size in right.items() if i not in both)
    return (MatrixProduct(m, n, k, times),)


def _matmul(node: NodeShapes) -> tuple[MatrixProduct, ...] | None:
    a, b = node.inputs[:2]
    if not a or not b:
        return None
    left = {"k": a[-1], **({"m": a[-2]} if len(a) > 1 else {})}
    right = {"k": b[-2] if len(b) > 1 else b[0], **({"n": b[-1]} if len(b) > 1 else {})}
    result = "mn"
    # a batch axis along which one operand is broadcast joins the other operand's side: one larger product
    for shape, side in ((a, left), (b, right)):
        for axis, size in enumerate(reversed(shape[:-2])):
            if size > 1:
                index = chr(ord("A") + axis)
                side[index] = size
                result += index
    return _contraction(left, right, result)


def _einsum(node: NodeShapes) -> tuple[MatrixProduct, ...] | None:
    equation = node.attributes["equation"].decode().replace(" ", "")
    if "." in equation or "->" not in equation or len(node.inputs) != 2:
        return None
    terms, result = equation.split("->")
    left, right = terms.split(",")
    if len(set(left)) != len(left) or len(set(right)) != len(right):
        return None
    a, b = node.inputs
    return _contraction(dict(zip(left, a, strict=True)), dict(zip(right, b, strict=True)), result)


def _recurrent(node: NodeShapes) -> tuple[MatrixProduct, ...]:
    """For every direction, one product for the inputs of all time steps and one with the state for every time step."""
    x, w, r = node.inputs[:3]
    batch, steps = x[:2] if node.attributes.get("layout") else (x[1], x[0])
    return (MatrixProduct(steps * batch, w[1], w[2], w[0]), MatrixProduct(batch, r[1], r[2], r[0] * steps))


FORMS: dict[str, Form] = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "ConvTranspose": _transposed,
    "Einsum": _einsum,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "RNN": _recurrent,
}
"""Op type of the default domain to its products."""


def products(node: onnx.NodeProto, tensors: Mapping[str, Tensor]) -> tuple[MatrixProduct, ...] | None:
    """The matrix products of one node; None for an op that has none, or where a shape is unknown.

    Args:
        node: The node.
        tensors: Shapes and types of its tensors, by name.
    """
    if node.op_type not in FORMS or node.domain not in ("", "ai.onnx"):
        return None
    inputs = [tensors[n].shape if n in tensors else None for n in node.input if n]
    known = tuple(shape for shape in inputs if shape is not None)
    output = next((tensors[n].shape for n in node.output if n and n in tensors), None)
    if len(known) != len(inputs) or output is None:
        return None
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return FORMS[node.op_type](NodeShapes(attributes, known, output))
