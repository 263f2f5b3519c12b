"""Parameters of a graph: how many elements of weights each node is the first to use.

One of our graphs names its trained variables. In any other graph the weights are its initializers, save what is no
weight: scalars, running statistics, sizes and scales (:data:`NOT_WEIGHTS`), and integers, unless they are quantized
weights (:data:`QUANTIZED_WEIGHTS`). A weight that several nodes use counts once, with the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx

from .bodies import all_graphs, numbered
from .model import Graph

__all__ = ["NOT_WEIGHTS", "QUANTIZED_WEIGHTS", "parameters_by_node"]

NOT_WEIGHTS: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),  # running mean and variance
    "Clip": (1, 2),
    "CropAndResize": (1,),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "DynamicQuantizeMatMul": (2, 3),
    "GRU": (5,),  # the initial state
    "GatherBlockQuantized": (2, 3),
    "GroupQueryAttention": (7, 8, 12, 13),  # tables of cosines and sines, scales of the cache
    "LSTM": (5, 6),
    "MatMulBnb4": (2,),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "MatMulNBits": (2, 3),
    "MatMulNBitsMlp": (4, 7),
    "MatMulNBitsQkv": (4, 7, 10),
    "Pad": (2,),
    "QAttention": (3, 4, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
    "RNN": (5,),
    "Range": (0, 1, 2),
    "Resize": (1, 2),
    "RotaryEmbedding": (1, 2, 3),
    "Upsample": (1,),
}
"""Op type to the inputs that are no weights though they may be floating-point constants."""

QUANTIZED_WEIGHTS: dict[str, tuple[int, ...]] = {
    "ConvInteger": (1,),
    "DequantizeLinear": (0,),
    "DynamicQuantizeMatMul": (1,),
    "GatherBlockQuantized": (0,),
    "MatMulBnb4": (1,),
    "MatMulInteger": (1,),
    "MatMulIntegerToFloat": (1,),
    "MatMulNBits": (1,),
    "MatMulNBitsMlp": (3, 6),
    "MatMulNBitsQkv": (3, 6, 9),
    "QAttention": (1,),
    "QGemm": (3, 6),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (3,),
}
"""Op type to the inputs that hold weights, or a bias, as integers."""

_FLOATING = frozenset(
    kind for name, kind in onnx.TensorProto.DataType.items() if name.startswith(("FLOAT", "DOUBLE", "BFLOAT"))
)
_PACKED_BITS = {"MatMulNBits": 4, "MatMulNBitsMlp": 4, "MatMulNBitsQkv": 4, "GatherBlockQuantized": 4, "MatMulBnb4": 4}
"""Ops that keep several weights in a byte, and how many bits a weight has where no attribute says."""


def parameters_by_node(graph: Graph) -> dict[int, int]:
    """Elements of the weights that each node is the first to use, by the node's number, for the nodes that use any.

    Numbers are those of :func:`~.bodies.numbered`, bodies included.
    """
    named = _variables(graph)
    initializers = {} if named is not None else _initializers(graph.model.graph)
    elements_of: dict[int, int] = {}
    seen: set[str] = set()
    for entry in numbered(graph.model.graph):
        for position, name in enumerate(entry.node.input):
            if name in seen:
                continue
            if named is not None:
                elements = named.get(name)
            else:
                elements = _elements(entry.node, position, initializers[name]) if name in initializers else None
            if elements is not None:
                seen.add(name)
                elements_of[entry.index] = elements_of.get(entry.index, 0) + elements
    return elements_of


def _variables(graph: Graph) -> Mapping[str, int] | None:
    """Trained variables of one of our graphs, and their elements."""
    if graph.metadata is None:
        return None
    trained = set(graph.metadata.parameters)
    return {v.name: math.prod(v.shape) for v in graph.metadata.variables if v.name in trained}


def _initializers(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for part in all_graphs(graph) for tensor in part.initializer}


def _elements(node: onnx.NodeProto, position: int, tensor: onnx.TensorProto) -> int | None:
    """Elements of an initializer where it is a weight of this node, else None."""
    kind, count = node.op_type, int(math.prod(tensor.dims))
    if tensor.data_type not in _FLOATING:
        if position not in QUANTIZED_WEIGHTS.get(kind, ()):
            return None
        if kind in _PACKED_BITS and tensor.data_type == onnx.TensorProto.UINT8:
            return _unpacked(node, count)
        return count
    return count if tensor.dims and position not in NOT_WEIGHTS.get(kind, ()) else None


def _unpacked(node: onnx.NodeProto, count: int) -> int:
    """Weights in so many packed bytes; N x K where the op says both, for blocks may be padded."""
    whole = {str(a.name): int(a.i) for a in node.attribute if a.type == onnx.AttributeProto.INT}
    if node.op_type in ("MatMulNBits", "MatMulNBitsMlp", "MatMulBnb4") and "N" in whole and "K" in whole:
        return whole["N"] * whole["K"]
    return count * 8 // whole.get("bits", _PACKED_BITS[node.op_type])
