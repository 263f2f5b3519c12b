"""Cost formula of every op, or the reason why there is none. A test checks that no registered op is missing.

The tables go by op type: FLOPs an element of the first output, FLOPs an element of the first input, ops without
arithmetic, products (the ops that have multiply-accumulates), other ops with a formula of their own, and ops whose cost
is not known before a run, products among them apart. There is a set of them for the default domain with what
onnxruntime keeps there, for ``ai.onnx.ml``, for the preview domains, and for onnxruntime's own domains, which fall back
to the default one's.

An op outside the tables of products has no multiply-accumulates, whatever its shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import attention, products, recurrent, windows
from .call import Formula
from .einsum import einsum

__all__ = ["BODIES", "CONTRIB", "FREE", "ML", "NO_ARITHMETIC", "ONNX", "PREVIEW", "UNKNOWN", "Rule", "Rules", "rule"]


@dataclass(frozen=True)
class Rule:
    """What the tables say of an op.

    Attributes:
        formula: Its arithmetic, or None where that is not known before a run.
        product: Whether it can have multiply-accumulates. Any other op has none, whatever its shapes.
        reason: Why there is no formula.
    """

    formula: Formula | None
    product: bool
    reason: str = ""


Rules = Mapping[str, Rule]
"""Op type to rule."""

BODIES = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Ops of the default domain that only run bodies."""

FREE = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "ExpandDims", "Shape", "Size", "Constant"}
    | {"SequenceLength", "OptionalHasElement"}
)
"""Ops without traffic: the same buffer under another shape, or no tensor that a step makes."""

_PER_OUTPUT = {
    1: "Add Sub Mul Div Mod Pow Neg Abs Sign Exp Log Sqrt Reciprocal Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh "
    "Acosh Atanh Round Floor Ceil Equal Greater GreaterOrEqual Less LessOrEqual IsNaN IsInf And Or Xor Not BitShift "
    "BitwiseAnd BitwiseOr BitwiseXor BitwiseNot Relu Tanh ThresholdedRelu Where CumSum CumProd RandomNormal "
    "RandomNormalLike RandomUniform RandomUniformLike Scale",
    2: "Clip LeakyRelu PRelu Hardmax Bernoulli Range DequantizeLinear Affine ImageScaler",
    3: "Softplus Softsign Shrink ScaledTanh",  # exp, add, log; abs, add, divide; two comparisons, add
    4: "Sigmoid HardSigmoid Elu QuantizeLinear HannWindow HammingWindow",  # sigmoid: negate, exp, add, divide
    5: "Softmax LogSoftmax HardSwish Selu Gelu Mish ParametricSoftplus",  # softmax: max, subtract, exp, sum, divide
    6: "Swish",  # scale, sigmoid, multiply
    7: "SwiGLU Celu BlackmanWindow",
}
_PER_INPUT = {
    1: "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceLogSum ArgMax ArgMin TopK Col2Im",
    2: "ReduceL1 ReduceL2 ReduceSumSquare",
    3: "LpNormalization",
    4: "ReduceLogSumExp RMSNormalization SimplifiedLayerNormalization",
    6: "MeanVarianceNormalization DynamicQuantizeLinear",  # least and largest, then as QuantizeLinear
    7: "LayerNormalization GroupNormalization InstanceNormalization",
}
_NONE = (
    "Transpose Tile Expand Pad CenterCropPad Reshape Flatten Squeeze Unsqueeze Shape Size Slice Split Trilu Concat "
    "Gather GatherElements GatherND Compress TensorScatter OneHot Constant ConstantOfShape EyeLike Cast CastLike "
    "BitCast Identity DepthToSpace SpaceToDepth MaxUnpool ReverseSequence NonZero SequenceAt SequenceConstruct "
    "SequenceEmpty SequenceErase SequenceInsert SequenceLength SplitToSequence ConcatFromSequence Optional "
    "OptionalGetElement OptionalHasElement MemcpyFromHost MemcpyToHost Crop DynamicSlice GivenTensorFill"
)
_PRODUCTS: dict[str, Formula] = {
    "Conv": products.conv(2),
    "ConvInteger": products.conv(),
    "ConvTranspose": products.conv_transpose,
    "QLinearConv": products.quantized_conv,
    "DeformConv": products.deform_conv,
    "CausalConvWithState": products.conv(2),
    "Gemm": products.gemm,
    "MatMul": products.matmul,
    "MatMulInteger": products.matmul,
    "QLinearMatMul": products.product(each=products.QUANTIZE),
    "Einsum": einsum,
    "Det": products.det,
    "LSTM": recurrent.recurrent(4),
    "GRU": recurrent.recurrent(3),
    "RNN": recurrent.recurrent(1),
    "LinearAttention": recurrent.linear_attention,
    "Attention": attention.counted(attention.attention),
    "AffineGrid": windows.affine_grid,
}
_OWN: dict[str, Formula] = {
    "MaxPool": windows.window(1),
    "AveragePool": windows.window(1),
    "LpPool": windows.window(2),
    "GlobalMaxPool": windows.window(1),
    "GlobalAveragePool": windows.window(1),
    "GlobalLpPool": windows.window(2),
    "LRN": windows.lrn,
    "BatchNormalization": windows.batch_norm,
    "Dropout": windows.dropout,
    "Scatter": windows.scatter,
    "ScatterElements": windows.scatter,
    "ScatterND": windows.scatter,
    "Sum": windows.sum_of_inputs,
    "Mean": windows.sum_of_inputs,
    "Max": windows.sum_of_inputs,
    "Min": windows.sum_of_inputs,
    "SoftmaxCrossEntropyLoss": windows.cross_entropy,
    "NegativeLogLikelihoodLoss": windows.negative_log_likelihood,
    "Resize": windows.resize,
    "Upsample": windows.resize,
    "GridSample": windows.grid_sample,
    "RoiAlign": windows.roi_align,
    "RotaryEmbedding": windows.rotary(1),
    "DFT": windows.dft,
    "STFT": windows.stft,
}

_PER_OUTPUT_CONTRIB = {
    2: "BiasAdd GatedAdd GatherBlockQuantized DequantizeWithOrder",
    3: "ComplexMul ComplexMulConj MulInteger",
    4: "QuantizeWithOrder",
    5: "Gelu",
    6: "BiasGelu QuickGelu ScaledSiLU BiasSoftmax QLinearConcat",
    7: "QLinearWhere",
    8: "BiasSplitGelu QLinearLeakyRelu",
    9: "QLinearAdd QLinearMul",  # dequantize two, one operation, quantize
    10: "QLinearSigmoid",
    11: "QLinearSoftmax QOrderedGelu",
    13: "QOrderedLayerNormalization",
}
_PER_INPUT_CONTRIB = {
    1: "ReduceSumInteger",
    3: "DynamicTimeWarping",  # the least of three, and an addition, a cell
    4: "BranchwiseRMSNorm",
    10: "GatedRMSNorm",
}
_NONE_CONTRIB = "ExpandDims ReorderInput ReorderOutput TorchEmbedding UnfoldTensor RemovePadding RestorePadding"
_PRODUCTS_CONTRIB: dict[str, Formula] = {
    "FusedConv": products.conv(2, 3),
    "NhwcConv": products.conv(2),
    "NhwcFusedConv": products.conv(2, 3),
    "VarlenCausalConvWithState": products.conv(3),
    "ConvTransposeWithDynamicPads": products.conv_transpose,
    "QLinearConvTranspose": products.quantized_conv_transpose,
    "FusedGemm": products.gemm,
    "GemmFastGelu": products.product(2, each=8),
    "GemmFloat8": products.gemm,
    "QGemm": products.qgemm,
    "FusedMatMul": products.matmul,
    "TransposeMatMul": products.matmul,
    "FusedMatMulActivation": products.matmul,
    "MatMulInteger16": products.matmul,
    "MatMulIntegerToFloat": products.product(6, each=1),
    "DynamicQuantizeMatMul": products.product(4, each=1, prepare=6),
    "QOrderedMatMul": products.product(5, 6, each=products.QUANTIZE),
    "MatMulNBits": products.nbits,
    "MatMulNBitsMlp": products.nbits_mlp,
    "MatMulNBitsQkv": products.nbits_qkv,
    "MatMulBnb4": products.packed_matmul,
    "MatMulFpQ4": products.packed_matmul,
    "MatMulBlockQuantizedFp4Weight": products.packed_matmul,
    "MatMulBlockQuantizedFp8Weight": products.packed_matmul,
    "MoE": products.experts,
    "QMoE": products.experts,
    "CDist": products.cdist,
    "Inverse": products.inverse,
    "DynamicQuantizeLSTM": recurrent.recurrent(4),
    "Attention": attention.counted(attention.projected_attention),
    "QAttention": attention.counted(attention.quantized_attention),
    "QOrderedAttention": attention.counted(attention.quantized_ordered_attention),
    "MultiHeadAttention": attention.counted(attention.multi_head_attention),
    "GroupQueryAttention": attention.counted(attention.group_query_attention),
    "DecoderMaskedMultiHeadAttention": attention.counted(attention.decoder_masked_attention),
}
_OWN_CONTRIB: dict[str, Formula] = {
    "LinearAttentionGate": windows.attention_gates,
    "FastGelu": windows.biased(8, 1),  # the tanh form
    "BiasDropout": windows.dropout,
    "BitmaskDropout": windows.dropout,
    "BitmaskBiasDropout": windows.dropout,
    "SkipLayerNormalization": windows.biased(8, 4),
    "SkipSimplifiedLayerNormalization": windows.biased(5, 3),
    "EmbedLayerNormalization": windows.embed_layer_norm,
    "QEmbedLayerNormalization": windows.embed_layer_norm,
    "GroupNorm": windows.group_norm,
    "SkipGroupNorm": windows.group_norm,
    "NhwcMaxPool": windows.window(1),
    "MaxpoolWithMask": windows.window(1),
    "QLinearAveragePool": windows.quantized_window,
    "QLinearGlobalAveragePool": windows.quantized_window,
    "QLinearReduceMean": windows.quantized_mean,
    "IsAllFinite": windows.all_inputs,
    "CropAndResize": windows.crop_and_resize,
    "RotaryEmbedding": windows.rotary(2),
    "MRotaryEmbedding": windows.rotary(2),
    "GemmaRotaryEmbedding": windows.gemma_rotary,
    "HyperConnectionPreMix": windows.mix_streams,
    "HyperConnectionPostMix": windows.mix_streams,
    "Rfft": windows.rfft,
    "Irfft": windows.rfft,
}

_BODY = "control flow: its bodies are counted one by one"
_COMPARISONS = "how many comparisons it makes is data"
_REGIONS = "the sizes of its regions are data"
_TEXT = "it works on text"
_LENGTHS = "the lengths of the packed sequences are data"
_SPARSE = "which positions attend to which is data"
_SEARCH = "how many tokens it makes is data"
_NOT_MODELLED = "its arithmetic is not modelled"
_COMPILED = "it holds a model compiled elsewhere"

_UNKNOWN_PRODUCTS = {
    "If Loop Scan SequenceMap": _BODY,
    "GRUUnit DisentangledAttention_TRT": _NOT_MODELLED,
}
_UNKNOWN = {
    "NonMaxSuppression Unique EfficientNMS_TRT": _COMPARISONS,
    "MaxRoiPool MultilevelCropAndResize_TRT PyramidROIAlign_TRT": _REGIONS,
    "Multinomial": "how far each draw searches is data",
    "MelWeightMatrix": _NOT_MODELLED,
    "StringConcat StringNormalizer StringSplit RegexFullMatch TfIdfVectorizer": _TEXT,
    "ImageDecoder": "it works on compressed images",
}
_UNKNOWN_PRODUCTS_CONTRIB = {
    "PackedAttention PackedMultiHeadAttention GatedDeltaNet": _LENGTHS,
    "SparseAttention LongformerAttention QOrderedLongformerAttention DynamicSparseAttention SparsePagedAttention "
    "SparseAttentionIndexer PackedSparseAttentionIndexer": _SPARSE,
    "PagedAttention DecoderAttention DecoderMaskedSelfAttention": "how much of the cache is in use is data",
    "GatedRelativePositionBias EngramGate AttnLSTM": _NOT_MODELLED,
    "BeamSearch GreedySearch Sampling WhisperBeamSearch": _SEARCH,
    "WordConvEmbedding": _TEXT,
    "SparseToDenseMatMul": "how many elements are not zero is data",
    "EPContext Snpe": _COMPILED,
}
_UNKNOWN_CONTRIB = {
    "RelativePositionBias QuantizeBFP DequantizeBFP SampleOp": _NOT_MODELLED,
    "BifurcationDetector NGramRepeatBlock": _COMPARISONS,
    "MurmurHash3 NGramHashMapping VarlenNGramHashMapping": "hashing is not counted as arithmetic",
    "Tokenizer": _TEXT,
}

_PER_INPUT_ML = {1: "Binarizer Imputer", 2: "Scaler", 3: "Normalizer"}
_NONE_ML = (
    "ArrayFeatureExtractor CastMap CategoryMapper DictVectorizer FeatureVectorizer LabelEncoder OneHotEncoder ZipMap"
)
_PRODUCTS_ML: dict[str, Formula] = {
    "LinearClassifier": products.linear_model,
    "LinearRegressor": products.linear_model,
    "SVMClassifier": products.support_vectors,
    "SVMRegressor": products.support_vectors,
}
_UNKNOWN_ML = {
    "TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor": "which path through each tree is taken is data",
}

_PRODUCTS_PREVIEW: dict[str, Formula] = {"FlexAttention": attention.counted(attention.flex_attention)}
_OWN_PREVIEW: dict[str, Formula] = {
    "Adagrad": windows.adagrad,
    "Adam": windows.adam,
    "Momentum": windows.momentum,
}
_UNKNOWN_PRODUCTS_PREVIEW = {"Gradient": "it stands for a graph that a runtime makes"}


def _no_arithmetic(_: object) -> tuple[int, int]:
    return 0, 0


def _rules(
    outputs: Mapping[int, str],
    inputs: Mapping[int, str],
    none: str,
    own: Mapping[str, Formula],
    of_products: Mapping[str, Formula],
) -> dict[str, Rule]:
    listed = [(op, Rule(windows.per_output(flops), False)) for flops, ops in outputs.items() for op in ops.split()]
    listed += [(op, Rule(windows.per_input(flops), False)) for flops, ops in inputs.items() for op in ops.split()]
    listed += [(op, Rule(_no_arithmetic, False)) for op in none.split()]
    listed += [(op, Rule(formula, False)) for op, formula in own.items()]
    listed += [(op, Rule(formula, True)) for op, formula in of_products.items()]
    rules = dict(listed)
    if len(rules) != len(listed):
        raise ValueError("an op has two costs")
    return rules


def _reasons(table: Mapping[str, str], of_products: Mapping[str, str]) -> dict[str, Rule]:
    rules = {op: Rule(None, False, reason) for ops, reason in table.items() for op in ops.split()}
    return rules | {op: Rule(None, True, reason) for ops, reason in of_products.items() for op in ops.split()}


ONNX: Rules = _rules(_PER_OUTPUT, _PER_INPUT, _NONE, _OWN, _PRODUCTS)
"""The default domain, and what onnxruntime keeps there."""

CONTRIB: Rules = _rules(_PER_OUTPUT_CONTRIB, _PER_INPUT_CONTRIB, _NONE_CONTRIB, _OWN_CONTRIB, _PRODUCTS_CONTRIB)
"""onnxruntime's own domains, where they differ from the default one."""

ML: Rules = _rules({}, _PER_INPUT_ML, _NONE_ML, {}, _PRODUCTS_ML)
"""``ai.onnx.ml``."""

PREVIEW: Rules = _rules({}, {}, "", _OWN_PREVIEW, _PRODUCTS_PREVIEW)
"""``ai.onnx.preview`` and ``ai.onnx.preview.training``."""

NO_ARITHMETIC = frozenset(f"{_NONE} {_NONE_CONTRIB} {_NONE_ML}".split())
"""Ops that move or make elements and compute nothing."""

UNKNOWN: dict[str, Rules] = {
    "": _reasons(_UNKNOWN, _UNKNOWN_PRODUCTS),
    "com.microsoft": _reasons(_UNKNOWN_CONTRIB, _UNKNOWN_PRODUCTS_CONTRIB),
    "ai.onnx.ml": _reasons(_UNKNOWN_ML, {}),
    "ai.onnx.preview": _reasons({}, _UNKNOWN_PRODUCTS_PREVIEW),
}
"""Domain, then op type, to the reason why its arithmetic is not known before a run."""


def rule(op_type: str, domain: str) -> Rule:
    """What the tables say of an op; of one that is in none, that nothing is known."""
    if domain.startswith(("com.microsoft", "com.ms.")):
        tables: tuple[tuple[Rules, str], ...] = ((CONTRIB, "com.microsoft"), (ONNX, ""))
    elif domain == "ai.onnx.ml":
        tables = ((ML, domain),)
    elif domain.startswith("ai.onnx.preview"):
        tables = ((PREVIEW, "ai.onnx.preview"),)
    elif domain in ("", "ai.onnx"):
        tables = ((ONNX, ""),)
    else:
        tables = ()
    for rules, name in tables:
        found = rules.get(op_type) or UNKNOWN[name].get(op_type)
        if found is not None:
            return found
    name = f"{domain}::{op_type}" if domain else op_type
    return Rule(None, True, f"operator '{name}' is in no table")
