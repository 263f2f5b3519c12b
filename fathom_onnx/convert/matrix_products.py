"""The matrix products of a node: the work of a systolic array, or of any tool that knows only [m, k] x [k, n].

A convolution is the product of its unrolled windows (im2col) with its filters: m = batch x output positions,
n = filters, k = channels x kernel elements, once for each group. This also holds for the gradients in the form they
have in a graph. A filter gradient, written as a convolution of the input by the output's gradient (batch and channels
swapped, stride as dilation), has m = channels x kernel elements, n = filters, k = batch x output positions, which is
the product that defines it. An input gradient, written as a transposed convolution, has m = batch x output positions,
n = channels x kernel elements, k = filters. Zeros between dilated elements are not counted.

The products of a node have exactly the multiply-accumulates of :mod:`fathom_onnx.analysis.cost.node_costs`.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from fathom_onnx.analysis.cost import attention as heads
from fathom_onnx.analysis.cost.call import Call, NotKnown
from fathom_onnx.graph import Tensor
from fathom_onnx.graph.static.values import Values

from .forms.attention import attention
from .forms.convolutions import convolution, depthwise, transposed
from .forms.matrices import affine_grid, distances, einsum, experts, gemm, matmul, nbits, packed
from .forms.product import Form, MatrixProduct
from .forms.recurrent import recurrent

__all__ = ["CONTRIB_FORMS", "FORMS", "MatrixProduct", "form_of", "products"]

FORMS: dict[str, Form] = {
    "AffineGrid": affine_grid,
    "Attention": attention(heads.attention),
    "CausalConvWithState": depthwise,
    "Conv": convolution(),
    "ConvInteger": convolution(),
    "ConvTranspose": transposed(),
    "DeformConv": convolution(),
    "Einsum": einsum,
    "GRU": recurrent,
    "Gemm": gemm,
    "LSTM": recurrent,
    "MatMul": matmul(),
    "MatMulInteger": matmul(),
    "QLinearConv": convolution(weights=3),
    "QLinearMatMul": matmul(weights=3),
    "RNN": recurrent,
}
"""Op type of the default domain to the form of its products."""

CONTRIB_FORMS: dict[str, Form] = {
    "Attention": attention(heads.projected_attention),
    "CDist": distances,
    "ConvTransposeWithDynamicPads": transposed(),
    "DecoderMaskedMultiHeadAttention": attention(heads.decoder_masked_attention),
    "DynamicQuantizeLSTM": recurrent,
    "DynamicQuantizeMatMul": matmul(),
    "FusedConv": convolution(),
    "FusedGemm": gemm,
    "FusedMatMul": matmul(),
    "FusedMatMulActivation": matmul(),
    "GemmFastGelu": matmul(),
    "GemmFloat8": gemm,
    "GroupQueryAttention": attention(heads.group_query_attention),
    "MatMulBlockQuantizedFp4Weight": packed,
    "MatMulBlockQuantizedFp8Weight": packed,
    "MatMulBnb4": packed,
    "MatMulFpQ4": packed,
    "MatMulInteger16": matmul(),
    "MatMulIntegerToFloat": matmul(),
    "MatMulNBits": nbits("N"),
    "MatMulNBitsMlp": nbits("N", "N"),
    "MatMulNBitsQkv": nbits("Nq", "Nkv", "Nkv"),
    "MoE": experts,
    "MultiHeadAttention": attention(heads.multi_head_attention),
    "NhwcConv": convolution(channels_last=True),
    "NhwcFusedConv": convolution(channels_last=True),
    "QAttention": attention(heads.quantized_attention),
    "QGemm": gemm,
    "QLinearConvTranspose": transposed(weights=3),
    "QMoE": experts,
    "QOrderedAttention": attention(heads.quantized_ordered_attention),
    "QOrderedMatMul": matmul(weights=2),
    "TransposeMatMul": matmul(),
    "VarlenCausalConvWithState": depthwise,
}
"""Op type of onnxruntime's own domains to the form of its products, where it differs from the default domain's."""


def form_of(node: onnx.NodeProto) -> Form | None:
    """The form of a node's products; None for an op that has none."""
    if node.domain in ("", "ai.onnx"):
        return FORMS.get(node.op_type)
    if node.domain.startswith(("com.microsoft", "com.ms.")):
        return CONTRIB_FORMS.get(node.op_type) or FORMS.get(node.op_type)
    return None


def products(
    node: onnx.NodeProto, tensors: Mapping[str, Tensor], values: Values | None = None
) -> tuple[MatrixProduct, ...] | None:
    """The matrix products of one node; None for an op that has none, or where a shape is unknown.

    Args:
        node: The node.
        tensors: Shapes and types of its tensors, by name.
        values: Tensors whose values are known before a run, for the few ops whose work depends on one.
    """
    form = form_of(node)
    if form is None:
        return None
    try:
        return form(Call(node, tensors, values or {})) or None
    except (NotKnown, ArithmeticError, IndexError, ValueError):
        return None
