"""Matrix products: of two matrices, of batches of them with broadcasting, of packed weights, of experts."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fathom_onnx.analysis.cost.call import Call, NotKnown, Shape
from fathom_onnx.analysis.cost.einsum import path

from .product import Form, MatrixProduct

__all__ = ["affine_grid", "distances", "einsum", "experts", "gemm", "matmul", "nbits", "packed"]


def gemm(call: Call) -> tuple[MatrixProduct, ...]:
    """[m, k] x [k, n] with either operand transposed."""
    depth = call.matrix(0, 2)[0 if call.integer("transA", 0) else 1]
    rows, columns = call.result()
    return (MatrixProduct(rows, columns, depth),)


def _contraction(left: Mapping[str, int], right: Mapping[str, int], result: frozenset[str]) -> MatrixProduct:
    """The product of two operands whose axes are named.

    An index of both operands and the result counts independent products; one of both operands alone is summed (k); one
    of a single operand belongs to that operand's side (m or n).

    Args:
        left: Index to size of the first operand.
        right: Index to size of the second operand.
        result: Indices of the result.
    """
    sizes = {**left, **right}
    both = left.keys() & right.keys()
    k = math.prod(sizes[i] for i in both if i not in result)
    times = math.prod(sizes[i] for i in both if i in result)
    m = math.prod(size for i, size in left.items() if i not in both)
    n = math.prod(size for i, size in right.items() if i not in both)
    return MatrixProduct(m, n, k, times)


def _matrix(shape: Shape, transposed: bool, batch_inside: bool, row: str, column: str) -> dict[str, int]:
    """A matrix, a batch of them or a vector, by index; axes of a batch are named from the right, those of 1 left out.

    Args:
        shape: The operand's shape.
        transposed: Whether the last two axes are swapped.
        batch_inside: Whether the batch stands between the matrix axes and not before them.
        row: Name of the row axis, which a vector on the left lacks.
        column: Name of the column axis, which a vector on the right lacks.
    """
    if not shape:
        raise NotKnown("an operand is a scalar")
    if len(shape) == 1:
        return {"k": shape[0]}
    first, batch = (shape[0], shape[1:-1]) if batch_inside else (shape[-2], shape[:-2])
    sizes = (shape[-1], first) if transposed else (first, shape[-1])
    named = dict(zip((row, column), sizes, strict=True))
    return named | {f"batch {axis}": size for axis, size in enumerate(reversed(batch)) if size != 1}


def matmul(weights: int = 1) -> Form:
    """A product by numpy's rules, the second operand being input ``weights``; onnxruntime's forms also transpose.

    A batch axis along which one operand is broadcast joins the other operand's side: one larger product.
    """

    def form(call: Call) -> tuple[MatrixProduct, ...]:
        flags = [bool(call.integer(name, 0)) for name in ("transA", "transBatchA", "transB", "transBatchB")]
        left = _matrix(call.shape(0), flags[0], flags[1], "m", "k")
        right = _matrix(call.shape(weights), flags[2], flags[3], "k", "n")
        return (_contraction(left, right, frozenset(left.keys() | right.keys()) - {"k"}),)

    return form


def einsum(call: Call) -> tuple[MatrixProduct, ...]:
    """The contractions of two operands each, in the order that the cost model finds best."""
    found = path(call)

    def sized(indices: frozenset[str]) -> dict[str, int]:
        return {index: found.sizes[index] for index in indices}

    return tuple(_contraction(sized(step.left), sized(step.right), step.result) for step in found.steps if step.summed)


def packed(call: Call) -> tuple[MatrixProduct, ...]:
    """Rows of the first input times weights in a format of their own; the result has the columns."""
    inner = call.shape(0)[-1]
    return (MatrixProduct(call.elements(0) // inner if inner else 0, call.result()[-1], inner),)


def nbits(*columns: str) -> Form:
    """Rows times the weights of one node, in few bits: one product for each of these attributes, K deep."""

    def form(call: Call) -> tuple[MatrixProduct, ...]:
        inner = call.integer("K")
        rows = call.elements(0) // inner if inner else 0
        return tuple(MatrixProduct(rows, call.integer(name), inner) for name in columns)

    return form


def experts(call: Call) -> tuple[MatrixProduct, ...]:
    """The products of the experts that each token is sent to: one for each matrix of an expert."""
    tokens = call.matrix(1, 2)[0] * call.integer("k", 1)
    quantized = call.node.op_type == "QMoE"
    packing = 8 // call.integer("expert_weight_bits", 4) if quantized else 1
    matrices = [call.matrix(p, 3) for p in ((2, 5, 8) if quantized else (2, 4, 6)) if call.has(p)]
    return tuple(MatrixProduct(tokens, columns, depth * packing) for _, columns, depth in matrices)


def distances(call: Call) -> tuple[MatrixProduct, ...]:
    """Distances between the rows of two matrices."""
    rows, depth = call.matrix(0, 2)
    return (MatrixProduct(rows, call.matrix(1, 2)[0], depth),)


def affine_grid(call: Call) -> tuple[MatrixProduct, ...]:
    """The points of a grid times a matrix [d, d + 1] for each image."""
    count, axes, depth = call.matrix(0, 3)
    return (MatrixProduct(call.output_elements() // (count * axes), axes, depth, count),)
