"""What onnxruntime fuses: for the ops that its optimizers make, the ops of a graph that they can stand for.

Used where only a trace is there: a trace names executed nodes and their ops and says nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["ACTIVATIONS", "FOLDED_INTO", "MARKS", "could_be"]

ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "HardSigmoid", "HardSwish", "ThresholdedRelu"})
"""Activations that are fused into the convolution or product before them."""

FOLDED_INTO: dict[str, frozenset[str]] = {
    "Conv": frozenset({"BatchNormalization", "Mul", "Add"}),
    "ConvTranspose": frozenset({"BatchNormalization"}),
    "Gemm": frozenset({"BatchNormalization", "Add", "Sum"}),
    "MatMul": frozenset({"BatchNormalization"}),
}
"""Op type to the ops with constants after it that are folded into its weights, its op type unchanged."""

_GELU = frozenset({"Erf", "Tanh", "Gelu"})
_NORM = frozenset({"LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization", "ReduceMean", "Pow"})

MARKS: dict[str, frozenset[str]] = {
    "Gelu": _GELU,
    "FastGelu": _GELU,
    "BiasGelu": _GELU,
    "QuickGelu": frozenset({"Sigmoid"}),
    "HardSwish": frozenset({"HardSigmoid", "Clip"}),
    "LayerNormalization": _NORM,
    "SimplifiedLayerNormalization": _NORM,
    "RMSNormalization": _NORM,
    "SkipLayerNormalization": _NORM,
    "SkipSimplifiedLayerNormalization": _NORM,
    "EmbedLayerNormalization": frozenset({"Gather"}),
    "GroupNorm": frozenset({"InstanceNormalization", "GroupNormalization"}),
    "SkipGroupNorm": frozenset({"InstanceNormalization", "GroupNormalization"}),
    "Attention": frozenset({"Softmax"}),
    "MultiHeadAttention": frozenset({"Softmax"}),
    "GroupQueryAttention": frozenset({"Softmax"}),
    "BiasSoftmax": frozenset({"Softmax"}),
    "BiasDropout": frozenset({"Dropout"}),
    "BitmaskDropout": frozenset({"Dropout"}),
    "FusedMatMul": frozenset({"MatMul"}),
    "FusedMatMulActivation": frozenset({"MatMul"}),
    "FusedGemm": frozenset({"Gemm", "MatMul"}),
    "TransposeMatMul": frozenset({"MatMul"}),
    "DynamicQuantizeMatMul": frozenset({"MatMul", "MatMulInteger"}),
    "MatMulIntegerToFloat": frozenset({"MatMulInteger", "MatMul"}),
    "MatMulNBits": frozenset({"MatMul"}),
    "MatMulScaleFusion": frozenset({"MatMul"}),
    "RotaryEmbedding": frozenset({"Cos", "Sin", "Neg", "Concat"}),
    "Gemm": frozenset({"MatMul", "Gemm"}),
    "FusedConv": frozenset({"Conv"}),
    "NhwcFusedConv": frozenset({"Conv"}),
    "NhwcConv": frozenset({"Conv"}),
    "NhwcMaxPool": frozenset({"MaxPool"}),
    "QLinearConv": frozenset({"Conv"}),
    "QLinearMatMul": frozenset({"MatMul"}),
    "QGemm": frozenset({"Gemm", "MatMul"}),
    "QLinearAdd": frozenset({"Add"}),
    "QLinearMul": frozenset({"Mul"}),
    "QLinearSigmoid": frozenset({"Sigmoid"}),
    "QLinearLeakyRelu": frozenset({"LeakyRelu"}),
    "QLinearConcat": frozenset({"Concat"}),
    "QLinearSoftmax": frozenset({"Softmax"}),
    "QLinearWhere": frozenset({"Where"}),
    "QLinearAveragePool": frozenset({"AveragePool"}),
    "QLinearGlobalAveragePool": frozenset({"GlobalAveragePool"}),
    "QAttention": frozenset({"Softmax"}),
}
"""Op type to the ops of a graph of which at least one is in what it stands for."""


def could_be(op_type: str, op_types: Collection[str], known_ops: Collection[str]) -> bool:
    """Whether an executed node could stand for nodes of some op types.

    Args:
        op_type: The executed node's op type.
        op_types: The op types of the nodes.
        known_ops: Op types that are in some table: an op in none is a provider's subgraph, which can stand for any.
    """
    if op_type in op_types:
        return True
    if op_type in MARKS:
        return not MARKS[op_type].isdisjoint(op_types)
    return op_type not in known_ops
