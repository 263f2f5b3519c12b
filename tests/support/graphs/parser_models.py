"""Products and convolutions of every form that the parsers of ZigZag and Stream treat apart, and what each does."""

from __future__ import annotations

from onnx import TensorProto

from fathom_onnx.graph import Graph

from .product_models import one_node

__all__ = ["PARSED"]

F, U8, I8 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8
_SCALE, _ZERO = (F, ()), (U8, ())


def _product(a: tuple[int, ...], b: tuple[int, ...], y: tuple[int, ...]) -> Graph:
    return one_node("MatMul", [(F, a), (F, b)], [(F, y)])


def _convolution(**attributes: object) -> Graph:
    size = (1, 5, 3, 3) if attributes["auto_pad"] == "VALID" else (1, 5, 4, 4)
    image, filters = (F, (1, 3, 8, 8)), (F, (5, 3, 3, 3))
    return one_node("Conv", [image, filters], [(F, size)], strides=[2, 2], kernel_shape=[3, 3], **attributes)


def _quantized(**attributes: object) -> Graph:
    image, filters = (U8, (1, 4, 9, 9)), (I8, (6, 4, 3, 3))
    inputs = [image, _SCALE, _ZERO, filters, _SCALE, (I8, ()), _SCALE, _ZERO]
    return one_node("QLinearConv", inputs, [(U8, (1, 6, 7, 7))], **attributes)


def _einsum(equation: str, *shapes: tuple[int, ...]) -> Graph:
    *inputs, output = [(F, shape) for shape in shapes]
    return one_node("Einsum", inputs, [output], equation=equation)


PARSED: dict[str, tuple[Graph, int | None, bool]] = {
    # the second operand is broadcast
    "right-one-head": (_product((2, 8, 16, 32), (2, 1, 32, 24), (2, 8, 16, 24)), 2 * 8 * 16 * 32 * 24, True),
    "right-one-batch": (_product((2, 8, 16, 32), (1, 8, 32, 24), (2, 8, 16, 24)), 2 * 8 * 16 * 32 * 24, True),
    "right-matrix": (_product((2, 8, 16, 32), (32, 24), (2, 8, 16, 24)), 2 * 8 * 16 * 32 * 24, True),
    "right-matrix-of-three": (_product((4, 16, 32), (32, 24), (4, 16, 24)), 4 * 16 * 32 * 24, True),
    "right-one-of-three": (_product((3, 5, 7), (1, 7, 4), (3, 5, 4)), 3 * 5 * 7 * 4, True),
    "right-lower-rank": (_product((2, 4, 16, 32), (4, 32, 24), (2, 4, 16, 24)), 2 * 4 * 16 * 32 * 24, True),
    # the first operand is
    "left-one-head": (_product((2, 1, 16, 32), (2, 8, 32, 24), (2, 8, 16, 24)), None, True),
    "left-one-batch": (_product((1, 3, 5, 7), (2, 3, 7, 4), (2, 3, 5, 4)), None, True),
    "left-ones": (_product((1, 1, 5, 7), (2, 3, 7, 4), (2, 3, 5, 4)), None, True),
    "left-one-of-three": (_product((1, 5, 7), (3, 7, 4), (3, 5, 4)), None, True),
    "left-matrix": (_product((16, 32), (4, 32, 24), (4, 16, 24)), None, True),
    "left-matrix-of-one": (_product((5, 7), (1, 7, 4), (1, 5, 4)), None, True),
    "left-lower-rank": (_product((3, 5, 7), (2, 3, 7, 4), (2, 3, 5, 4)), None, True),
    # vectors, and more than four axes
    "left-vector": (_product((5,), (5, 7), (7,)), None, False),
    "left-vector-of-a-batch": (_product((5,), (3, 5, 7), (3, 7)), None, False),
    "right-vector": (_product((3, 5), (5,), (3,)), None, False),
    "two-vectors": (_product((5,), (5,), ()), None, False),
    "five-axes": (_product((1, 2, 2, 3, 4), (1, 2, 2, 4, 5), (1, 2, 2, 3, 5)), None, True),
    "gemm-both-transposed": (
        one_node("Gemm", [(F, (5, 3)), (F, (7, 5))], [(F, (3, 7))], transA=1, transB=1),
        3 * 5 * 7,
        True,
    ),
    # convolutions
    "same-upper": (_convolution(auto_pad="SAME_UPPER"), 5 * 16 * 27, True),
    "same-lower": (_convolution(auto_pad="SAME_LOWER"), 5 * 16 * 27, True),
    "valid": (_convolution(auto_pad="VALID"), 5 * 9 * 27, True),
    "uneven": (
        one_node(
            "Conv",
            [(F, (2, 3, 9, 8)), (F, (5, 3, 3, 2))],
            [(F, (2, 5, 5, 10))],
            pads=[0, 1, 2, 3],
            strides=[2, 1],
            dilations=[1, 2],
            kernel_shape=[3, 2],
        ),
        2 * 5 * 5 * 10 * 18,
        True,
    ),
    "one-axis": (
        one_node("Conv", [(F, (1, 4, 9)), (F, (6, 4, 3))], [(F, (1, 6, 7))], kernel_shape=[3]),
        None,
        False,
    ),
    "quantized": (_quantized(kernel_shape=[3, 3]), 6 * 49 * 36, False),
    "quantized-without-kernel-shape": (_quantized(), None, False),
    # what ZigZag ignores
    "einsum": (_einsum("ij,jk->ik", (2, 3), (3, 4), (2, 4)), 0, True),
    "einsum-implicit": (_einsum("ij,jk", (2, 3), (3, 4), (2, 4)), 0, True),
    "einsum-ellipsis": (_einsum("...ij,jk->...ik", (5, 2, 3), (3, 4), (5, 2, 4)), 0, False),
    "einsum-three": (_einsum("ij,jk,kl->il", (2, 3), (3, 4), (4, 5), (2, 5)), 0, False),
    "integers": (one_node("MatMulInteger", [(U8, (3, 5)), (I8, (5, 7))], [(TensorProto.INT32, (3, 7))]), 0, False),
}
"""Name to a graph of one node, the multiply-accumulates that ZigZag 3.9.1 counts (None where it fails), and whether
Stream 2.1.1 parses it."""
