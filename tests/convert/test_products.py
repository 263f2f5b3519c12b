"""Nodes as matrix products: the same multiply-accumulates as the cost model's, and the products that define them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from fathom_onnx.analysis.cost.formulas import CONTRIB, ONNX
from fathom_onnx.analysis.cost.node_costs import node_cost
from fathom_onnx.convert.matrix_products import CONTRIB_FORMS, FORMS, MatrixProduct, products
from fathom_onnx.graph import Tensor

Shape = tuple[int, ...]


def made(kind: str, inputs: list[Shape | None], output: Shape | None, **more: Any) -> tuple[Any, dict[str, Tensor]]:
    names = [f"i{n}" for n in range(len(inputs))]
    node = helper.make_node(kind, names, ["o"], **more)
    shapes = dict(zip([*names, "o"], [*inputs, output], strict=True))
    return node, {name: Tensor(name, shape, "float32") for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        # 2 x 10 x 10 windows of 4 x 3 x 3 elements, 8 filters
        (made("Conv", [(2, 4, 12, 12), (8, 4, 3, 3), (8,)], (2, 8, 10, 10)), [MatrixProduct(200, 8, 36)]),
        (made("Conv", [(1, 6, 8, 8), (12, 2, 3, 3)], (1, 12, 6, 6), group=3), [MatrixProduct(36, 4, 18, 3)]),
        # depthwise
        (made("Conv", [(1, 6, 8, 8), (6, 1, 3, 3)], (1, 6, 6, 6), group=6), [MatrixProduct(36, 1, 9, 6)]),
        # the filter gradient of a 3x3 convolution with stride 2, from x [2, 3, 7, 7] and dy [2, 4, 3, 3]:
        # dw [4, 3 x 3 x 3] sums over the batch and the 3 x 3 positions
        (made("Conv", [(3, 2, 7, 7), (4, 2, 3, 3)], (3, 4, 3, 3), dilations=[2, 2]), [MatrixProduct(27, 4, 18)]),
        # the input gradient with stride 2: dy [2, 4, 5, 5] by w [4, 3, 3, 3]
        (made("ConvTranspose", [(2, 4, 5, 5), (4, 3, 3, 3)], (2, 3, 11, 11)), [MatrixProduct(50, 27, 4)]),
        (made("ConvTranspose", [(2, 4, 5, 5), (4, 3, 3, 3)], (2, 6, 11, 11), group=2), [MatrixProduct(50, 27, 2, 2)]),
        (made("Gemm", [(3, 5), (5, 7), (7,)], (3, 7)), [MatrixProduct(3, 7, 5)]),
        (made("Gemm", [(5, 3), (7, 5)], (3, 7), transA=1, transB=1), [MatrixProduct(3, 7, 5)]),
        (made("MatMul", [(3, 5), (5, 7)], (3, 7)), [MatrixProduct(3, 7, 5)]),
        (made("MatMul", [(4, 3, 5), (4, 5, 7)], (4, 3, 7)), [MatrixProduct(3, 7, 5, 4)]),
        # one matrix for all of the batch is one larger product
        (made("MatMul", [(4, 3, 5), (5, 7)], (4, 3, 7)), [MatrixProduct(12, 7, 5)]),
        (made("MatMul", [(4, 3, 5), (1, 5, 7)], (4, 3, 7)), [MatrixProduct(12, 7, 5)]),
        (made("MatMul", [(3, 5), (4, 5, 7)], (4, 3, 7)), [MatrixProduct(3, 28, 5)]),
        (made("MatMul", [(2, 1, 3, 5), (4, 5, 7)], (2, 4, 3, 7)), [MatrixProduct(6, 28, 5)]),
        (made("MatMul", [(5,), (5, 7)], (7,)), [MatrixProduct(1, 7, 5)]),
        (made("MatMul", [(3, 5), (5,)], (3,)), [MatrixProduct(3, 1, 5)]),
        (made("Einsum", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), equation="bij, bjk -> bik"), [MatrixProduct(3, 5, 4, 2)]),
        (made("Einsum", [(2, 3), (4, 3)], (2, 4), equation="ik,jk->ij"), [MatrixProduct(2, 4, 3)]),
        (made("Einsum", [(2, 3), (3, 4)], (2, 4), equation="...j,jk->...k"), [MatrixProduct(2, 4, 3)]),
        (made("Einsum", [(2, 3), (3, 4)], (2, 4), equation="ij,jk"), [MatrixProduct(2, 4, 3)]),
        (
            made("Einsum", [(3, 4), (4, 5), (5, 6)], (3, 6), equation="ij,jk,kl->il"),
            [MatrixProduct(3, 5, 4), MatrixProduct(3, 6, 5)],
        ),
        # eight heads of queries, five keys
        (
            made("Attention", [(2, 8, 3, 4), (2, 2, 5, 4), (2, 2, 5, 6)], (2, 8, 3, 6)),
            [MatrixProduct(3, 5, 4, 16), MatrixProduct(3, 6, 5, 16)],
        ),
        (
            made("LSTM", [(5, 2, 3), (1, 16, 3), (1, 16, 4)], (5, 1, 2, 4), hidden_size=4),
            [MatrixProduct(10, 16, 3), MatrixProduct(2, 16, 4, 5)],
        ),
        (
            made("RNN", [(5, 2, 3), (2, 4, 3), (2, 4, 4)], (5, 2, 2, 4), hidden_size=4),
            [MatrixProduct(10, 4, 3, 2), MatrixProduct(2, 4, 4, 10)],
        ),
    ],
)
def test_products(case: tuple[Any, dict[str, Tensor]], expected: list[MatrixProduct]) -> None:
    assert products(*case) == tuple(expected)
    assert sum(p.macs for p in expected) == node_cost(*case).macs


def test_a_recurrent_layer_with_the_batch_first() -> None:
    case = made("GRU", [(2, 5, 3), (1, 12, 3), (1, 12, 4)], (2, 5, 1, 4), hidden_size=4, layout=1)
    assert products(*case) == (MatrixProduct(10, 12, 3), MatrixProduct(2, 12, 4, 5))


@pytest.mark.parametrize(
    "case",
    [
        made("Conv", [(2, 4, 12, 12), None], (2, 8, 10, 10)),
        made("Conv", [(2, 4, 12, 12), (8, 4, 3, 3)], None),
        made("MatMul", [None, (5, 7)], (3, 7)),
        made("Einsum", [(2, 2), (2, 4)], (2, 4), equation="ii,ik->ik"),
        made("Einsum", [(2, 3), None], (2, 4), equation="ij,jk->ik"),
        made("MatMulNBits", [(3, 64), (7, 2, 16), (7, 2)], (3, 7), domain="com.microsoft"),
        made("Relu", [(3,)], (3,)),
        made("Conv", [(2, 4, 12, 12), (8, 4, 3, 3)], (2, 8, 10, 10), domain="mine"),
    ],
)
def test_what_has_no_products_is_none(case: tuple[Any, dict[str, Tensor]]) -> None:
    assert products(*case) is None


SIZES = st.integers(1, 6)


@given(st.lists(SIZES, max_size=3), st.lists(st.booleans(), min_size=6, max_size=6), SIZES, SIZES, SIZES)
def test_any_broadcast_matmul_has_its_macs(batch: list[int], single: list[bool], m: int, n: int, k: int) -> None:
    a = tuple(1 if one else size for size, one in zip(batch, single[:3], strict=False))
    b = tuple(1 if one else size for size, one in zip(batch, single[3:], strict=False))
    out = tuple(max(pair) for pair in zip(a, b, strict=True))
    case = made("MatMul", [(*a, m, k), (*b, k, n)], (*out, m, n))
    (product,) = products(*case) or ()
    assert product.macs == node_cost(*case).macs
    assert product.k == k
    # only an axis that both operands have needs products of their own
    assert product.times == math.prod(x for x, y in zip(a, b, strict=True) if x > 1 and y > 1)


@given(SIZES, st.integers(1, 3), SIZES, SIZES, st.lists(SIZES, min_size=1, max_size=3), st.lists(SIZES, max_size=3))
def test_any_convolution_has_its_macs(
    batch: int, group: int, inner: int, filters: int, out: list[int], kernel: list[int]
) -> None:
    kernel = [*kernel, 2, 2, 2][: len(out)]
    size = [o + k - 1 for o, k in zip(out, kernel, strict=True)]
    shapes = [(batch, group * inner, *size), (group * filters, inner, *kernel)]
    case = made("Conv", shapes, (batch, group * filters, *out), group=group)
    assert sum(p.macs for p in products(*case) or ()) == node_cost(*case).macs
    shapes = [(batch, group * inner, *out), (group * inner, filters, *kernel)]
    case = made("ConvTranspose", shapes, (batch, group * filters, *size), group=group)
    assert sum(p.macs for p in products(*case) or ()) == node_cost(*case).macs


MS = "com.microsoft"


@pytest.mark.parametrize(
    ("case", "macs"),
    [
        (made("AffineGrid", [(2, 2, 3), (4,)], (2, 5, 6, 2)), 2 * 30 * 2 * 3),
        (made("CausalConvWithState", [(2, 6, 9), (6, 1, 4)], (2, 6, 9)), 2 * 6 * 9 * 4),
        (made("CDist", [(5, 3), (7, 3)], (5, 7), domain=MS), 5 * 7 * 3),
        (made("ConvTransposeWithDynamicPads", [(2, 4, 5, 5), (4, 3, 3, 3)], (2, 3, 7, 7), domain=MS), 50 * 27 * 4),
        (
            made("QLinearConvTranspose", [(2, 4, 5, 5), (), (), (4, 3, 3, 3)], (2, 3, 7, 7), domain=MS),
            50 * 27 * 4,
        ),
        (
            made(
                "DecoderMaskedMultiHeadAttention",
                [(2, 1, 8), (2, 2, 5, 4), (2, 2, 5, 4)],
                (2, 1, 8),
                domain=MS,
                num_heads=2,
            ),
            2 * 2 * 5 * 8,
        ),
        (
            made("DynamicQuantizeLSTM", [(5, 2, 3), (1, 3, 16), (1, 4, 16)], (5, 1, 2, 4), domain=MS, hidden_size=4),
            10 * 16 * 7,
        ),
        (made("FusedGemm", [(5, 3), (5, 7)], (3, 7), domain=MS, transA=1), 105),
        (made("FusedMatMulActivation", [(3, 5), (5, 7)], (3, 7), domain=MS, activation="Relu"), 105),
        (made("GemmFastGelu", [(3, 5), (5, 7)], (3, 7), domain=MS), 105),
        (made("GemmFloat8", [(3, 5), (5, 7)], (3, 7), domain=MS), 105),
        (
            made(
                "GroupQueryAttention",
                [(2, 3, 32), (2, 3, 8), (2, 3, 8)],
                (2, 3, 32),
                domain=MS,
                num_heads=8,
                kv_num_heads=2,
            ),
            2 * 8 * 3 * 3 * 8,
        ),
        (made("MatMulBlockQuantizedFp4Weight", [(2, 3, 8), (5, 4)], (2, 3, 5), domain=MS), 6 * 8 * 5),
        (made("MatMulBlockQuantizedFp8Weight", [(2, 3, 8), (5, 4)], (2, 3, 5), domain=MS), 6 * 8 * 5),
        (made("MatMulBnb4", [(2, 3, 8), (20,)], (2, 3, 5), domain=MS), 6 * 8 * 5),
        (made("MatMulFpQ4", [(2, 3, 8), (20,)], (2, 3, 5), domain=MS), 6 * 8 * 5),
        (made("MatMulInteger16", [(3, 5), (5, 7)], (3, 7), domain=MS), 105),
        (made("MatMulIntegerToFloat", [(3, 5), (5, 7)], (3, 7), domain=MS), 105),
        (made("MatMulNBitsMlp", [(2, 3, 64)], (2, 3, 7), domain=MS, N=7, K=64), 2 * 6 * 64 * 7),
        (made("MatMulNBitsQkv", [(2, 3, 64)], (2, 3, 8), domain=MS, Nq=8, Nkv=2, K=64), 6 * 64 * 12),
        (made("MoE", [(6, 8), (6, 4), (4, 16, 8), (4, 16), (4, 8, 16)], (6, 8), domain=MS, k=2), 12 * 256),
        (made("QMoE", [(6, 8), (6, 4), (4, 16, 4), (4,), (4,), (4, 8, 8)], (6, 8), domain=MS), 6 * 256),
        (made("NhwcFusedConv", [(1, 9, 9, 4), (6, 3, 3, 4)], (1, 7, 7, 6), domain=MS), 6 * 49 * 36),
        (
            made("QAttention", [(2, 3, 8), (8, 24), (24,), (), ()], (2, 3, 8), domain=MS, num_heads=2),
            6 * 8 * 24 + 2 * 2 * 9 * 8,
        ),
        (
            made(
                "QOrderedAttention",
                [(2, 3, 8), (), (), (), (), (8, 8), (8, 8), (8, 8)],
                (2, 3, 8),
                domain=MS,
                num_heads=2,
            ),
            6 * 8 * 24 + 2 * 2 * 9 * 8,
        ),
        (made("QOrderedMatMul", [(3, 5), (), (5, 7)], (3, 7), domain=MS), 105),
        (made("TransposeMatMul", [(5, 3), (5, 7)], (3, 7), domain=MS, transA=1), 105),
        (made("VarlenCausalConvWithState", [(18, 6), (6, 1, 4)], (18, 6), domain=MS), 18 * 6 * 4),
    ],
    ids=lambda case: case[0].op_type if isinstance(case, tuple) else "",
)
def test_ops_that_only_onnxruntime_has(case: tuple[Any, dict[str, Tensor]], macs: int) -> None:
    assert sum(p.macs for p in products(*case) or ()) == macs == node_cost(*case).macs


def test_every_product_of_the_cost_model_has_a_form_or_is_known_to_have_none() -> None:
    counted = {op for op, rule in ONNX.items() if rule.product}
    assert counted - set(FORMS) == {"Det", "LinearAttention"}
    assert {op for op, rule in CONTRIB.items() if rule.product} - set(CONTRIB_FORMS) == {"Inverse"}
    assert set(FORMS) <= counted
