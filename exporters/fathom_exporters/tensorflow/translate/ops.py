"""The table from TensorFlow operation types to canonical ops, which the exporter and native profiles share."""

from __future__ import annotations

import tensorflow as tf

from fathom_onnx.errors import ExportError

__all__ = ["CANONICAL_OF", "MOVED_AWAY", "canonical_op"]

CANONICAL_OF: dict[str, str] = {
    "Abs": "Abs",
    "Add": "Add",
    "AddN": "Add",
    "AddV2": "Add",
    "ArgMax": "ArgMax",
    "ArgMin": "ArgMax",
    "AvgPool": "AvgPool",
    "AvgPoolGrad": "AvgPoolGrad",
    "BatchMatMul": "MatMul",
    "BatchMatMulV2": "MatMul",
    "BiasAdd": "Add",
    "BiasAddGrad": "Sum",
    "BroadcastTo": "Tile",
    "Cast": "Cast",
    "ClipByValue": "Clip",
    "ConcatV2": "Concat",
    "Conv2D": "Conv2D",
    "Conv2DBackpropFilter": "Conv2DBackFilter",
    "Conv2DBackpropInput": "Conv2DBackInput",
    "Cumsum": "CumSum",
    "Div": "Div",
    "DivNoNan": "Div",
    "Einsum": "MatMul",
    "Equal": "Compare",
    "Erf": "Erf",
    "Exp": "Exp",
    "ExpandDims": "Reshape",
    "Expm1": "Exp",
    "Fill": "Fill",
    "Floor": "Round",
    "FloorDiv": "Div",
    "FusedBatchNormGradV3": "BatchNormGrad",
    "Gather": "Gather",
    "GatherNd": "Gather",
    "GatherV2": "Gather",
    "Greater": "Compare",
    "GreaterEqual": "Compare",
    "L2Loss": "Norm",
    "LRN": "LRN",
    "LRNGrad": "LRNGrad",
    "Less": "Compare",
    "LessEqual": "Compare",
    "Log": "Log",
    "Log1p": "Log1p",
    "LogSoftmax": "LogSoftmax",
    "LogicalAnd": "Logical",
    "LogicalNot": "Logical",
    "LogicalOr": "Logical",
    "MatMul": "MatMul",
    "Max": "Max",
    "MaxPool": "MaxPool",
    "MaxPoolGrad": "MaxPoolGrad",
    "Maximum": "Maximum",
    "Mean": "Mean",
    "Min": "Min",
    "Minimum": "Minimum",
    "Mul": "Mul",
    "Neg": "Neg",
    "NotEqual": "Compare",
    "OneHot": "OneHot",
    "OnesLike": "Fill",
    "Pack": "Concat",
    "Pad": "Pad",
    "PadV2": "Pad",
    "Pow": "Pow",
    "Prod": "Prod",
    "RandomStandardNormal": "RandomNormal",
    "RandomUniform": "RandomUniform",
    "Range": "Fill",
    "RealDiv": "Div",
    "Reciprocal": "Reciprocal",
    "ReciprocalGrad": "Reciprocal",
    "Relu": "Relu",
    "ReluGrad": "ReluGrad",
    "Reshape": "Reshape",
    "Round": "Round",
    "Rsqrt": "Rsqrt",
    "RsqrtGrad": "Rsqrt",
    "Select": "Select",
    "SelectV2": "Select",
    "Sigmoid": "Sigmoid",
    "SigmoidGrad": "SigmoidGrad",
    "Sign": "Sign",
    "Sin": "Sin",
    "Slice": "Slice",
    "Softmax": "Softmax",
    "SoftmaxCrossEntropyWithLogits": "CrossEntropy",
    "Softplus": "Softplus",
    "SoftplusGrad": "SoftplusGrad",
    "Split": "Slice",
    "SplitV": "Slice",
    "Sqrt": "Sqrt",
    "SqrtGrad": "Sqrt",
    "Square": "Square",
    "SquaredDifference": "Square",
    "Squeeze": "Reshape",
    "StridedSlice": "Slice",
    "StridedSliceGrad": "SliceGrad",
    "Sub": "Sub",
    "Sum": "Sum",
    "Tanh": "Tanh",
    "TanhGrad": "TanhGrad",
    "Tile": "Tile",
    "TopKV2": "ArgMax",
    "Transpose": "Transpose",
    "Unpack": "Slice",
    "UnsortedSegmentSum": "GatherGrad",
    "ZerosLike": "Fill",
}
"""TensorFlow operation type to canonical op."""

MOVED_AWAY = frozenset(
    {"Const", "Identity", "IdentityN", "NoOp", "Placeholder", "PreventGradient", "Snapshot", "StopGradient"}
)
"""Types that compute nothing and become no node."""


def canonical_op(op: tf.Operation) -> str:
    """The canonical op of a TensorFlow operation.

    Raises:
        ExportError: Its type is not in the table.
    """
    if op.type == "FusedBatchNormV3":
        return "BatchNormTraining" if op.get_attr("is_training") else "BatchNorm"
    if op.type in MOVED_AWAY:
        return "Identity"
    if op.type not in CANONICAL_OF:
        raise ExportError(
            f"TensorFlow operation '{op.name}' is of type {op.type}, which has no canonical op",
            "add it to exporters/fathom_exporters/tensorflow/translate/ops.py, or write the model without it",
        )
    return CANONICAL_OF[op.type]
