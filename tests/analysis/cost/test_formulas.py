"""Hand counts of every family of ops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fathom_onnx.analysis.cost.node_costs import NodeCost
from support.graphs.cost_calls import cost

MS, NHWC, ML, PREVIEW = "com.microsoft", "com.ms.internal.nhwc", "ai.onnx.ml", "ai.onnx.preview.training"
S = ()


def check(found: NodeCost, macs: int, flops: int) -> None:
    assert (found.macs, found.flops) == (macs, flops), found.reason


@pytest.mark.parametrize(
    ("found", "macs", "flops"),
    [
        # 1-D and 3-D convolutions
        (cost("Conv", [(2, 3, 10), (5, 3, 4)], [(2, 5, 7)]), 2 * 5 * 7 * 12, 1680),
        (cost("Conv", [(1, 2, 4, 4, 4), (3, 2, 2, 2, 2)], [(1, 3, 3, 3, 3)]), 81 * 16, 2592),
        (cost("ConvTranspose", [(1, 4, 5), (4, 1, 3), (2,)], [(1, 2, 7)], group=2), 60, 120 + 14),
        # channels last: the filter is [O, *kernel, I / group]
        (cost("NhwcConv", [(1, 6, 6, 4), (8, 3, 3, 4)], [(1, 4, 4, 8)], domain=MS), 128 * 36, 9216),
        (
            cost("FusedConv", [(1, 3, 4, 4), (5, 3, 1, 1), (5,), (1, 5, 4, 4)], [(1, 5, 4, 4)], domain=MS),
            240,
            480 + 160,
        ),
        # zero points are no bias
        (cost("ConvInteger", [(1, 3, 4, 4), (5, 3, 1, 1), S, S], [(1, 5, 4, 4)]), 240, 480),
        (
            cost("QLinearConv", [(1, 3, 4, 4), S, S, (5, 3, 1, 1), S, S, S, S, (5,)], [(1, 5, 4, 4)]),
            240,
            480 + 80 * 5,
        ),
        (
            cost("QLinearConvTranspose", [(1, 5, 5, 4), S, S, (4, 2, 2, 2), S, S, S, S], [(1, 10, 10, 2)], domain=NHWC),
            800,
            1600 + 200 * 4,
        ),
        # 2 x 6 x 3 x 3 x 4 samples of 8 FLOPs
        (
            cost("DeformConv", [(2, 6, 4, 4), (5, 6, 2, 2), (2, 8, 3, 3)], [(2, 5, 3, 3)]),
            90 * 24,
            2 * 90 * 24 + 8 * 2 * 6 * 9 * 4,
        ),
        (cost("CausalConvWithState", [(1, 8, 5), (8, 1, 4), (8,), (1, 8, 3)], [(1, 8, 5), (1, 8, 3)]), 160, 360),
        (
            cost("CausalConvWithState", [(1, 8, 5), (8, 1, 4)], [(1, 8, 5), (1, 8, 3)], activation="silu", domain=MS),
            160,
            320 + 40 * 5,
        ),
    ],
)
def test_convolutions(found: NodeCost, macs: int, flops: int) -> None:
    check(found, macs, flops)


@pytest.mark.parametrize(
    ("found", "macs", "flops"),
    [
        (cost("MatMulInteger", [(3, 5), (5, 7), S, S], [(3, 7)]), 105, 210),
        (cost("QLinearMatMul", [(3, 5), S, S, (5, 7), S, S, S, S], [(3, 7)]), 105, 210 + 84),
        (cost("QGemm", [(3, 5), S, S, (5, 7), S, S, (7,), S, S], [(3, 7)], domain=MS), 105, 210 + 21 * 5),
        (cost("QGemm", [(3, 5), S, S, (5, 7), S, S], [(3, 7)], domain=MS), 105, 210 + 21),
        (cost("MatMulIntegerToFloat", [(3, 5), (5, 7), S, S], [(3, 7)], domain=MS), 105, 210 + 21),
        # the first matrix is quantized in the node: 6 FLOPs an element
        (cost("DynamicQuantizeMatMul", [(3, 5), (5, 7), S, S, (7,)], [(3, 7)], domain=MS), 105, 210 + 42 + 90),
        # 3 rows; 7 x 32 weights, two a byte, dequantized once
        (
            cost("MatMulNBits", [(1, 3, 32), (7, 1, 16), (7,)], [(1, 3, 7)], N=7, K=32, block_size=32, domain=MS),
            672,
            1344 + 448,
        ),
        (cost("MatMulBnb4", [(3, 32), (112,), (4,)], [(3, 7)], N=7, K=32, domain=MS), 672, 1344 + 448),
        (
            cost("MatMulNBitsMlp", [(3, 32), "", (32,)] + [(7, 1, 16), (7,), ""] * 2, [(3, 7)], N=7, K=32, domain=MS),
            1344,
            2688 + 896 + 21 * 6 + 96 * 4,
        ),
        (cost("GemmFastGelu", [(1, 3, 5), (5, 7), (7,)], [(1, 3, 7)], domain=MS), 105, 210 + 21 * 9),
        (cost("FusedGemm", [(3, 5), (5, 7), (7,)], [(3, 7)], activation="Relu", domain=MS), 105, 210 + 42),
        (cost("FusedGemm", [(3, 5), (5, 7)], [(3, 7)], activation="Sigmoid", domain=MS), 105, 210 + 84),
        (cost("Einsum", [(2, 3, 4, 5), (2, 5, 6)], [(2, 3, 4, 6)], equation="b...j,bjk->b...k"), 720, 1440),
        (cost("Einsum", [(4, 5), (3, 5, 6)], [(3, 4, 6)], equation="...ij,...jk->...ik"), 360, 720),
        (cost("Einsum", [(3, 3)], [()], equation="ii->"), 0, 3),
        (cost("Det", [(2, 3, 3)], [(2,)]), 10, 2 * (10 + 3 + 2)),
        (cost("Inverse", [(2, 3, 3)], [(2, 3, 3)], domain=MS), 54, 108),
        (cost("CDist", [(4, 3), (5, 3)], [(4, 5)], metric="euclidean", domain=MS), 60, 180 + 20),
        # 2 of 4 experts a token: 8 x 6 and 6 x 8 weights each; the router's softmax
        (cost("MoE", [(5, 6), (5, 4), (4, 8, 6), "", (4, 6, 8)], [(5, 6)], k=2, domain=MS), 960, 1920 + 100),
        (cost("QMoE", [(5, 6), (5, 4), (4, 8, 3), (4, 8), "", (4, 6, 4)], [(5, 6)], k=2, domain=MS), 960, 1920 + 100),
        (cost("LinearClassifier", [(10, 3)], [(10,), (10, 2)], coefficients=[1.0] * 6, domain=ML), 60, 120),
        (
            cost("LinearRegressor", [(10, 3)], [(10, 1)], coefficients=[1.0] * 3, intercepts=[1.0], domain=ML),
            30,
            70,
        ),
        (
            cost("SVMRegressor", [(10, 3)], [(10, 1)], support_vectors=[1.0] * 12, coefficients=[1.0] * 4, domain=ML),
            160,
            320,
        ),
    ],
)
def test_products(found: NodeCost, macs: int, flops: int) -> None:
    check(found, macs, flops)


@pytest.mark.parametrize(
    ("found", "macs", "flops"),
    [
        # scores 1 x 2 x 3 x 5 = 30, d = 4 for Q K' and for P V; softmax 5 and scale 1
        (cost("Attention", [(1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4)], [(1, 2, 3, 4)]), 240, 480 + 180),
        (
            cost("Attention", [(1, 3, 8), (1, 5, 8), (1, 5, 8), (3, 5)], [(1, 3, 8)], q_num_heads=2, kv_num_heads=2),
            240,
            480 + 210,
        ),
        # grouped: fewer key heads do not lessen the products; 2 keys of the past
        (
            cost(
                "Attention", [(1, 4, 3, 4), (1, 2, 5, 4), (1, 2, 5, 6), "", (1, 2, 2, 4), (1, 2, 2, 6)], [(1, 4, 3, 6)]
            ),
            84 * 10,
            1680 + 84 * 6,
        ),
        (
            cost("FlexAttention", [(1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4)], [(1, 2, 3, 4)], domain="ai.onnx.preview"),
            240,
            660,
        ),
        # projections 1 x 3 x 8 x 24 = 576 with a bias; scores 2 x 3 x 3 = 18
        (
            cost("Attention", [(1, 3, 8), (8, 24), (24,)], [(1, 3, 8)], num_heads=2, domain=MS),
            576 + 144,
            1152 + 72 + 288 + 108,
        ),
        (
            cost("QAttention", [(1, 3, 8), (8, 24), (24,), S, S], [(1, 3, 8)], num_heads=2, domain=MS),
            720,
            1620,
        ),
        (
            cost("MultiHeadAttention", [(1, 3, 8), (1, 5, 8), (1, 5, 8)], [(1, 3, 8)], num_heads=2, domain=MS),
            240,
            660,
        ),
        # the bias of the projections is added to Q, K and V
        (
            cost("MultiHeadAttention", [(1, 3, 8), (1, 5, 8), (1, 5, 8), (24,)], [(1, 3, 8)], num_heads=2, domain=MS),
            240,
            660 + 8 * 13,
        ),
        (cost("MultiHeadAttention", [(1, 3, 2, 3, 4)], [(1, 3, 8)], num_heads=2, domain=MS), 144, 288 + 108),
        (
            cost("MultiHeadAttention", [(1, 3, 8), (1, 2, 5, 4), (1, 2, 5, 4)], [(1, 3, 8)], num_heads=2, domain=MS),
            240,
            660,
        ),
        # 4 query heads and 2 key heads of size 4; 3 new tokens on 2 of the past
        (
            cost(
                "GroupQueryAttention",
                [(1, 3, 16), (1, 3, 8), (1, 3, 8), (1, 2, 2, 4), (1, 2, 2, 4), (1,), S],
                [(1, 3, 16), (1, 2, 5, 4), (1, 2, 5, 4)],
                num_heads=4,
                kv_num_heads=2,
                domain=MS,
            ),
            60 * 8,
            960 + 360,
        ),
        # a cache of 64 of which 5 are in use, as a constant says
        (
            cost(
                "GroupQueryAttention",
                [(1, 1, 16), (1, 1, 8), (1, 1, 8), (1, 2, 64, 4), (1, 2, 64, 4), (1,), S],
                [(1, 1, 16), (1, 2, 64, 4), (1, 2, 64, 4)],
                values={6: 5},
                num_heads=4,
                kv_num_heads=2,
                domain=MS,
            ),
            20 * 8,
            320 + 120,
        ),
        # a state of 4 x 4 a head: read, write, and read by the query
        (
            cost("LinearAttention", [(1, 3, 8)] * 3, [(1, 3, 8)], q_num_heads=2, kv_num_heads=2, update_rule="linear"),
            3 * 16 * 4,
            384,
        ),
        (
            cost("LinearAttention", [(1, 3, 8)] * 3, [(1, 3, 8)], q_num_heads=2, kv_num_heads=2),
            3 * 16 * 6,
            576 + 96,
        ),
    ],
)
def test_attention(found: NodeCost, macs: int, flops: int) -> None:
    check(found, macs, flops)


def test_a_shared_cache_is_not_known() -> None:
    found = cost(
        "GroupQueryAttention",
        [(1, 1, 16), (1, 1, 8), (1, 1, 8), (1, 2, 64, 4), (1, 2, 64, 4), (1,), S],
        [(1, 1, 16), (1, 2, 64, 4), (1, 2, 64, 4)],
        num_heads=4,
        kv_num_heads=2,
        domain=MS,
    )
    assert found.macs is None
    assert found.reason == "how much of the cache is in use is data"


LSTM = [(5, 2, 3), (1, 16, 3), (1, 16, 4)]
GRU = [(5, 2, 3), (1, 12, 3), (1, 12, 4)]


@pytest.mark.parametrize(
    ("found", "macs", "flops"),
    [
        # biases: 4 additions; peepholes: 3 products and 3 additions
        (cost("LSTM", [*LSTM, (1, 32)], [(5, 1, 2, 4)]), 1120, 2240 + 40 * 22),
        (cost("LSTM", [*LSTM, (1, 32), "", "", "", (1, 12)], [(5, 1, 2, 4)]), 1120, 2240 + 40 * 28),
        # sequences of 5 and 2 steps
        (cost("LSTM", [*LSTM, "", (2,)], [(5, 1, 2, 4)], values={4: [5, 2]}), 7 * 112, 7 * (224 + 72)),
        (cost("LSTM", [*LSTM, "", (2,)], [(5, 1, 2, 4)]), 1120, 2240 + 40 * 18),
        # 3 x relu instead of 3 x sigmoid
        (cost("LSTM", LSTM, [(5, 1, 2, 4)], activations=["Relu", "Tanh", "Tanh"]), 1120, 2240 + 40 * 9),
        # 2 sigmoids, 1 tanh, 5 more
        (cost("GRU", GRU, [(5, 1, 2, 4)]), 840, 1680 + 40 * 14),
        (
            cost("DynamicQuantizeLSTM", [(5, 2, 3), (1, 3, 16), (1, 4, 16)], [(5, 1, 2, 4)], hidden_size=4, domain=MS),
            1120,
            2240 + 720,
        ),
    ],
)
def test_recurrent_layers(found: NodeCost, macs: int, flops: int) -> None:
    check(found, macs, flops)


@pytest.mark.parametrize(
    ("found", "flops"),
    [
        (cost("Resize", [(1, 2, 4, 4), "", (4,)], [(1, 2, 8, 8)]), 0),
        (cost("Resize", [(1, 2, 4, 4), "", (4,)], [(1, 2, 8, 8)], mode="linear"), 128 * 8),
        (cost("Resize", [(1, 2, 4, 4), "", (4,)], [(1, 2, 8, 4)], mode="cubic"), 64 * 8),
        (cost("Upsample", [(1, 2, 4), (3,)], [(1, 2, 8)], mode="linear"), 16 * 4),
        (cost("GridSample", [(1, 2, 4, 4), (1, 3, 3, 2)], [(1, 2, 3, 3)], mode="bilinear"), 18 * 8),
        (cost("RoiAlign", [(1, 2, 8, 8), (5, 4), (5,)], [(5, 2, 3, 3)], sampling_ratio=2), 90 * 36),
        (cost("LpPool", [(1, 2, 6, 6)], [(1, 2, 3, 3)], kernel_shape=[2, 2]), 144),
        (cost("QLinearAveragePool", [(1, 2, 6, 6), S, S, S, S], [(1, 2, 3, 3)], kernel_shape=[2, 2], domain=MS), 144),
        (cost("BatchNormalization", [(1, 2, 3, 3)] + [(2,)] * 4, [(1, 2, 3, 3), (2,), (2,)], training_mode=1), 126),
        (cost("Dropout", [(3, 4)], [(3, 4)]), 0),
        (cost("Dropout", [(3, 4), S, S], [(3, 4), (3, 4)]), 24),
        (cost("Dropout", [(3, 4), S, S], [(3, 4)], values={2: False}), 0),
        (cost("BiasDropout", [(3, 4), (4,), (3, 4), S, S], [(3, 4)], values={4: True}, domain=MS), 48),
        (cost("BiasGelu", [(3, 4), (4,)], [(3, 4)], domain=MS), 72),
        (cost("FastGelu", [(3, 4), (4,)], [(3, 4)], domain=MS), 108),
        (cost("SkipLayerNormalization", [(3, 4), (3, 4), (4,), (4,), (4,)], [(3, 4)], domain=MS), 108),
        (cost("SkipSimplifiedLayerNormalization", [(3, 4), (3, 4), (4,)], [(3, 4)], domain=MS), 60),
        (cost("LayerNormalization", [(3, 4), (4,)], [(3, 4)]), 84),
        (cost("GroupNorm", [(1, 4, 4, 8), (8,), (8,)], [(1, 4, 4, 8)], activation=1, domain=MS), (128 * 12) + 0),
        (cost("QuantizeLinear", [(3, 4), S, S], [(3, 4)]), 48),
        (cost("DequantizeLinear", [(3, 4), S, S], [(3, 4)]), 24),
        (cost("DynamicQuantizeLinear", [(3, 4)], [(3, 4), S, S]), 72),
        (cost("QLinearAdd", [(3, 4), S, S, (3, 4), S, S, S, S], [(3, 4)], domain=MS), 108),
        (cost("ComplexMul", [(3, 2), (3, 2)], [(3, 2)], domain=MS), 18),
        (cost("RotaryEmbedding", [(1, 2, 3, 8), (5, 4), (5, 4)], [(1, 2, 3, 8)]), 144),
        (cost("RotaryEmbedding", [(1, 2, 3, 8), (5, 2), (5, 2)], [(1, 2, 3, 8)], rotary_embedding_dim=4), 72),
        (cost("SoftmaxCrossEntropyLoss", [(5, 10), (5,)], [()]), 260),
        (cost("NegativeLogLikelihoodLoss", [(5, 10), (5,), (10,)], [()]), 15),
        # 2 transforms of 8 points: 5 x 8 x 3
        (cost("DFT", [(2, 8, 2), "", S], [(2, 8, 2)], values={2: 1}), 240),
        (cost("DFT", [(2, 8, 2)], [(2, 8, 2)], axis=1), 240),
        (cost("STFT", [(1, 20, 1), S, (8,)], [(1, 4, 5, 2)]), 32 + 480),
        (cost("Rfft", [(2, 8)], [(2, 5, 2)], signal_ndim=1, domain=MS), 240),
        (cost("Adam", [S, S, (3,), (3,), (3,), (3,)], [(3,)] * 3, domain=PREVIEW), 45),
        (cost("Momentum", [S, S, (3,), (3,), (3,)], [(3,)] * 2, domain=PREVIEW), 21),
        (cost("ReduceLogSumExp", [(3, 4)], [(3, 1)]), 48),
        (cost("Scaler", [(3, 4)], [(3, 4)], domain=ML), 24),
        (cost("OneHotEncoder", [(3,)], [(3, 4)], domain=ML), 0),
    ],
)
def test_what_is_no_product(found: NodeCost, flops: int) -> None:
    check(found, 0, flops)


def test_points_of_a_grid_are_products() -> None:
    check(cost("AffineGrid", [(1, 2, 3), (4,)], [(1, 4, 5, 2)]), 120, 240)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (cost("RoiAlign", [(1, 2, 8, 8), (5, 4), (5,)], [(5, 2, 3, 3)]), "samples"),
        (cost("DFT", [(2, 8, 2), "", S], [(2, 8, 2)]), "axis is data"),
        (cost("Resize", [(1, 2, 4, 4), "", (4,)], [None], mode="linear"), "shape of 'o0'"),
        (cost("FusedGemm", [(3, 5), (5, 7)], [(3, 7)], activation="Odd", domain=MS), "activation 'odd'"),
        (cost("LSTM", [(5, 2, 3), (1, 15, 3), (1, 15, 4)], [(5, 1, 2, 4)]), "number of gates"),
        (cost("Gemm", [(3, 5, 2), (5, 7)], [(3, 7)]), "3 dimensions, not 2"),
        (cost("Resize", [(1, 2, 4), "", (4,)], [(1, 2, 8, 8)], mode="linear"), "do not have the shapes"),
        (cost("TreeEnsemble", [(3, 4)], [(3, 1)], domain=ML), "path through each tree"),
        (cost("If", [S], [(3,)]), "bodies are counted"),
    ],
)
def test_reasons(found: NodeCost, why: str) -> None:
    assert found.flops is None
    assert why in found.reason


def test_bytes_of_what_is_stored_tightly_and_of_what_is_touched() -> None:
    packed = cost("DequantizeLinear", [(3, 5), S], [(3, 5)], dtypes={"i0": "int4"})
    assert packed.bytes_read == 8 + 4
    # 2 tables of 6 rows of 4 floats each taken, ids, scale and shift
    embedded = cost(
        "EmbedLayerNormalization",
        [(1, 6), "", (1000, 4), (512, 4), "", (4,), (4,)],
        [(1, 6, 4), (1,)],
        dtypes={"i0": "int32", "o1": "int32"},
        domain=MS,
    )
    assert embedded.bytes_read == 24 + 2 * 96 + 32
    # 2 of 100 rows of 32 weights in 16 bytes, one scale a row
    rows = cost(
        "GatherBlockQuantized",
        [(100, 16), (2,), (100, 1)],
        [(2, 32)],
        dtypes={"i0": "uint8", "i1": "int64"},
        bits=4,
        block_size=32,
        domain=MS,
    )
    assert rows.bytes_read == 16 + 2 * (16 + 4)
    assert cost("Constant", [], [(1000,)]).bytes_moved == 0
    # 3 rows of 4 are added to a table of 900: indices and updates (all of 4 bytes here) and what was there are read
    added = cost("ScatterElements", [(900, 4), (3, 4), (3, 4)], [(900, 4)], reduction="add")
    assert (added.bytes_read, added.bytes_written) == (3 * 48, 48)
    assert cost("ScatterND", [(900, 4), (3, 1), (3, 4)], [(900, 4)]).bytes_moved == 12 + 2 * 48


@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(1, 4), st.integers(1, 4))
def test_a_product_costs_the_same_in_every_form(batch: list[int], rows: int, inner: int) -> None:
    left, right, out = (*batch, rows, inner), (inner, 3), (*batch, rows, 3)
    plain = cost("MatMul", [left, right], [out])
    assert plain.flops == 2 * (plain.macs or 0)
    same = [
        cost("MatMulInteger", [left, right], [out]),
        cost("FusedMatMul", [left, right], [out], domain=MS),
        cost("Einsum", [left, right], [out], equation="...ij,jk->...ik"),
        cost("MatMulNBits", [left, (3, 1, 8), (3,)], [out], N=3, K=inner, domain=MS),
    ]
    assert {c.macs for c in same} == {plain.macs}
