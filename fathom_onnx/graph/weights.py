"""What of a graph's constants is a weight: by the op that uses one, its position, its element type and its size."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import onnx

from .bodies import Body

__all__ = ["CARRIERS", "NOT_WEIGHTS", "QUANTIZED_WEIGHTS", "Constant", "carried", "weights_in"]

CARRIERS = frozenset(
    {
        "Cast",
        "CastLike",
        "DequantizeLinear",
        "Expand",
        "Flatten",
        "Identity",
        "QuantizeLinear",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops that hand their first input on: a weight behind one of them counts with the node that takes their output."""

NOT_WEIGHTS: dict[str, tuple[int, ...]] = {
    "Attention": (3, 4, 5),  # mask and past
    "BatchNormalization": (3, 4),  # running mean and variance
    "Clip": (1, 2),
    "CropAndResize": (1,),
    "DeformConv": (2, 4),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "DynamicQuantizeLSTM": (5, 6, 8, 9, 10, 11),
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
    "MultiHeadAttention": (4, 5, 6, 7),
    "NegativeLogLikelihoodLoss": (2,),
    "Pad": (2,),
    "Pow": (1,),
    "QAttention": (3, 4, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QMoE": (3, 6, 9),
    "QuantizeLinear": (1, 2),
    "RNN": (5,),
    "Range": (0, 1, 2),
    "Resize": (1, 2),
    "RotaryEmbedding": (1, 2, 3),
    "SoftmaxCrossEntropyLoss": (2,),
    "Upsample": (1,),
}
"""Op type to the inputs that are no weights though they may be floating-point constants."""

QUANTIZED_WEIGHTS: dict[str, tuple[int, ...]] = {
    "ConvInteger": (1,),
    "DequantizeLinear": (0,),
    "DynamicQuantizeLSTM": (1, 2),
    "DynamicQuantizeMatMul": (1,),
    "Gather": (0,),
    "GatherBlockQuantized": (0,),
    "MatMulBnb4": (1,),
    "MatMulInteger": (1,),
    "MatMulIntegerToFloat": (1,),
    "MatMulNBits": (1,),
    "MatMulNBitsMlp": (3, 6),
    "MatMulNBitsQkv": (3, 6, 9),
    "QAttention": (1,),
    "QEmbedLayerNormalization": (2, 3, 4, 5, 6),
    "QGemm": (3, 6),
    "QLinearConv": (3, 8),
    "QLinearConvTranspose": (3, 8),
    "QLinearMatMul": (3,),
    "QMoE": (2, 5, 8),
}
"""Op type to the inputs that hold weights, or a bias, as integers."""

_WEIGHTLESS = (
    "Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mod NonMaxSuppression OneHot Range STFT DFT CumSum "
    "RandomNormal RandomUniform Multinomial MelWeightMatrix RoiAlign GridSample If Loop Scan SequenceMap"
)
"""Ops none of whose constants is a weight: bounds, thresholds, values to choose from, first states of a loop."""

_ARITHMETIC = (
    "Add Sub Mul Div Pow Sum Mean Where Concat Slice Split Gather Tile Pad ScatterElements ScatterND "
    "SequenceConstruct SequenceInsert"
)
"""Ops in which a single element is a factor, an epsilon or a value to fill in, and no weight."""

_NEVER, _PLAIN = frozenset(_WEIGHTLESS.split()), frozenset(_ARITHMETIC.split())

_FLOATING = frozenset(
    kind for name, kind in onnx.TensorProto.DataType.items() if name.startswith(("FLOAT", "DOUBLE", "BFLOAT"))
)
_SMALL = frozenset(
    onnx.TensorProto.DataType.Value(name) for name in ("INT8", "UINT8", "INT4", "UINT4", "INT2", "UINT2")
)
"""Integers that weights are quantized to; wider ones are sizes and indices."""

_PACKED_BITS = {
    "GatherBlockQuantized": 4,
    "MatMulBnb4": 4,
    "MatMulNBits": 4,
    "MatMulNBitsMlp": 4,
    "MatMulNBitsQkv": 4,
    "QMoE": 4,
}
"""Ops that keep several weights in a byte, and how many bits a weight has where no attribute says."""


@dataclass(frozen=True)
class Constant:
    """A constant tensor, or what a carrier made of it.

    Attributes:
        source: The body and the name in it of the constant itself.
        dims: Its shape.
        data_type: ONNX's number of its element type, as it is stored.
        floating: Whether its elements are floating-point numbers where it is used.
    """

    source: tuple[Body, str]
    dims: tuple[int, ...]
    data_type: int
    floating: bool

    @classmethod
    def stored(cls, where: Body, name: str, dims: Iterable[int], data_type: int) -> Constant:
        """A constant as a body holds it."""
        return cls((where, name), tuple(dims), data_type, data_type in _FLOATING)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)


def carried(node: onnx.NodeProto, constant: Constant) -> Constant:
    """A constant behind a carrier (:data:`CARRIERS`): whether its elements are floating-point numbers there."""
    if node.op_type == "DequantizeLinear":
        return replace(constant, floating=True)
    if node.op_type in ("Cast", "CastLike") and constant.data_type in _SMALL:
        kind = next((a.i for a in node.attribute if a.name == "to"), onnx.TensorProto.FLOAT)
        return replace(constant, floating=kind in _FLOATING)
    return constant


def weights_in(node: onnx.NodeProto, position: int, constant: Constant, bias: bool = False) -> int:
    """Elements of a constant where it is a weight of a node, else 0.

    Args:
        node: The node.
        position: Which of its inputs the constant is.
        constant: The constant.
        bias: Whether the node adds a bias to a product, which may have a single element.
    """
    kind, count = node.op_type, constant.elements
    if not constant.floating:
        if position not in QUANTIZED_WEIGHTS.get(kind, ()):
            return 0
        if kind == "Gather" and (constant.data_type not in _SMALL or len(constant.dims) < 2):
            return 0
        if kind in _PACKED_BITS and constant.data_type == onnx.TensorProto.UINT8:
            return _unpacked(node, count)
        return count
    if not constant.dims or kind in _NEVER or position in NOT_WEIGHTS.get(kind, ()):
        return 0
    return 0 if count == 1 and kind in _PLAIN and not bias else count


def _unpacked(node: onnx.NodeProto, count: int) -> int:
    """Weights in so many packed bytes; N x K where the op says both, for blocks may be padded."""
    whole = {str(a.name): int(a.i) for a in node.attribute if a.type == onnx.AttributeProto.INT}
    if node.op_type in ("MatMulNBits", "MatMulNBitsMlp", "MatMulBnb4") and "N" in whole and "K" in whole:
        return whole["N"] * whole["K"]
    bits = whole.get("expert_weight_bits" if node.op_type == "QMoE" else "bits", _PACKED_BITS[node.op_type])
    return count * 8 // bits
