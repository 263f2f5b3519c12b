"""What no ONNX operator of opset 18 expresses, or no static shape holds: TensorFlow operation to reason and rewrite."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AUGMENT", "BY_VALUES", "REFUSALS", "UNKNOWN", "Refusal", "refusal"]


class Refusal(NamedTuple):
    """Why an operation is refused.

    Attributes:
        reason: What stands against it, as the end of a sentence that starts with the operation.
        rewrite: What to do instead.
    """

    reason: str
    rewrite: str


UNKNOWN = Refusal(
    "has no translation",
    "write it with operations of keras.ops or tf.math that the step has already, or compute it before the step",
)
"""Of an operation that nothing is known of."""

_BEFORE = "compute it before the step and give it in the batch"
_BY_VALUES = "gives a shape that depends on values"
BY_VALUES = Refusal(_BY_VALUES, "use sizes that are numbers, and a mask for what is not to count")
"""Of an operation whose result has no fixed shape."""
_COMPLEX = "is of complex numbers, which ONNX does not have"
_FACTORS = "is a matrix factorisation, for which ONNX has no operator"
_NO_OPERATOR = "has no ONNX operator"
_DRAWN = "is a random distribution that no standard operator draws"
_PYTHON = "calls Python, which is in no graph"
_TEXT = "is of text"
AUGMENT = "apply the layer to the batch before the step, as in tf.data, and leave it out of the model"
"""The rewrite for Keras' layers that prepare data."""
_WORDS = "look words up before the model, and give it the numbers"

_GROUPS: tuple[tuple[str, Refusal], ...] = (
    (
        "Where Unique UniqueV2 UniqueWithCounts",
        Refusal(_BY_VALUES, "use tf.where(condition, x, y), or a product with a mask and a division by its sum"),
    ),
    ("SegmentSum SegmentMean SegmentMax SegmentMin SegmentProd",
     Refusal(_BY_VALUES, "use the unsorted form with its number of segments, as tf.math.unsorted_segment_sum")),
    ("SparseSegmentSum SparseSegmentMean SparseSegmentSqrtN",
     Refusal(_BY_VALUES, "use tf.math.unsorted_segment_sum of gathered rows, with its number of segments")),
    ("DynamicPartition DynamicStitch ParallelDynamicStitch ListDiff",
     Refusal(_BY_VALUES, "compute all parts and choose by tf.where")),
    ("NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 CombinedNonMaxSuppression",
     Refusal(_BY_VALUES, "choose boxes before the step, and give their numbers in the batch")),
    ("Complex ComplexAbs Real Imag Conj Angle FFT FFT2D FFT3D IFFT IFFT2D IFFT3D RFFT RFFT2D RFFT3D "
     "IRFFT IRFFT2D IRFFT3D FFTND RFFTND IRFFTND IFFTND",
     Refusal(_COMPLEX, "a transform of a fixed length is two products with matrices of cosines and sines")),
    ("MatrixInverse MatrixDeterminant LogMatrixDeterminant Cholesky CholeskyGrad MatrixSolve MatrixSolveLs "
     "MatrixTriangularSolve Qr Svd SelfAdjointEigV2 Eig Lu MatrixSquareRoot MatrixLogarithm BandedTriangularSolve "
     "TridiagonalSolve",
     Refusal(_FACTORS, "compute it before the step, or iterate by products (Newton-Schulz for an inverse)")),
    ("MatrixExponential", Refusal(_NO_OPERATOR, "write a fixed number of terms of its series")),
    ("Igamma Igammac IgammaGradA RandomGammaGrad Betainc Zeta Polygamma Ndtri NextAfter "
     "BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 "
     "Dawsn Expint FresnelCos FresnelSin Spence",
     Refusal(_NO_OPERATOR, f"write terms of its series, or {_BEFORE}")),
    ("ImageProjectiveTransformV2 ImageProjectiveTransformV3 RGBToHSV HSVToRGB AdjustContrastv2 AdjustHue "
     "AdjustSaturation CropAndResize SampleDistortedBoundingBoxV2 Dilation2D "
     "Erosion2D ScaleAndTranslate ScaleAndTranslateGrad",
     Refusal("changes images as no ONNX operator does", AUGMENT)),
    ("ExtractImagePatches ExtractVolumePatches",
     Refusal("has a gradient of sparse matrices", "use keras.ops.image.extract_patches, which is a convolution")),
    ("SparseTensorDenseMatMul SparseToDense SparseReshape SparseAdd SparseReorder SparseSoftmax SparseReduceSum",
     Refusal("is of sparse tensors", "use dense ones")),
    ("RaggedTensorToTensor RaggedRange RaggedGather RaggedTensorToVariant RaggedTensorFromVariant",
     Refusal("is of ragged tensors", "pad them to one length, and use a mask")),
    ("PyFunc EagerPyFunc PyFuncStateless",
     Refusal(_PYTHON, "write it with tf or keras.ops, or compute it before the step and give it in the batch")),
    ("StringLower StringUpper StringSplit StringSplitV2 StringToHashBucketFast StringToHashBucketStrong StringToNumber "
     "AsString StaticRegexReplace RegexReplace StringNGrams StringJoin DecodeRaw", Refusal(_TEXT, _WORDS)),
    ("LookupTableFindV2 LookupTableSizeV2", Refusal("looks up a table that is no tensor", _WORDS)),
    ("CTCLoss CTCLossV2 CTCGreedyDecoder CTCBeamSearchDecoder",
     Refusal(_NO_OPERATOR, "use keras.losses.CTC, which is a loop over the time steps")),
    ("FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsGradient FakeQuantWithMinMaxArgs QuantizeAndDequantizeV4 "
     "FakeQuantWithMinMaxVarsPerChannel",
     Refusal(_NO_OPERATOR, "round by tf.stop_gradient(tf.round(x) - x) + x")),
    ("StatelessMultinomial Multinomial",
     Refusal(_DRAWN, "take the argmax of logits - log(-log(u)), with u uniform and above 0")),
    ("StatelessTruncatedNormalV2 TruncatedNormal StatelessTruncatedNormal",
     Refusal(_DRAWN, "clip a normal draw, or give the draw in the batch")),
    ("StatelessRandomUniformIntV2 RandomUniformInt StatelessRandomUniformInt StatelessRandomUniformFullIntV2",
     Refusal("draws whole numbers, which no standard operator does",
             "take the floor of a uniform draw times their number, by keras.random.uniform")),
    ("StatelessRandomBinomial RandomBinomial StatefulRandomBinomial",
     Refusal(_DRAWN, "add up trials: sum(u < p), with one more axis of uniform draws u")),
    ("StatelessRandomGammaV2 StatelessRandomGammaV3 RandomGamma StatelessRandomPoisson RandomPoisson RandomPoissonV2 "
     "ParameterizedTruncatedNormal StatelessParameterizedTruncatedNormal RandomShuffle StatelessShuffle",
     Refusal(_DRAWN, "give the draw in the batch, or make it of uniform or normal numbers")),
    ("XlaDynamicUpdateSlice XlaDynamicSlice XlaGather XlaScatter XlaDot XlaDotV2 XlaConvV2 XlaReduce "
     "XlaSort XlaVariadicSort",
     Refusal("is an operation of XLA", "write it with plain tf operations, as tf.tensor_scatter_nd_update")),
    ("IteratorGetNext", Refusal("reads a data set", "give the values in the batch")),
)  # fmt: skip

REFUSALS: dict[str, Refusal] = {name: known for names, known in _GROUPS for name in names.split()}
"""Type of a TensorFlow operation to why it is refused."""


def refusal(op_type: str) -> Refusal | None:
    """Why an operation of a type is refused, or None where nothing is known of it."""
    return REFUSALS.get(op_type)
