"""What a node costs by its shapes: multiply-accumulates, arithmetic operations, bytes.

Conventions: one multiply-accumulate is 2 FLOPs; an elementwise op is 1 FLOP an element unless :data:`ELEMENTWISE` says
otherwise, transcendental functions included; a reduction is 1 FLOP an input element; comparisons and selections of a
maximum count as 1. Bytes are what must at least be read and written: every input and every output once. What is not
known is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx

from ..graph import Graph, Tensor
from .dataflow import tensors_of
from .optable import canonical_op

__all__ = ["ELEMENTWISE", "FORMULAS", "MOVES", "REDUCTIONS", "NodeCost", "graph_costs", "node_cost"]


@dataclass(frozen=True)
class NodeCost:
    """Cost of one execution of a node; None is unknown.

    Attributes:
        macs: Multiply-accumulates of convolutions and matrix products.
        flops: Arithmetic operations, those of ``macs`` included.
        bytes_read: Bytes of all inputs.
        bytes_written: Bytes of all outputs.
    """

    macs: int | None
    flops: int | None
    bytes_read: int | None
    bytes_written: int | None

    @property
    def bytes_moved(self) -> int | None:
        """Bytes read and written."""
        if self.bytes_read is None or self.bytes_written is None:
            return None
        return self.bytes_read + self.bytes_written


_ONE_FLOP = (
    "Add Sub Mul Div Pow Neg Abs Sign Exp Log Log1p Sqrt Rsqrt Square Reciprocal Erf Sin Round Maximum Minimum Compare "
    "Logical Relu Tanh RandomNormal RandomUniform Select CumSum"
)
ELEMENTWISE: dict[str, int] = {
    **dict.fromkeys(_ONE_FLOP.split(), 1),
    "Clip": 2,
    "Sigmoid": 4,  # negate, exp, add, divide
    "Softplus": 3,  # exp, add, log
    "Softmax": 5,  # running maximum, subtract, exp, sum, divide
    "LogSoftmax": 5,
    "Activation": 4,
    "BatchNorm": 2,  # one scale and one shift once the statistics are folded
    "Dropout": 2,
}
"""Canonical op to FLOPs per output element."""

_ONE_FLOP_IN = "Sum Mean Max Min Prod ArgMax"
REDUCTIONS: dict[str, int] = {**dict.fromkeys(_ONE_FLOP_IN.split(), 1), "Norm": 2, "LayerNorm": 7}
"""Canonical op to FLOPs per element of the first input."""

_NO_FLOP = "Transpose Tile Pad Reshape Shape Slice SliceGrad Concat Gather OneHot Fill Cast Identity Sequence Sort"
MOVES = frozenset(_NO_FLOP.split())
"""Canonical ops without arithmetic."""

_FREE = frozenset({"Reshape", "Shape"})
"""Canonical ops that need no traffic: the same buffer under another shape, or no data at all."""

Shape = tuple[int, ...]
Shapes = list[Shape | None]
Formula = Callable[[onnx.NodeProto, Shapes, Shapes], tuple[int, int] | None]
"""From a node and the shapes of its inputs and outputs to (MACs, FLOPs), or None."""


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _ints(value: object) -> list[int]:
    return [int(v) for v in value] if isinstance(value, (list, tuple)) else []


def _activated(node: onnx.NodeProto, macs: int, outputs: Shapes, extra: int) -> tuple[int, int]:
    """Bias, residual addition and activation in the same node add one FLOP an element each."""
    also = extra + ("activation" in _attributes(node))
    return macs, 2 * macs + also * math.prod(outputs[0] or ())


def _conv(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
    """MACs = output elements x (I / group) x kernel elements; the filter is [O, I / group, *kernel]."""
    if len(inputs) < 2 or inputs[1] is None or outputs[0] is None:
        return None
    macs = math.prod(outputs[0]) * math.prod(inputs[1][1:])
    return _activated(node, macs, outputs, sum(1 for name in node.input[2:] if name))


def _conv_transpose(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
    """MACs = input elements x (O / group) x kernel elements; the filter is [I, O / group, *kernel]."""
    if len(inputs) < 2 or inputs[0] is None or inputs[1] is None or outputs[0] is None:
        return None
    macs = math.prod(inputs[0]) * math.prod(inputs[1][1:])
    return _activated(node, macs, outputs, sum(1 for name in node.input[2:] if name))


def _gemm(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
    """MACs = M x N x K; the added C is one FLOP an output element."""
    if not inputs or inputs[0] is None or outputs[0] is None or len(inputs[0]) != 2:
        return None
    inner = inputs[0][0 if _attributes(node).get("transA") else 1]
    macs = math.prod(outputs[0]) * inner
    return _activated(node, macs, outputs, 1 if len(node.input) > 2 and node.input[2] else 0)


def _matmul(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
    """MACs = output elements x K."""
    if not inputs or not inputs[0] or outputs[0] is None:
        return None
    transposed = bool(_attributes(node).get("transA")) and len(inputs[0]) > 1
    macs = math.prod(outputs[0]) * inputs[0][-2 if transposed else -1]
    return macs, 2 * macs


def _einsum(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
    """MACs = product of all index sizes for two operands; a sum over one operand has FLOPs only."""
    equation = _attributes(node).get("equation")
    if not isinstance(equation, bytes) or b"." in equation or any(s is None for s in inputs):
        return None
    terms = equation.decode().replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, inputs, strict=True):
        if shape is None or len(term) != len(shape):
            return None
        sizes.update(zip(term, shape, strict=True))
    total = math.prod(sizes.values())
    if len(terms) == 1:
        return 0, total if outputs[0] is not None and math.prod(outputs[0]) != total else 0
    macs = total * (len(terms) - 1)
    return macs, 2 * macs


def _window(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
    """FLOPs = output elements x window elements; a global pool's window is the whole image."""
    if outputs[0] is None or not inputs or inputs[0] is None:
        return None
    kernel = _ints(_attributes(node).get("kernel_shape"))
    if not kernel:
        return 0, math.prod(inputs[0])
    return 0, math.prod(outputs[0]) * math.prod(kernel)


def _recurrent(gates: int) -> Formula:
    def formula(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
        """MACs = sequence x batch x (W + R elements); the gates' pointwise work is left out."""
        if len(inputs) < 3 or inputs[0] is None or inputs[1] is None or inputs[2] is None or len(inputs[0]) != 3:
            return None
        if inputs[2][1] != gates * inputs[2][2]:
            return None
        macs = inputs[0][0] * inputs[0][1] * (math.prod(inputs[1]) + math.prod(inputs[2]))
        return macs, 2 * macs

    return formula


def _lrn(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
    """Square, windowed sum, scale and shift, power, divide."""
    size = _attributes(node).get("size")
    if outputs[0] is None or not isinstance(size, int):
        return None
    return 0, math.prod(outputs[0]) * (size + 5)


def _scatter(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
    """One FLOP an update where updates are combined with what is there."""
    if len(inputs) < 3 or inputs[2] is None:
        return None
    reduction = _attributes(node).get("reduction", b"none")
    return 0, 0 if reduction == b"none" else math.prod(inputs[2])


def _sum_of_inputs(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
    """Elementwise over several inputs: n - 1 FLOPs an element, at least 1."""
    if outputs[0] is None:
        return None
    return 0, math.prod(outputs[0]) * max(1, len(inputs) - 1)


FORMULAS: dict[str, Formula] = {
    "Conv": _conv,
    "FusedConv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "MatMul": _matmul,
    "FusedMatMul": _matmul,
    "MatMulInteger": _matmul,
    "Einsum": _einsum,
    "MaxPool": _window,
    "AveragePool": _window,
    "LpPool": _window,
    "GlobalMaxPool": _window,
    "GlobalAveragePool": _window,
    "LRN": _lrn,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
    "Scatter": _scatter,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "Sum": _sum_of_inputs,
    "Mean": _sum_of_inputs,
    "Max": _sum_of_inputs,
    "Min": _sum_of_inputs,
}
"""Op type to its own formula; the other ops go by canonical op."""


def _arithmetic(node: onnx.NodeProto, inputs: Shapes, outputs: Shapes) -> tuple[int, int] | None:
    if node.op_type in FORMULAS:
        return FORMULAS[node.op_type](node, inputs, outputs) if outputs else None
    op = canonical_op(node.op_type, node.domain)
    if op in MOVES:
        return 0, 0
    if op in ELEMENTWISE and outputs and outputs[0] is not None:
        return 0, ELEMENTWISE[op] * math.prod(outputs[0])
    if op in REDUCTIONS and inputs and inputs[0] is not None:
        return 0, REDUCTIONS[op] * math.prod(inputs[0])
    return None


def _bytes(names: list[str], tensors: Mapping[str, Tensor]) -> int | None:
    sizes = [tensors[n].size_bytes if n in tensors else None for n in names if n]
    return None if any(size is None for size in sizes) else sum(size for size in sizes if size is not None)


def node_cost(node: onnx.NodeProto, tensors: Mapping[str, Tensor]) -> NodeCost:
    """The cost of one execution of a node.

    Args:
        node: The node; for control flow the bodies are not counted.
        tensors: Shapes and types of its tensors, by name.
    """
    shapes = [[tensors[n].shape if n in tensors else None for n in names] for names in (node.input, node.output)]
    found = _arithmetic(node, shapes[0], shapes[1])
    op = canonical_op(node.op_type, node.domain)
    if op in _FREE:
        return NodeCost(0, 0, 0, 0)
    read, written = _bytes(list(node.input), tensors), _bytes(list(node.output), tensors)
    if op == "Gather" and written is not None and len(node.input) > 1:
        # only the gathered rows are touched, not the table
        indices = _bytes([node.input[1]], tensors)
        read = None if indices is None else written + indices
    if op == "Slice":
        read = written
    return NodeCost(found[0] if found else None, found[1] if found else None, read, written)


def graph_costs(graph: Graph) -> list[NodeCost]:
    """The cost of each top-level node of a graph, in order."""
    tensors = {**tensors_of(graph.model.graph), **graph.tensors}
    return [node_cost(node, tensors) for node in graph.model.graph.node]
