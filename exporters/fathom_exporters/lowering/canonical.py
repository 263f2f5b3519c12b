"""The canonical gradient ops: what framework translators emit and the lowering pass turns into standard ONNX.

They are ops of a private domain that never reaches a file. Images are [N, C, *size] and filters [O, I, *kernel] with
one, two or three sides, NCHW and OIHW, whatever layout the framework used. The shapes of all inputs and outputs are
static and known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx.defs

__all__ = ["CANONICAL", "DOMAIN", "VERSION", "CanonicalGradientOp", "register_schemas"]

DOMAIN = "fathom.training"
"""Private domain of the canonical gradient ops; no node of it reaches a file."""

VERSION = 1
"""Version of the private domain."""

_KINDS = {
    "ints": onnx.defs.OpSchema.AttrType.INTS,
    "int": onnx.defs.OpSchema.AttrType.INT,
    "float": onnx.defs.OpSchema.AttrType.FLOAT,
}


@dataclass(frozen=True)
class CanonicalGradientOp:
    """One op of the private domain: its inputs, outputs and attributes in order, and what it computes.

    ``indices`` names the inputs that are whole numbers.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    meaning: str
    attributes: dict[str, str] = field(default_factory=dict)
    indices: tuple[str, ...] = ()


_FLOATS = ("T", ["tensor(float)", "tensor(double)"], "floating point")
_INDICES = ("I", ["tensor(int64)", "tensor(int32)"], "indices")

_WINDOW = {"kernel_shape": "ints", "strides": "ints", "pads": "ints", "dilations": "ints"}
"""As in ONNX: pads are those at the start of each side, then those at the end, [top, left, bottom, right]."""

_OPS = (
    CanonicalGradientOp(
        "Conv2DBackFilter",
        ("dy", "x"),
        ("dw",),
        "gradient of Conv for its filter [O, I/group, *kernel]",
        {**_WINDOW, "group": "int"},
    ),
    CanonicalGradientOp(
        "Conv2DBackInput",
        ("dy", "w"),
        ("dx",),
        "gradient of Conv for its input; its shape is input_shape [N, C, *size]",
        {**_WINDOW, "group": "int", "input_shape": "ints"},
    ),
    CanonicalGradientOp(
        "MaxPoolGrad",
        ("dy", "x"),
        ("dx",),
        "gradient of MaxPool; the first largest element of a window in row-major order takes all",
        _WINDOW,
    ),
    CanonicalGradientOp("ReluGrad", ("dy", "y"), ("dx",), "dy where the output y > 0, else 0"),
    CanonicalGradientOp(
        "ClipGrad",
        ("dy", "x"),
        ("dx",),
        "dy where min < x < max, else 0, x the input",
        {"min": "float", "max": "float"},
    ),
    CanonicalGradientOp("SigmoidGrad", ("dy", "y"), ("dx",), "dy * y * (1 - y), y the output"),
    CanonicalGradientOp("TanhGrad", ("dy", "y"), ("dx",), "dy * (1 - y^2), y the output"),
    CanonicalGradientOp("SoftplusGrad", ("dy", "x"), ("dx",), "dy * sigmoid(x), x the input"),
    CanonicalGradientOp(
        "GeluGrad",
        ("dy", "x"),
        ("dx",),
        "dy times the derivative of x * Phi(x), x the input; tanh says whether Phi is approximated by a tanh",
        {"tanh": "int"},
    ),
    CanonicalGradientOp("SiluGrad", ("dy", "x"), ("dx",), "dy * s * (1 + x * (1 - s)), s = sigmoid(x), x the input"),
    CanonicalGradientOp("LogSoftmaxGrad", ("dy", "y"), ("dx",), "dy - exp(y) * sum(dy), y the output", {"axis": "int"}),
    CanonicalGradientOp("SoftmaxGrad", ("dy", "y"), ("dx",), "(dy - sum(dy * y)) * y, y the output", {"axis": "int"}),
    CanonicalGradientOp(
        "CrossEntropy",
        ("logits", "labels"),
        ("loss", "dlogits"),
        "softmax cross-entropy of rows [N, C] with float labels: loss [N] and softmax(logits) - labels",
    ),
    CanonicalGradientOp(
        "BatchNormTraining",
        ("x", "scale", "bias"),
        ("y", "mean", "var", "inv_std"),
        "batch normalisation of [N, C, *size] over N and *size; var is the population variance; all statistics [C]",
        {"epsilon": "float"},
    ),
    CanonicalGradientOp(
        "BatchNormGrad",
        ("dy", "x", "scale", "mean", "inv_std"),
        ("dx", "dscale", "dbias"),
        "gradient of BatchNormTraining from its mean and inv_std",
    ),
    CanonicalGradientOp(
        "LayerNormGrad",
        ("dy", "x", "scale", "mean", "inv_std"),
        ("dx", "dscale", "dbias"),
        "gradient of a normalisation over the last axes, those of scale; mean and inv_std have 1 in their places",
    ),
    CanonicalGradientOp(
        "GroupNormGrad",
        ("dy", "x", "scale", "mean", "inv_std"),
        ("dx", "dscale", "dbias"),
        "gradient of a normalisation of [N, C, *size] over groups of channels; mean and inv_std are [N, groups]",
    ),
    CanonicalGradientOp(
        "GatherGrad",
        ("dy", "indices"),
        ("dw",),
        "gradient of Gather on axis 0 for its table [rows, ...]: rows of dy added where indices point",
        {"rows": "int"},
        indices=("indices",),
    ),
    CanonicalGradientOp(
        "ScatterAdd",
        ("x", "dy", "indices"),
        ("y",),
        "x [rows, ...] with rows of dy added where indices point; update of a table of which a step reads few rows",
        indices=("indices",),
    ),
    CanonicalGradientOp(
        "SliceGrad",
        ("dy",),
        ("dx",),
        "gradient of Slice with steps of 1: dy at starts within zeros of input_shape; dy has the input's rank",
        {"input_shape": "ints", "starts": "ints"},
    ),
    CanonicalGradientOp(
        "LRNGrad",
        ("dy", "x", "y"),
        ("dx",),
        "gradient of LRN from its input and output; size is odd, alpha is of the window's mean of squares as in ONNX",
        {"size": "int", "alpha": "float", "beta": "float", "bias": "float"},
    ),
)

CANONICAL: dict[str, CanonicalGradientOp] = {op.name: op for op in _OPS}
"""Name to canonical gradient op."""


def register_schemas() -> None:
    """Register the private ops with onnx; PyTorch's exporter refuses ops without a schema. Safe to call again."""
    for op in _OPS:
        if onnx.defs.has(op.name, DOMAIN):
            continue
        parameter = onnx.defs.OpSchema.FormalParameter
        onnx.defs.register_schema(
            onnx.defs.OpSchema(
                op.name,
                DOMAIN,
                VERSION,
                doc=op.meaning,
                inputs=[parameter(name, "I" if name in op.indices else "T") for name in op.inputs],
                outputs=[parameter(name, "T") for name in op.outputs],
                type_constraints=[_FLOATS, _INDICES] if op.indices else [_FLOATS],
                attributes=[onnx.defs.OpSchema.Attribute(name, _KINDS[kind]) for name, kind in op.attributes.items()],
            )
        )
