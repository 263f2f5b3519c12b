"""Ops that tools support: data, as printed by ``benchmarks/simulators.py ops``.

Each of onnx's own node tests that is valid at opset 18, and for an op that came later at the opset it came with, was
given to each tool; an op counts as supported where the tool accepts one of its tests. Ops without such a test are in no
table.
"""

from __future__ import annotations

__all__ = ["IREE", "NODE_TESTED", "ONNXIM", "ONNX_TOOL", "OPENVINO", "STREAM", "TVM"]


def _ops(text: str) -> frozenset[str]:
    return frozenset(text.split())


NODE_TESTED = _ops(
    """
    Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization
    Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike
    CausalConvWithState Ceil Celu CenterCropPad Clip Col2Im Compress Concat Constant ConstantOfShape Conv
    ConvInteger ConvTranspose Cos Cosh CumProd CumSum DFT DeformConv DepthToSpace DequantizeLinear Det Div Dropout
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND
    Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample HammingWindow HannWindow HardSigmoid
    HardSwish Hardmax Identity If ImageDecoder InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization
    LeakyRelu Less LessOrEqual LinearAttention Log LogSoftmax Loop LpNormalization LpPool MatMul MatMulInteger Max
    MaxPool MaxUnpool Mean MelWeightMatrix Min Mish Mod Mul Neg NegativeLogLikelihoodLoss NonMaxSuppression NonZero
    Not OneHot OptionalGetElement OptionalHasElement Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear
    RMSNormalization RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round Scan ScatterElements ScatterND
    Selu SequenceInsert SequenceMap Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss
    Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze StringConcat StringNormalizer StringSplit Sub
    Sum SwiGLU Swish Tan Tanh TensorScatter TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unique
    Unsqueeze Where Xor
    """
)
"""Ops that were tried, each with a test of its own."""

OPENVINO = NODE_TESTED - _ops(
    """
    Bernoulli BitCast CausalConvWithState CumProd DeformConv Det ImageDecoder LinearAttention MaxUnpool
    MelWeightMatrix OptionalGetElement OptionalHasElement RegexFullMatch SequenceInsert SequenceMap SplitToSequence
    StringConcat StringNormalizer StringSplit SwiGLU TensorScatter TfIdfVectorizer
    """
)
"""OpenVINO 2026.4.1 takes all but these; Loop is taken with tensors, not with sequences."""

TVM = NODE_TESTED - _ops(
    """
    Attention Bernoulli BitCast BlackmanWindow CausalConvWithState Celu CenterCropPad Col2Im ConvInteger CumProd DFT
    DeformConv Det GRU HammingWindow HannWindow ImageDecoder LSTM LinearAttention Loop LpNormalization
    MelWeightMatrix NegativeLogLikelihoodLoss QLinearConv QLinearMatMul RNN RandomNormal RandomNormalLike
    RandomUniform RandomUniformLike RegexFullMatch ReverseSequence RotaryEmbedding Scan SequenceInsert SequenceMap
    SoftmaxCrossEntropyLoss StringConcat StringNormalizer StringSplit SwiGLU Swish TensorScatter TfIdfVectorizer
    """
)
"""TVM 0.27.0.post1 takes all but these."""

IREE = NODE_TESTED - _ops(
    """
    AffineGrid Attention BitCast CausalConvWithState Col2Im Compress CumProd DFT DeformConv ImageDecoder
    LinearAttention MaxUnpool RMSNormalization RegexFullMatch RoiAlign RotaryEmbedding SequenceInsert SequenceMap
    Softsign SplitToSequence StringConcat StringNormalizer StringSplit SwiGLU Swish TensorScatter Unique
    """
)
"""IREE 3.13.0 takes all but these; Loop is taken with tensors, and without If in its body."""

ONNX_TOOL = NODE_TESTED - _ops(
    """
    Acos Acosh AffineGrid ArgMin Asin Asinh Atanh Attention Bernoulli BitCast BitShift BitwiseAnd BitwiseNot
    BitwiseOr BitwiseXor BlackmanWindow CastLike CausalConvWithState Celu CenterCropPad Col2Im Cosh CumProd DFT
    DeformConv Det DynamicQuantizeLinear EyeLike GlobalMaxPool HammingWindow HannWindow If ImageDecoder IsInf IsNaN
    LinearAttention Loop LpPool MaxUnpool Mean MelWeightMatrix Mish NegativeLogLikelihoodLoss OptionalGetElement
    OptionalHasElement RMSNormalization RNN RandomNormal RandomUniform ReduceL1 ReduceLogSum ReduceLogSumExp
    ReduceSumSquare RegexFullMatch ReverseSequence RotaryEmbedding Scan Selu SequenceInsert SequenceMap Shrink Sinh
    Size SoftmaxCrossEntropyLoss Softsign SpaceToDepth SplitToSequence StringConcat StringNormalizer StringSplit
    SwiGLU Swish Tan TensorScatter TfIdfVectorizer ThresholdedRelu Unique
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
