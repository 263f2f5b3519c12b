"""Nodes as matrix products: what a systolic array, or any tool that knows [m, k] x [k, n] only, has to compute.

A convolution is the product of its unrolled windows with its filters: m = batch x output positions, n = filters,
k = channels x kernel elements, once for each group. That holds for the gradients as well, in the form they have in a
graph: a filter gradient written as a convolution of the input by the output's gradient (batch and channels swapped,
stride as dilation) has m = channels x kernel elements, n = filters, k = batch x output positions, which is the product
that defines it; an input gradient written as a transposed convolution has m = batch x output positions,
n = channels x kernel elements, k = filters. Zeros between dilated elements are in none of them.

The products of a node hold exactly the multiply-accumulates of :mod:`fathom_onnx.analysis.cost.node_costs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from fathom_onnx.graph import Tensor

__all__ = ["FORMS", "Product", "products"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """``times`` independent products [m, k] x [k, n]."""

    m: int
    n: int
    k: int
    times: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all of them."""
        return self.m * self.n * self.k * self.times


Form = Callable[[Mapping[str, Any], Sequence[Shape], Shape], tuple[Product, ...] | None]
"""From a node's attributes, its inputs' shapes and its first output's to its products."""


def _convolution(attributes: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> tuple[Product, ...]:
    group = int(attributes.get("group", 1))
    positions = output[0] * math.prod(output[2:])
    return (Product(positions, output[1] // group, math.prod(inputs[1][1:]), group),)


def _transposed(attributes: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> tuple[Product, ...]:
    group = int(attributes.get("group", 1))
    x, w = inputs[0], inputs[1]
    return (Product(x[0] * math.prod(x[2:]), math.prod(w[1:]), x[1] // group, group),)


def _gemm(attributes: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> tuple[Product, ...]:
    return (Product(output[0], output[1], inputs[0][0 if attributes.get("transA") else 1]),)


def _contraction(left: Mapping[str, int], right: Mapping[str, int], kept: str) -> tuple[Product, ...]:
    """One product a value of the indices that both operands and the result have; each other index is in m, n or k."""
    sizes = {**left, **right}
    both = left.keys() & right.keys()
    k = math.prod(sizes[i] for i in both if i not in kept)
    times = math.prod(sizes[i] for i in both if i in kept)
    m = math.prod(size for i, size in left.items() if i not in both)
    n = math.prod(size for i, size in right.items() if i not in both)
    return (Product(m, n, k, times),)


def _matmul(attributes: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> tuple[Product, ...] | None:
    a, b = inputs[0], inputs[1]
    if not a or not b:
        return None
    left = {"k": a[-1], **({"m": a[-2]} if len(a) > 1 else {})}
    right = {"k": b[-2] if len(b) > 1 else b[0], **({"n": b[-1]} if len(b) > 1 else {})}
    kept = "mn"
    # an operand that is the same for all of an axis joins that axis to its own side: one larger product
    for shape, side in ((a, left), (b, right)):
        for place, size in enumerate(reversed(shape[:-2])):
            if size > 1:
                side[chr(ord("A") + place)] = size
                kept += chr(ord("A") + place)
    return _contraction(left, right, kept)


def _einsum(attributes: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> tuple[Product, ...] | None:
    equation = attributes["equation"].decode().replace(" ", "")
    if "." in equation or "->" not in equation or len(inputs) != 2:
        return None
    terms, kept = equation.split("->")
    left, right = terms.split(",")
    if len(set(left)) != len(left) or len(set(right)) != len(right):
        return None
    return _contraction(dict(zip(left, inputs[0], strict=True)), dict(zip(right, inputs[1], strict=True)), kept)


def _recurrent(attributes: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> tuple[Product, ...]:
    """All inputs at once, then a product with the state for every time step; each for every direction."""
    steps, batch = inputs[0][:2] if not attributes.get("layout") else (inputs[0][1], inputs[0][0])
    w, r = inputs[1], inputs[2]
    return (Product(steps * batch, w[1], w[2], w[0]), Product(batch, r[1], r[2], r[0] * steps))


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


def products(node: onnx.NodeProto, tensors: Mapping[str, Tensor]) -> tuple[Product, ...] | None:
    """The matrix products of one node; None for an op that has none, or where a shape is not known.

    Args:
        node: The node.
        tensors: Shapes and types of its tensors, by name.
    """
    if node.op_type not in FORMS or node.domain not in ("", "ai.onnx"):
        return None
    shapes = [tensors[n].shape if n in tensors else None for n in node.input if n]
    output = next((tensors[n].shape for n in node.output if n and n in tensors), None)
    operands = [shape for shape in shapes if shape is not None]
    if len(operands) != len(shapes) or output is None:
        return None
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return FORMS[node.op_type](attributes, operands, output)
