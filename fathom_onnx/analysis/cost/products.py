"""Arithmetic of convolutions and matrix products, plain, fused and quantized, of experts and of linear models.

Each formula states its multiply-accumulates; the FLOPs are twice these plus the node's other work on each output
element (bias, residual, activation, requantisation).
"""

from __future__ import annotations

import math

from .call import Arithmetic, Call, Formula, NotKnown

__all__ = [
    "ACTIVATIONS",
    "DEQUANTIZE",
    "QUANTIZE",
    "cdist",
    "conv",
    "conv_transpose",
    "deform_conv",
    "det",
    "experts",
    "gemm",
    "inverse",
    "linear_model",
    "matmul",
    "nbits",
    "nbits_mlp",
    "nbits_qkv",
    "packed_matmul",
    "product",
    "qgemm",
    "quantized_conv",
    "quantized_conv_transpose",
    "support_vectors",
]

QUANTIZE = 4
"""FLOPs of quantizing an element: divide by the scale, round, add the zero point, saturate."""

DEQUANTIZE = 2
"""FLOPs of dequantizing an element: subtract the zero point, multiply by the scale."""

ACTIVATIONS: dict[str, int] = {
    "relu": 1,
    "tanh": 1,
    "sigmoid": 4,  # negate, exp, add, divide
    "affine": 2,
    "leakyrelu": 2,
    "thresholdedrelu": 1,
    "scaledtanh": 3,
    "hardsigmoid": 4,
    "hardswish": 5,
    "elu": 4,
    "softsign": 3,
    "softplus": 3,
    "clip": 2,
    "silu": 5,
    "swish": 5,
    "gelu": 5,
    "softmax": 5,
}
"""Name of an activation inside another op, in lower case, to FLOPs an element."""


def _activation(call: Call, name: str = "activation") -> int:
    chosen = call.text(name).lower()
    if chosen in ("", "none"):
        return 0
    if chosen not in ACTIVATIONS:
        raise NotKnown(f"activation '{chosen}' is in no table")
    return ACTIVATIONS[chosen]


def _given(call: Call, *positions: int) -> int:
    return sum(call.has(position) for position in positions)


def conv(*added: int) -> Formula:
    """A convolution; the inputs at these positions (bias, residual) are added to the output where they are given."""

    def formula(call: Call) -> Arithmetic:
        """MACs = output elements x (I / group) x kernel elements; the filter is [O, I / group, *kernel]."""
        macs = call.output_elements() * math.prod(call.shape(1)[1:])
        return macs, 2 * macs + (_given(call, *added) + _activation(call)) * call.output_elements()

    return formula


def conv_transpose(call: Call) -> Arithmetic:
    """MACs = input elements x (O / group) x kernel elements; the filter is [I, O / group, *kernel]."""
    macs = call.elements(0) * math.prod(call.shape(1)[1:])
    bias = 3 if call.node.op_type == "ConvTransposeWithDynamicPads" else 2
    return macs, 2 * macs + (_given(call, bias) + _activation(call)) * call.output_elements()


def quantized_conv(call: Call) -> Arithmetic:
    """MACs of the convolution; bias and requantisation an output element. The filter is input 3."""
    macs = call.output_elements() * math.prod(call.shape(3)[1:])
    return macs, 2 * macs + (_given(call, 8) + QUANTIZE) * call.output_elements()


def quantized_conv_transpose(call: Call) -> Arithmetic:
    """MACs of the transposed convolution; bias and requantisation an output element."""
    macs = call.elements(0) * math.prod(call.shape(3)[1:])
    return macs, 2 * macs + (_given(call, 8) + QUANTIZE) * call.output_elements()


def deform_conv(call: Call) -> Arithmetic:
    """MACs of the convolution; each sampled input element is interpolated from four (8 FLOPs), mask and bias added."""
    filters = call.matrix(1, 4)
    batch, channels = call.shape(0)[:2]
    macs = call.output_elements() * math.prod(filters[1:])
    samples = batch * channels * math.prod(call.result()[2:]) * math.prod(filters[2:])
    return macs, 2 * macs + (8 + _given(call, 4)) * samples + _given(call, 3) * call.output_elements()


def gemm(call: Call) -> Arithmetic:
    """MACs = M x N x K; the added C is one FLOP an output element."""
    inner = call.matrix(0, 2)[0 if call.integer("transA", 0) else 1]
    macs = call.output_elements() * inner
    return macs, 2 * macs + (_given(call, 2) + _activation(call)) * call.output_elements()


def _inner(call: Call) -> int:
    shape = call.shape(0)
    if not shape:
        raise NotKnown("input 0 is a scalar")
    transposed = bool(call.integer("transA", 0)) and len(shape) > 1
    return shape[-2 if transposed else -1]


def matmul(call: Call) -> Arithmetic:
    """MACs = output elements x K."""
    macs = call.output_elements() * _inner(call)
    return macs, 2 * macs + _activation(call) * call.output_elements()


def product(*added: int, each: int = 0, prepare: int = 0) -> Formula:
    """A matrix product that does more in the same node.

    Args:
        added: Positions of what is added to the output where it is given: bias, residual.
        each: FLOPs an output element besides: requantisation, scaling, an activation.
        prepare: FLOPs an element of the first matrix, where it is quantized in the node.
    """

    def formula(call: Call) -> Arithmetic:
        """MACs = output elements x K."""
        macs = call.output_elements() * _inner(call)
        return macs, 2 * macs + (each + _given(call, *added)) * call.output_elements() + prepare * call.elements(0)

    return formula


def qgemm(call: Call) -> Arithmetic:
    """MACs = M x N x K; scaling, bias, and requantisation where the output has a scale."""
    macs = call.output_elements() * call.matrix(0, 2)[0 if call.integer("transA", 0) else 1]
    each = _given(call, 6) + (QUANTIZE if call.has(7) else 1)
    return macs, 2 * macs + each * call.output_elements()


def packed_matmul(call: Call) -> Arithmetic:
    """MACs = output elements x K, and 2 FLOPs to dequantize each of the N x K packed weights."""
    inner = call.shape(0)[-1]
    macs = call.output_elements() * inner
    bias = {"MatMulBlockQuantizedFp4Weight": 5, "MatMulBlockQuantizedFp8Weight": 4}.get(call.node.op_type)
    added = call.output_elements() if bias is not None and call.has(bias) else 0
    return macs, 2 * macs + DEQUANTIZE * call.result()[-1] * inner + added


def _nbits(call: Call, columns: int, inner: int, biases: int) -> Arithmetic:
    rows = call.elements(0) // inner if inner else 0
    macs = rows * columns * inner
    return macs, 2 * macs + DEQUANTIZE * columns * inner + biases * rows * columns


def nbits(call: Call) -> Arithmetic:
    """MACs = rows x N x K; 2 FLOPs to dequantize each of the N x K weights, once."""
    return _nbits(call, call.integer("N"), call.integer("K"), _given(call, 5))


def _normalised(call: Call, skip: int, scale: int) -> int:
    """FLOPs of the RMS normalisation before a product: 4 an element, one more for the residual."""
    return call.elements(0) * ((4 if call.has(scale) else 0) + _given(call, skip))


def nbits_mlp(call: Call) -> Arithmetic:
    """Two products of N columns from one input; the activated one multiplies the other."""
    columns, inner = call.integer("N"), call.integer("K")
    macs, flops = _nbits(call, 2 * columns, inner, 0)
    each = _given(call, 5, 8) + 1 + (_activation(call) or ACTIVATIONS["silu"])
    return macs, flops + each * call.output_elements() + _normalised(call, 1, 2)


def nbits_qkv(call: Call) -> Arithmetic:
    """Three products of Nq, Nkv and Nkv columns from one input."""
    inner, query, other = call.integer("K"), call.integer("Nq"), call.integer("Nkv")
    macs, flops = _nbits(call, query + 2 * other, inner, 0)
    rows = call.elements(0) // inner if inner else 0
    biases = rows * (query * _given(call, 5) + other * _given(call, 8, 11))
    return macs, flops + biases + _normalised(call, 1, 2)


def det(call: Call) -> Arithmetic:
    """By elimination: n (n - 1) (2n - 1) / 6 MACs, n (n - 1) / 2 divisions and n - 1 products a matrix."""
    shape = call.shape(0)
    if len(shape) < 2:
        raise NotKnown("input 0 is not a matrix")
    size, count = shape[-1], math.prod(shape[:-2])
    macs = size * (size - 1) * (2 * size - 1) // 6
    return count * macs, count * (2 * macs + size * (size - 1) // 2 + max(0, size - 1))


def inverse(call: Call) -> Arithmetic:
    """n^3 MACs a matrix, by elimination."""
    shape = call.shape(0)
    macs = math.prod(shape) * (shape[-1] if shape else 0)
    return macs, 2 * macs


def cdist(call: Call) -> Arithmetic:
    """M x K x N: a subtraction and a multiply-accumulate each; a root a distance unless it is squared."""
    macs = call.output_elements() * call.matrix(0, 2)[1]
    root = 0 if call.text("metric", "sqeuclidean") == "sqeuclidean" else 1
    return macs, 3 * macs + root * call.output_elements()


def experts(call: Call) -> Arithmetic:
    """MACs = tokens x k x the weights of one expert; and the softmax that routes. Activations are left out."""
    tokens, count = call.matrix(1, 2)
    chosen = call.integer("k", 1)
    quantized = call.node.op_type == "QMoE"
    packed = 8 // call.integer("expert_weight_bits", 4) if quantized else 1
    positions = (2, 5, 8) if quantized else (2, 4, 6)
    each = sum(math.prod(call.shape(p)[1:]) * packed for p in positions if call.has(p))
    macs = tokens * chosen * each
    return macs, 2 * macs + 5 * tokens * count


def linear_model(call: Call) -> Arithmetic:
    """MACs = rows x coefficients; an intercept is one FLOP a score."""
    raw = call.attributes.get("coefficients")
    coefficients = len(raw) if isinstance(raw, (list, tuple)) else 0
    shape = call.shape(0)
    rows = shape[0] if len(shape) > 1 else 1
    width = shape[-1] if shape else 1
    macs = rows * coefficients
    intercepts = call.attributes.get("intercepts")
    scores = coefficients // width if width else 0
    return macs, 2 * macs + (rows * scores if isinstance(intercepts, (list, tuple)) and intercepts else 0)


def support_vectors(call: Call) -> Arithmetic:
    """MACs = rows x (kernel elements of all support vectors + their coefficients); an RBF kernel subtracts as well."""
    raw, weights = call.attributes.get("support_vectors"), call.attributes.get("coefficients")
    elements = len(raw) if isinstance(raw, (list, tuple)) else 0
    if not elements:
        raise NotKnown("it has no support vectors")
    shape = call.shape(0)
    rows = shape[0] if len(shape) > 1 else 1
    macs = rows * (elements + (len(weights) if isinstance(weights, (list, tuple)) else 0))
    vectors = elements // shape[-1] if shape and shape[-1] else 0
    kind = call.text("kernel_type", "LINEAR")
    # the kernel's own function a vector: scale and offset, then exp, tanh or power
    extra = {"LINEAR": 0, "POLY": 3, "RBF": 2, "SIGMOID": 3}.get(kind, 0) * rows * vectors
    return macs, 2 * macs + (rows * elements if kind == "RBF" else 0) + extra
