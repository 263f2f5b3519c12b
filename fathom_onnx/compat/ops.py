"""Ops that tools support: data, as printed by ``benchmarks/simulators.py ops``.

Each of onnx's own node tests that is valid at opset 18 was given to each tool; an op counts as supported where the tool
accepts one of its tests. Ops without such a test are in no table.
"""

from __future__ import annotations

__all__ = ["IREE", "NODE_TESTED", "ONNXIM", "ONNX_TOOL", "OPENVINO", "STREAM", "TVM"]


def _ops(text: str) -> frozenset[str]:
    return frozenset(text.split())


NODE_TESTED = _ops(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Bernoulli BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike Ceil Celu CenterCropPad Clip Col2Im
    Compress Concat Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DFT DepthToSpace
    DequantizeLinear Det Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU
    Gather GatherElements GatherND Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample
    HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If InstanceNormalization IsInf IsNaN LRN LSTM
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul MatMulInteger
    Max MaxPool MaxUnpool Mean MelWeightMatrix Min Mish Mod Mul Neg NegativeLogLikelihoodLoss NonMaxSuppression
    NonZero Not OneHot OptionalGetElement OptionalHasElement Or PRelu Pad Pow QLinearConv QLinearMatMul
    QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Resize ReverseSequence RoiAlign Round Scan ScatterElements ScatterND Selu SequenceInsert SequenceMap
    Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth
    Split SplitToSequence Sqrt Squeeze StringNormalizer Sub Sum Tan Tanh TfIdfVectorizer ThresholdedRelu Tile TopK
    Transpose Trilu Unique Unsqueeze Where Xor
    """
)
"""Ops that were tried, each with a test of its own."""

OPENVINO = NODE_TESTED - _ops(
    """
    Bernoulli Det MaxUnpool MelWeightMatrix OptionalGetElement OptionalHasElement SequenceInsert SequenceMap
    SplitToSequence StringNormalizer TfIdfVectorizer
    """
)
"""OpenVINO 2026.4.1 takes all but these; Loop is taken with tensors, not with sequences."""

TVM = NODE_TESTED - _ops(
    """
    Bernoulli BlackmanWindow Celu CenterCropPad Col2Im ConvInteger DFT Det GRU HammingWindow HannWindow LSTM Loop
    LpNormalization MelWeightMatrix NegativeLogLikelihoodLoss QLinearConv QLinearMatMul RNN RandomNormal
    RandomNormalLike RandomUniform RandomUniformLike ReverseSequence Scan SequenceInsert SequenceMap
    SoftmaxCrossEntropyLoss StringNormalizer TfIdfVectorizer
    """
)
"""TVM 0.27.0.post1 takes all but these."""

IREE = NODE_TESTED - _ops(
    """
    Col2Im Compress DFT MaxUnpool RoiAlign SequenceInsert SequenceMap Softsign SplitToSequence StringNormalizer
    Unique
    """
)
"""IREE 3.13.0 takes all but these; Loop is taken with tensors, and without If in its body."""

ONNX_TOOL = NODE_TESTED - _ops(
    """
    Acos Acosh ArgMin Asin Asinh Atanh Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow
    CastLike Celu CenterCropPad Col2Im Cosh DFT Det DynamicQuantizeLinear EyeLike GlobalMaxPool HammingWindow
    HannWindow If IsInf IsNaN Loop LpPool MaxUnpool Mean MelWeightMatrix Mish NegativeLogLikelihoodLoss
    OptionalGetElement OptionalHasElement RNN RandomNormal RandomUniform Range ReduceL1 ReduceLogSum ReduceLogSumExp
    ReduceSumSquare ReverseSequence Scan Selu SequenceInsert SequenceMap Shrink Sinh Size SoftmaxCrossEntropyLoss
    Softsign SpaceToDepth SplitToSequence StringNormalizer Tan TfIdfVectorizer ThresholdedRelu Unique
    """
)
"""onnx-tool 1.0.1 takes all but these."""

STREAM = _ops(
    """
    Add BatchNormalization Cast Conv DequantizeLinear Div Einsum Flatten Gather Gelu Gemm GlobalAveragePool
    LayerNormalization LpNormalization MatMul MaxPool Mul Pow QuantizeLinear ReduceMax ReduceMean ReduceSum Relu
    Reshape Sigmoid Slice Softmax Squeeze Sub Tanh Transpose Unsqueeze
    """
)
"""Stream 2.1.1: the ops it has a parser for."""

ONNXIM = _ops(
    """
    Add AveragePool BatchNormalization Cast Conv Flatten Gemm GlobalAveragePool MatMul MaxPool Relu
    """
)
"""ONNXim: the ops its source makes operations of, and those that it takes as parts of them."""
