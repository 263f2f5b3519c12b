"""Canonical operations, the paper's classes A to G, and the phases of a step.

This is the one table that translators, lowering, analysis and figures share. The names follow the paper's
Figure 3 (Adolf et al., IISWC 2016) and, for what the figure does not list, TensorFlow's op names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["OPS", "PHASES", "CanonicalOp", "OpClass", "op_class"]

PHASES: tuple[str, ...] = ("forward", "loss", "backward", "optimizer")
"""The phases of one step, in order. An inference graph has the first only."""


class OpClass(StrEnum):
    """The operation classes of the paper's Figure 3."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"
    F = "F"
    G = "G"

    @property
    def label(self) -> str:
        """The class's name as the paper prints it."""
        return _TITLES[self]


_TITLES = {
    OpClass.A: "Elementwise arithmetic",
    OpClass.B: "Matrix operations",
    OpClass.C: "Reduction and expansion",
    OpClass.D: "Convolution",
    OpClass.E: "Random sampling",
    OpClass.F: "Optimization",
    OpClass.G: "Data movement",
}


@dataclass(frozen=True)
class CanonicalOp:
    """One canonical operation.

    Attributes:
        name: The op's name, as it stands in node addresses.
        op_class: Its class in the paper's Figure 3.
        meaning: What it computes.
        in_paper: Whether Figure 3 lists it by this name.
    """

    name: str
    op_class: OpClass
    meaning: str
    in_paper: bool = False


def _table() -> dict[str, CanonicalOp]:
    a, b, c, d, e, f, g = OpClass
    rows = (
        # A: one output element from one element of each input
        CanonicalOp("Add", a, "x + y, and bias addition", True),
        CanonicalOp("Sub", a, "x - y", True),
        CanonicalOp("Mul", a, "x * y", True),
        CanonicalOp("Div", a, "x / y", True),
        CanonicalOp("Pow", a, "x ** y", True),
        CanonicalOp("Softmax", a, "exp(x) / sum(exp(x)) along an axis", True),
        CanonicalOp("SoftmaxGrad", a, "gradient of Softmax from its output"),
        CanonicalOp("LogSoftmax", a, "log of Softmax"),
        CanonicalOp("LogSoftmaxGrad", a, "gradient of LogSoftmax from its output"),
        CanonicalOp("Neg", a, "-x"),
        CanonicalOp("Abs", a, "|x|"),
        CanonicalOp("Sign", a, "sign of x"),
        CanonicalOp("Exp", a, "exp(x)"),
        CanonicalOp("Log", a, "log(x)"),
        CanonicalOp("Log1p", a, "log(1 + x)"),
        CanonicalOp("Sqrt", a, "square root"),
        CanonicalOp("Rsqrt", a, "1 / square root"),
        CanonicalOp("Square", a, "x * x"),
        CanonicalOp("Reciprocal", a, "1 / x"),
        CanonicalOp("Erf", a, "error function"),
        CanonicalOp("Sin", a, "sine and the other circular functions"),
        CanonicalOp("Round", a, "floor, ceiling and rounding"),
        CanonicalOp("Maximum", a, "elementwise maximum"),
        CanonicalOp("Minimum", a, "elementwise minimum"),
        CanonicalOp("Clip", a, "x held between two bounds"),
        CanonicalOp("ClipGrad", a, "gradient of Clip"),
        CanonicalOp("Compare", a, "elementwise comparison"),
        CanonicalOp("Logical", a, "elementwise logic and bit operations"),
        CanonicalOp("Relu", a, "max(x, 0)"),
        CanonicalOp("ReluGrad", a, "gradient of Relu from its output"),
        CanonicalOp("Sigmoid", a, "1 / (1 + exp(-x))"),
        CanonicalOp("SigmoidGrad", a, "gradient of Sigmoid from its output"),
        CanonicalOp("Tanh", a, "hyperbolic tangent"),
        CanonicalOp("TanhGrad", a, "gradient of Tanh from its output"),
        CanonicalOp("Softplus", a, "log(1 + exp(x))"),
        CanonicalOp("SoftplusGrad", a, "gradient of Softplus from its input"),
        CanonicalOp("Gelu", a, "x * Phi(x), Phi the normal distribution; its approximations too"),
        CanonicalOp("GeluGrad", a, "gradient of Gelu from its input"),
        CanonicalOp("Silu", a, "x * sigmoid(x)"),
        CanonicalOp("SiluGrad", a, "gradient of Silu from its input"),
        CanonicalOp("Activation", a, "any other pointwise activation"),
        CanonicalOp("BatchNorm", a, "batch normalisation with given statistics: a scale and a shift"),
        # B
        CanonicalOp("MatMul", b, "matrix product, batched or not, with or without a bias", True),
        CanonicalOp("Recurrent", b, "a whole recurrent layer in one node"),
        CanonicalOp("Attention", b, "a whole attention block in one node"),
        # C: many elements to one, or one to many
        CanonicalOp("CrossEntropy", c, "softmax cross-entropy and its gradient", True),
        CanonicalOp("MaxPoolGrad", c, "gradient of MaxPool", True),
        CanonicalOp("Sum", c, "sum along axes, bias gradients", True),
        CanonicalOp("Mean", c, "mean along axes"),
        CanonicalOp("Max", c, "largest along axes"),
        CanonicalOp("Min", c, "smallest along axes"),
        CanonicalOp("Prod", c, "product along axes"),
        CanonicalOp("Norm", c, "vector norm along axes"),
        CanonicalOp("ArgMax", c, "index of the largest or smallest, and the top k"),
        CanonicalOp("CumSum", c, "running sum"),
        CanonicalOp("MaxPool", c, "largest of each window"),
        CanonicalOp("AvgPool", c, "mean of each window"),
        CanonicalOp("AvgPoolGrad", c, "gradient of AvgPool"),
        CanonicalOp("BatchNormTraining", c, "batch normalisation with the batch's own statistics"),
        CanonicalOp("BatchNormGrad", c, "gradient of BatchNormTraining"),
        CanonicalOp("LayerNorm", c, "normalisation over features"),
        CanonicalOp("LayerNormGrad", c, "gradient of LayerNorm"),
        CanonicalOp("GroupNorm", c, "normalisation over groups of channels, or instances"),
        CanonicalOp("GroupNormGrad", c, "gradient of GroupNorm"),
        CanonicalOp("Trees", c, "a forest of decision trees in one node"),
        CanonicalOp("LRN", c, "local response normalisation"),
        CanonicalOp("LRNGrad", c, "gradient of LRN"),
        # D
        CanonicalOp("Conv2D", d, "convolution", True),
        CanonicalOp("Conv2DBackFilter", d, "gradient of a convolution for its filter", True),
        CanonicalOp("Conv2DBackInput", d, "gradient of a convolution for its input; transposed convolution", True),
        # E
        CanonicalOp("RandomNormal", e, "normal random numbers", True),
        CanonicalOp("RandomUniform", e, "uniform random numbers"),
        CanonicalOp("Dropout", e, "random mask and scale"),
        # F
        CanonicalOp("ApplyAdam", f, "Adam update", True),
        CanonicalOp("ApplyRMSProp", f, "RMSProp update", True),
        CanonicalOp("ApplyAdagrad", f, "Adagrad update"),
        CanonicalOp("ApplyMomentum", f, "gradient descent update with momentum"),
        CanonicalOp("ApplyGradientDescent", f, "plain gradient descent update"),
        CanonicalOp("ClipGradient", f, "gradient clipping and gradient noise"),
        # G: elements go elsewhere unchanged
        CanonicalOp("Transpose", g, "permuted axes", True),
        CanonicalOp("Tile", g, "repetition and broadcast to a shape", True),
        CanonicalOp("Select", g, "elementwise choice by a condition", True),
        CanonicalOp("Pad", g, "border added", True),
        CanonicalOp("Reshape", g, "same elements, another shape", True),
        CanonicalOp("Shape", g, "shape of a tensor as a tensor", True),
        CanonicalOp("Slice", g, "part of a tensor, and splits"),
        CanonicalOp("SliceGrad", g, "gradient of Slice"),
        CanonicalOp("Concat", g, "tensors joined along an axis"),
        CanonicalOp("Gather", g, "elements or rows by index; embedding lookup"),
        CanonicalOp("GatherGrad", g, "rows added by index; gradient of an embedding"),
        CanonicalOp("Scatter", g, "elements written by index"),
        CanonicalOp("OneHot", g, "index to unit vector"),
        CanonicalOp("Fill", g, "constant tensor and ranges"),
        CanonicalOp("Cast", g, "another element type, quantisation"),
        CanonicalOp("Identity", g, "plain copy"),
        CanonicalOp("Resize", g, "interpolation and pixel rearrangement"),
        CanonicalOp("Sort", g, "sorting, unique and non-zero elements"),
        CanonicalOp("Control", g, "control flow itself, without its body"),
        CanonicalOp("Sequence", g, "sequence, optional, map and string handling"),
    )
    table = {row.name: row for row in rows}
    if len(table) != len(rows):
        raise ValueError("a canonical op is listed twice")
    return table


OPS: dict[str, CanonicalOp] = _table()
"""Canonical op name to its row."""


def op_class(name: str) -> OpClass:
    """The class of a canonical op.

    Raises:
        KeyError: ``name`` is not in the vocabulary.
    """
    return OPS[name].op_class
