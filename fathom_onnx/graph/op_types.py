"""ONNX op types to the canonical ops of the vocabulary, for graphs whose nodes do not say what they are.

Total over what onnx and onnxruntime register (a test compares it with the installed ones): the default domain,
``ai.onnx.ml``, the preview domains, and onnxruntime's own. What is not listed is reported under its own name, never
dropped.
"""

from __future__ import annotations

from fathom_onnx.vocabulary import OPS, OpClass

__all__ = ["CONTRIB", "INTERNAL", "ML", "ONNX", "PREVIEW", "UNLISTED", "canonical_op", "class_of_op"]

UNLISTED = "unlisted"
"""The class name of ops that are in no table."""

_BY_CANONICAL = {
    "Add": "Add",
    "Sub": "Sub",
    "Mul": "Mul",
    "Div": "Div Mod",
    "Pow": "Pow",
    "Neg": "Neg",
    "Abs": "Abs",
    "Sign": "Sign",
    "Exp": "Exp",
    "Log": "Log",
    "Sqrt": "Sqrt",
    "Reciprocal": "Reciprocal",
    "Erf": "Erf",
    "Sin": "Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh",
    "Round": "Round Floor Ceil",
    "Maximum": "Max",
    "Minimum": "Min",
    "Clip": "Clip",
    "Compare": "Equal Greater GreaterOrEqual Less LessOrEqual IsNaN IsInf",
    "Logical": "And Or Xor Not BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot",
    "Relu": "Relu",
    "Sigmoid": "Sigmoid",
    "Tanh": "Tanh",
    "Softplus": "Softplus",
    "Softmax": "Softmax",
    "LogSoftmax": "LogSoftmax",
    "Activation": "Elu Selu Celu LeakyRelu PRelu ThresholdedRelu HardSigmoid HardSwish Hardmax Mish Softsign "
    "Shrink SwiGLU",
    "Gelu": "Gelu",
    "Silu": "Swish",
    "BatchNorm": "BatchNormalization",
    "MatMul": "MatMul Gemm MatMulInteger QLinearMatMul Einsum Det",
    "Recurrent": "LSTM GRU RNN LinearAttention CausalConvWithState",
    "Attention": "Attention",
    "CrossEntropy": "SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss",
    "Sum": "ReduceSum Sum ReduceSumSquare ReduceLogSum ReduceLogSumExp",
    "Mean": "ReduceMean Mean",
    "Max": "ReduceMax",
    "Min": "ReduceMin",
    "Prod": "ReduceProd",
    "Norm": "ReduceL1 ReduceL2",
    "ArgMax": "ArgMax ArgMin TopK",
    "CumSum": "CumSum CumProd",
    "MaxPool": "MaxPool GlobalMaxPool MaxRoiPool",
    "AvgPool": "AveragePool GlobalAveragePool LpPool GlobalLpPool RoiAlign",
    "MaxPoolGrad": "MaxUnpool",
    "LayerNorm": "LayerNormalization RMSNormalization LpNormalization MeanVarianceNormalization",
    "GroupNorm": "GroupNormalization InstanceNormalization",
    "LRN": "LRN",
    "Conv2D": "Conv ConvInteger QLinearConv DeformConv DFT STFT",
    "Conv2DBackInput": "ConvTranspose Col2Im",
    "RandomNormal": "RandomNormal RandomNormalLike",
    "RandomUniform": "RandomUniform RandomUniformLike Multinomial Bernoulli",
    "Dropout": "Dropout",
    "Transpose": "Transpose ReverseSequence RotaryEmbedding",
    "Tile": "Tile Expand",
    "Select": "Where",
    "Pad": "Pad CenterCropPad",
    "Reshape": "Reshape Flatten Squeeze Unsqueeze",
    "Shape": "Shape Size",
    "Slice": "Slice Split Trilu",
    "Concat": "Concat",
    "Gather": "Gather GatherElements GatherND Compress",
    "Scatter": "Scatter ScatterElements ScatterND TensorScatter",
    "OneHot": "OneHot",
    "Fill": "Constant ConstantOfShape Range EyeLike BlackmanWindow HammingWindow HannWindow MelWeightMatrix",
    "Cast": "Cast CastLike BitCast QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
    "Identity": "Identity",
    "Resize": "Resize Upsample GridSample AffineGrid DepthToSpace SpaceToDepth",
    "Sort": "Unique NonZero NonMaxSuppression",
    "Control": "If Loop Scan",
    "Sequence": "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap "
    "SplitToSequence ConcatFromSequence Optional OptionalGetElement OptionalHasElement StringConcat StringNormalizer "
    "StringSplit RegexFullMatch TfIdfVectorizer ImageDecoder",
}

ONNX: dict[str, str] = {op: name for name, ops in _BY_CANONICAL.items() for op in ops.split()}
"""Op type of the default domain to canonical op."""

_BY_CANONICAL_CONTRIB = {
    "Conv2D": "FusedConv NhwcConv NhwcFusedConv QLinearConv Rfft Irfft",
    "Conv2DBackInput": "ConvTransposeWithDynamicPads QLinearConvTranspose",
    "MatMul": "FusedGemm FusedMatMul TransposeMatMul FusedMatMulActivation GemmFloat8 MatMulNBits MatMulNBitsMlp "
    "MatMulNBitsQkv MatMulBnb4 MatMulFpQ4 MatMulInteger16 MatMulIntegerToFloat DynamicQuantizeMatMul QGemm "
    "GemmFastGelu SparseToDenseMatMul QOrderedMatMul MatMulBlockQuantizedFp4Weight "
    "MatMulBlockQuantizedFp8Weight MoE QMoE CDist",
    "Recurrent": "DynamicQuantizeLSTM AttnLSTM GatedDeltaNet VarlenCausalConvWithState",
    "Attention": "Attention MultiHeadAttention GroupQueryAttention DecoderAttention DecoderMaskedMultiHeadAttention "
    "DecoderMaskedSelfAttention PackedAttention PackedMultiHeadAttention QAttention QOrderedAttention SparseAttention "
    "LongformerAttention QOrderedLongformerAttention PagedAttention DynamicSparseAttention SparsePagedAttention "
    "SparseAttentionIndexer PackedSparseAttentionIndexer RelativePositionBias GatedRelativePositionBias "
    "LinearAttentionGate",
    "Activation": "QLinearLeakyRelu EngramGate",
    "Gelu": "Gelu FastGelu BiasGelu QuickGelu BiasSplitGelu QOrderedGelu",
    "Silu": "ScaledSiLU",
    "Sigmoid": "QLinearSigmoid",
    "Softmax": "BiasSoftmax QLinearSoftmax",
    "Add": "BiasAdd QLinearAdd GatedAdd HyperConnectionPostMix",
    "Mul": "QLinearMul MulInteger ComplexMul ComplexMulConj HyperConnectionPreMix",
    "Compare": "IsAllFinite BifurcationDetector",
    "Sum": "ReduceSumInteger",
    "Mean": "QLinearReduceMean",
    "Dropout": "BiasDropout BitmaskDropout BitmaskBiasDropout",
    "LayerNorm": "SkipLayerNormalization SkipSimplifiedLayerNormalization EmbedLayerNormalization "
    "QEmbedLayerNormalization QOrderedLayerNormalization BranchwiseRMSNorm GatedRMSNorm",
    "GroupNorm": "GroupNorm SkipGroupNorm",
    "MaxPool": "NhwcMaxPool MaxpoolWithMask",
    "AvgPool": "QLinearAveragePool QLinearGlobalAveragePool",
    "Transpose": "ReorderInput ReorderOutput RotaryEmbedding GemmaRotaryEmbedding MRotaryEmbedding RemovePadding "
    "RestorePadding UnfoldTensor",
    "Cast": "QuantizeBFP DequantizeBFP QuantizeWithOrder DequantizeWithOrder",
    "Resize": "CropAndResize",
    "Reshape": "ExpandDims",
    "Concat": "QLinearConcat",
    "Select": "QLinearWhere",
    "Gather": "GatherBlockQuantized TorchEmbedding WordConvEmbedding",
    "RandomUniform": "SampleOp Sampling",
    "Control": "BeamSearch GreedySearch WhisperBeamSearch EPContext Snpe",
    "Sequence": "Tokenizer MurmurHash3 NGramHashMapping VarlenNGramHashMapping NGramRepeatBlock DynamicTimeWarping",
    "Pow": "Inverse",
}

CONTRIB: dict[str, str] = {op: name for name, ops in _BY_CANONICAL_CONTRIB.items() for op in ops.split()}
"""Op type of onnxruntime's own domains (``com.microsoft`` and its layouts) to canonical op."""

INTERNAL: dict[str, str] = {
    "MemcpyFromHost": "Identity",
    "MemcpyToHost": "Identity",
    "SimplifiedLayerNormalization": "LayerNorm",
    "Affine": "Mul",
    "ImageScaler": "Mul",
    "Scale": "Mul",
    "Crop": "Slice",
    "DynamicSlice": "Slice",
    "GivenTensorFill": "Fill",
    "GRUUnit": "Recurrent",
    "ParametricSoftplus": "Activation",
    "ScaledTanh": "Activation",
    "DisentangledAttention_TRT": "Attention",
    "EfficientNMS_TRT": "Sort",
    "MultilevelCropAndResize_TRT": "Resize",
    "PyramidROIAlign_TRT": "AvgPool",
}
"""Ops that onnxruntime has under the default domain though onnx has none of that name."""

_BY_CANONICAL_ML = {
    "MatMul": "LinearClassifier LinearRegressor SVMClassifier SVMRegressor",
    "Trees": "TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor",
    "LayerNorm": "Normalizer",
    "Mul": "Scaler",
    "Compare": "Binarizer",
    "Select": "Imputer",
    "Concat": "FeatureVectorizer",
    "Gather": "ArrayFeatureExtractor LabelEncoder",
    "OneHot": "OneHotEncoder",
    "Sequence": "CastMap CategoryMapper DictVectorizer ZipMap",
}

ML: dict[str, str] = {op: name for name, ops in _BY_CANONICAL_ML.items() for op in ops.split()}
"""Op type of ``ai.onnx.ml`` to canonical op."""

PREVIEW: dict[str, str] = {
    "FlexAttention": "Attention",
    "Adagrad": "ApplyAdagrad",
    "Adam": "ApplyAdam",
    "Momentum": "ApplyMomentum",
    "Gradient": "Control",
}
"""Op type of ``ai.onnx.preview`` and ``ai.onnx.preview.training`` to canonical op."""

_DEFAULT_DOMAIN = ("", "ai.onnx")
_OWN_DOMAINS = ("com.microsoft", "com.ms.")
_PREVIEW_DOMAINS = ("ai.onnx.preview", "ai.onnx.preview.training")


def canonical_op(op_type: str, domain: str = "") -> str:
    """The canonical op of an ONNX op; for an op in no table its own name, with its domain if it has one."""
    if domain.startswith(_OWN_DOMAINS):
        op = CONTRIB.get(op_type) or ONNX.get(op_type)
    elif domain in _DEFAULT_DOMAIN:
        op = ONNX.get(op_type) or INTERNAL.get(op_type)
    elif domain == "ai.onnx.ml":
        op = ML.get(op_type)
    elif domain in _PREVIEW_DOMAINS:
        op = PREVIEW.get(op_type)
    else:
        op = None
    return op or (f"{domain}::{op_type}" if domain else op_type)


def class_of_op(name: str) -> str:
    """The class letter of a canonical op, or :data:`UNLISTED`."""
    row = OPS.get(name)
    return str(OpClass(row.op_class)) if row else UNLISTED
