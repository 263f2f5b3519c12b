"""One small graph for every kind of op with multiply-accumulates, with their number from a closed formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from fathom_onnx.graph import Graph, from_model

__all__ = ["PRODUCT_GRAPHS", "one_node"]

F, U8, I8, I32 = T.FLOAT, T.UINT8, T.INT8, T.INT32
MS = "com.microsoft"

Given = Sequence[tuple[int, Sequence[int]] | None]


def one_node(
    kind: str,
    inputs: Given,
    outputs: Given,
    domain: str = "",
    opset: int = 18,
    constants: dict[int, Any] | None = None,
    **attributes: Any,
) -> Graph:
    """A graph of one node; an input or output that is None is left out.

    Args:
        kind: The op type.
        inputs: Element type and shape of each input.
        outputs: The same of each output.
        domain: The node's domain.
        opset: Version of the default domain.
        constants: Values of inputs that are initializers, by position.
        attributes: The node's attributes.
    """
    constants = constants or {}
    names = [
        [f"{side}{i}" if given else "" for i, given in enumerate(of)] for side, of in (("i", inputs), ("o", outputs))
    ]
    node = helper.make_node(kind, *names, name="node", domain=domain, **attributes)
    infos = [
        [helper.make_tensor_value_info(name, *given) for name, given in zip(side, of, strict=True) if given]
        for side, of in zip(names, (inputs, outputs), strict=True)
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), f"i{p}") for p, value in constants.items()]
    fed = [info for info in infos[0] if info.name not in {t.name for t in initializers}]
    graph = helper.make_graph([node], "one", fed, infos[1], initializers)
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return from_model(helper.make_model(graph, opset_imports=opsets, ir_version=10), kind)


def _scalars(kind: int) -> Given:
    return [(F, ()), (kind, ())]


_X, _W = (1, 4, 9, 9), (6, 4, 3, 3)
_QUANTIZED = [(U8, _X), *_scalars(U8), (I8, _W), *_scalars(I8), *_scalars(U8)]
_CONV = 6 * 49 * 36

PRODUCT_GRAPHS: dict[str, tuple[Graph, int]] = {
    "conv-1d": (one_node("Conv", [(F, (2, 4, 9)), (F, (6, 4, 3))], [(F, (2, 6, 7))]), 2 * 6 * 7 * 12),
    "conv-1d-strided": (
        one_node("Conv", [(F, (1, 4, 9)), (F, (6, 4, 3))], [(F, (1, 6, 4))], strides=[2]),
        6 * 4 * 12,
    ),
    "conv-2d": (one_node("Conv", [(F, _X), (F, _W)], [(F, (1, 6, 7, 7))]), _CONV),
    "conv-2d-auto-pad": (
        one_node("Conv", [(F, _X), (F, _W)], [(F, (1, 6, 5, 5))], auto_pad="SAME_UPPER", strides=[2, 2]),
        6 * 25 * 36,
    ),
    "conv-3d": (
        one_node("Conv", [(F, (1, 2, 5, 6, 7)), (F, (3, 2, 2, 3, 3))], [(F, (1, 3, 4, 4, 5))]),
        3 * 4 * 4 * 5 * 2 * 18,
    ),
    "conv-3d-grouped": (
        one_node(
            "Conv",
            [(F, (1, 4, 5, 6, 9)), (F, (6, 2, 2, 3, 3))],
            [(F, (1, 6, 4, 4, 3))],
            group=2,
            strides=[1, 1, 2],
            dilations=[1, 1, 2],
        ),
        6 * 4 * 4 * 3 * 2 * 18,
    ),
    "conv-transpose-3d": (
        one_node("ConvTranspose", [(F, (1, 2, 3, 4, 5)), (F, (2, 3, 2, 2, 2))], [(F, (1, 3, 4, 5, 6))]),
        2 * 60 * 3 * 8,
    ),
    "conv-4d": (
        one_node("Conv", [(F, (1, 2, 3, 3, 3, 3)), (F, (2, 2, 2, 2, 2, 2))], [(F, (1, 2, 2, 2, 2, 2))]),
        2 * 16 * 2 * 16,
    ),
    "conv-integer": (one_node("ConvInteger", [(U8, _X), (U8, _W)], [(I32, (1, 6, 7, 7))]), _CONV),
    "qlinear-conv": (one_node("QLinearConv", _QUANTIZED, [(U8, (1, 6, 7, 7))]), _CONV),
    "qlinear-conv-depthwise": (
        one_node(
            "QLinearConv",
            [(U8, _X), *_scalars(U8), (I8, (4, 1, 3, 3)), *_scalars(I8), *_scalars(U8)],
            [(U8, (1, 4, 7, 7))],
            group=4,
        ),
        4 * 49 * 9,
    ),
    "fused-conv": (one_node("FusedConv", [(F, _X), (F, _W)], [(F, (1, 6, 7, 7))], MS, activation="Relu"), _CONV),
    "nhwc-conv": (one_node("NhwcConv", [(F, (1, 9, 9, 4)), (F, (6, 3, 3, 4))], [(F, (1, 7, 7, 6))], MS), _CONV),
    "nchwc-conv": (
        one_node("Conv", [(F, (1, 8, 9, 9)), (F, (16, 8, 3, 3))], [(F, (1, 16, 7, 7))], "com.microsoft.nchwc"),
        16 * 49 * 72,
    ),
    "deform-conv": (
        one_node(
            "DeformConv",
            [(F, _X), (F, _W), (F, (1, 18, 7, 7))],
            [(F, (1, 6, 7, 7))],
            opset=19,
        ),
        _CONV,
    ),
    "gemm-transposed": (
        one_node("Gemm", [(F, (5, 3)), (F, (7, 5)), (F, (7,))], [(F, (3, 7))], transA=1, transB=1),
        3 * 7 * 5,
    ),
    "qgemm": (
        one_node("QGemm", [(U8, (3, 5)), *_scalars(U8), (U8, (5, 7)), *_scalars(U8)], [(F, (3, 7))], MS),
        3 * 7 * 5,
    ),
    "matmul-vectors": (one_node("MatMul", [(F, (5,)), (F, (5,))], [(F, ())]), 5),
    "matmul-left-vector": (one_node("MatMul", [(F, (5,)), (F, (2, 3, 5, 7))], [(F, (2, 3, 7))]), 2 * 3 * 7 * 5),
    "matmul-right-vector": (one_node("MatMul", [(F, (2, 3, 4, 5)), (F, (5,))], [(F, (2, 3, 4))]), 2 * 3 * 4 * 5),
    "matmul-both-ways": (one_node("MatMul", [(F, (2, 1, 3, 5)), (F, (4, 5, 7))], [(F, (2, 4, 3, 7))]), 8 * 3 * 5 * 7),
    "matmul-integer": (one_node("MatMulInteger", [(U8, (3, 5)), (I8, (5, 7))], [(I32, (3, 7))]), 3 * 5 * 7),
    "qlinear-matmul": (
        one_node(
            "QLinearMatMul",
            [(U8, (2, 3, 5)), *_scalars(U8), (U8, (2, 5, 7)), *_scalars(U8), *_scalars(U8)],
            [(U8, (2, 3, 7))],
        ),
        2 * 3 * 5 * 7,
    ),
    "fused-matmul": (
        one_node("FusedMatMul", [(F, (2, 5, 3)), (F, (2, 7, 5))], [(F, (2, 3, 7))], MS, transA=1, transB=1),
        2 * 3 * 5 * 7,
    ),
    "fused-matmul-batch-inside": (
        one_node("FusedMatMul", [(F, (3, 2, 5)), (F, (2, 5, 7))], [(F, (2, 3, 7))], MS, transBatchA=1),
        2 * 3 * 5 * 7,
    ),
    "dynamic-quantize-matmul": (
        one_node("DynamicQuantizeMatMul", [(F, (3, 5)), (U8, (5, 7)), (F, ())], [(F, (3, 7))], MS),
        3 * 5 * 7,
    ),
    "nbits": (
        one_node(
            "MatMulNBits",
            [(F, (2, 3, 64)), (U8, (7, 2, 16)), (F, (7, 2))],
            [(F, (2, 3, 7))],
            MS,
            K=64,
            N=7,
            bits=4,
            block_size=32,
        ),
        6 * 64 * 7,
    ),
    "einsum-batched": (
        one_node("Einsum", [(F, (2, 3, 4)), (F, (2, 5, 4))], [(F, (2, 3, 5))], equation="bqd,bkd->bqk"),
        2 * 3 * 5 * 4,
    ),
    "einsum-implicit": (
        one_node("Einsum", [(F, (2, 3, 4)), (F, (4, 5))], [(F, (2, 3, 5))], equation="...e,ef"),
        2 * 3 * 4 * 5,
    ),
    "einsum-capitals": (
        one_node("Einsum", [(F, (2, 3)), (F, (3, 5))], [(F, (2, 5))], equation="Aa,ab->Ab"),
        2 * 3 * 5,
    ),
    "einsum-broadcast": (
        one_node("Einsum", [(F, (1, 3, 4)), (F, (7, 4, 5))], [(F, (7, 3, 5))], equation="...ij,...jk->...ik"),
        7 * 3 * 4 * 5,
    ),
    "einsum-diagonal": (
        one_node("Einsum", [(F, (3, 3, 4)), (F, (4, 5))], [(F, (3, 5))], equation="iij,jk->ik"),
        3 * 4 * 5,
    ),
    "einsum-three": (
        one_node("Einsum", [(F, (3, 4)), (F, (4, 5)), (F, (5, 6))], [(F, (3, 6))], equation="ij,jk,kl->il"),
        3 * 4 * 5 + 3 * 5 * 6,
    ),
    "lstm-both-ways": (
        one_node(
            "LSTM",
            [(F, (5, 2, 3)), (F, (2, 16, 3)), (F, (2, 16, 4))],
            [(F, (5, 2, 2, 4))],
            hidden_size=4,
            direction="bidirectional",
        ),
        2 * 5 * 2 * 16 * (3 + 4),
    ),
    "lstm-lengths": (
        one_node(
            "LSTM",
            [(F, (5, 3, 2)), (F, (1, 16, 2)), (F, (1, 16, 4)), None, (I32, (3,))],
            [(F, (5, 1, 3, 4))],
            hidden_size=4,
            constants={4: np.array([5, 2, 2], np.int32)},
        ),
        (5 + 2 + 2) * 16 * (2 + 4),
    ),
    "gru-batch-first": (
        one_node(
            "GRU", [(F, (2, 5, 3)), (F, (1, 12, 3)), (F, (1, 12, 4))], [(F, (2, 5, 1, 4))], hidden_size=4, layout=1
        ),
        10 * 12 * 7,
    ),
    "rnn": (
        one_node("RNN", [(F, (5, 2, 3)), (F, (1, 4, 3)), (F, (1, 4, 4))], [(F, (5, 1, 2, 4))], hidden_size=4),
        10 * 4 * 7,
    ),
    "attention": (
        one_node("Attention", [(F, (2, 8, 3, 4)), (F, (2, 2, 5, 4)), (F, (2, 2, 5, 6))], [(F, (2, 8, 3, 6))], opset=23),
        2 * 8 * 3 * 5 * (4 + 6),
    ),
    "attention-packed-heads": (
        one_node(
            "Attention",
            [(F, (2, 3, 32)), (F, (2, 5, 8)), (F, (2, 5, 8))],
            [(F, (2, 3, 32))],
            opset=23,
            q_num_heads=8,
            kv_num_heads=2,
        ),
        2 * 8 * 3 * 5 * 8,
    ),
    "attention-with-projection": (
        one_node("Attention", [(F, (2, 3, 8)), (F, (8, 24)), (F, (24,))], [(F, (2, 3, 8))], MS, num_heads=2),
        6 * 8 * 24 + 2 * 2 * 3 * 3 * (4 + 4),
    ),
    "multi-head-attention": (
        one_node(
            "MultiHeadAttention", [(F, (2, 3, 8)), (F, (2, 5, 8)), (F, (2, 5, 8))], [(F, (2, 3, 8))], MS, num_heads=2
        ),
        2 * 2 * 3 * 5 * (4 + 4),
    ),
}
"""Name to a graph of one node and its multiply-accumulates."""
