"""The gradient of a table that is read by index, in the form that onnxruntime's CPU kernels run fastest.

With ``dw[v] = sum over j with index[j] = v of dy[j]``, dy [n, D], a table of V rows:

* **scattered**: every element of dy is added to its place in zeros [V, D];
* **one product**: ``dw = H dy``, H [V, n] with ``H[v, j] = 1`` where ``index[j] = v``: a OneHot and a MatMul;
* **counts of bags**: where the rows of dy repeat those of a smaller g [S, D], each W times and with constant weights P
  [W, D], that is ``dy[s W + w] = g[s] * P[w]`` elementwise, as where words of a sentence are summed: with a
  factorisation ``P = sum_q a_q k_q^T`` of rank r

      dw = sum_q (A_q^T g) * k_q,   A_q [S, V],   A_q[s, v] = sum over w with index[s, w] = v of a_q[w].

  ``A_q`` is a ScatterElements of n elements instead of n * D, which the tables that read the same bags share, and then
  there is one Gemm a table. A sum without weights has rank 1 with ones, and ``A_1`` counts. The factorisation is the
  singular value decomposition in double precision, cut where P is reproduced to a float32's own precision.

All are exact up to the order of the sums. :data:`NANOSECONDS` says which is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.gradients import movement
from fathom_exporters.lowering.values import known_shape, operands, static_shape

__all__ = ["NANOSECONDS", "gather_grad"]

NANOSECONDS = {"scatter": 6.0, "one_hot": 1.0, "fill": 0.5, "multiply": 0.02}
"""What an element scattered, one of a one-hot matrix, one of a fill, and a multiply-accumulate cost in onnxruntime, in
nanoseconds on one thread. The form with the least sum is taken. Measured, in ms (bags of W rows):

=========================  =========  ===========  ==============
rows n, V, D, W            scattered  one product  counts of bags
=========================  =========  ===========  ==============
352, 180, 20, 11           0.049      0.060        0.014
17600, 180, 20, 11         2.23       3.72         0.32
2048, 50, 64, 8            0.59       0.18         0.03
2048, 1000, 64, 8          0.64       3.63         0.39
4096, 8, 64, 4             1.31       0.09         0.04
640, 200, 768, 16          2.89       2.01         0.13
640, 2000, 768, 16         4.20       76.5         1.24
512, 30000, 256, 8         3.76       358          36.7
=========================  =========  ===========  =============="""

_PRECISION = 2e-7
"""Error of a factorisation, of the largest weight, up to which it stands for the weights: they are float32."""


Matrix = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Bags:
    """Rows of dy that repeat those of ``source`` [..., 1, D] ``width`` times each, with weights [width, D]."""

    source: ir.Value
    width: int
    weights: Matrix


def _constant(value: ir.Value | None) -> Matrix | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def _once(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one row, where the last but one axis has several of the same."""
    return (*shape[:-2], 1, shape[-1])


def _weighted(value: ir.Value) -> tuple[ir.Value, Matrix | None]:
    """What a value is without constant weights that are the same for all but its last two axes, and these.

    It may have a single row in its last but one axis, which the product repeats.
    """
    shape, product = known_shape(value), value.producer()
    if product is None or product.op_type != "Mul" or product.domain or shape is None or len(shape) < 2:
        return value, None
    for index, factor in enumerate(product.inputs):
        weights, other = _constant(factor), product.inputs[1 - index]
        if weights is None or other is None or known_shape(other) not in (shape, _once(shape)):
            continue
        padded = weights.reshape([1] * (len(shape) - weights.ndim) + list(weights.shape))
        if all(size == 1 for size in padded.shape[:-2]):
            return other, np.broadcast_to(padded.reshape(padded.shape[-2:]), shape[-2:])
    return value, None


def _bags(dy: ir.Value, width: int) -> _Bags | None:
    """How the rows of dy [.., D] repeat those of a smaller tensor, if they do."""
    value = dy
    producer = value.producer()
    while producer is not None and producer.op_type == "Reshape" and not producer.domain:
        source = producer.inputs[0]
        shape = known_shape(source)
        if source is None or shape is None or shape[-1] != width:
            return None
        value, producer = source, source.producer()
    value, weights = _weighted(value)
    shape, repeat = known_shape(value), value.producer()
    if weights is not None and len(weights) > 1 and shape is not None and shape[-2] == 1:
        return _Bags(value, len(weights), weights)
    if repeat is None or repeat.op_type not in ("Expand", "Tile") or repeat.domain or shape is None or len(shape) < 2:
        return None
    source = repeat.inputs[0]
    if source is None or known_shape(source) != _once(shape) or shape[-2] == 1:
        return None
    return _Bags(source, shape[-2], np.ones(shape[-2:]) if weights is None else weights)


def _factors(weights: Matrix) -> tuple[Matrix, Matrix]:
    """Factors a [r, W] and k [r, D] of weights [W, D] of the least rank r, at least 1."""
    exact = weights.astype(np.float64)
    for a, k in ((exact[:, :1], np.ones((1, exact.shape[1]))), (np.ones((len(exact), 1)), exact[:1])):
        if np.array_equal(a @ k, exact):  # the same for every column or every word: no rounding by a decomposition
            return a.T, k
    left, sizes, right = np.linalg.svd(exact, full_matrices=False)
    for rank in range(1, len(sizes) + 1):
        a, k = left[:, :rank] * sizes[:rank], right[:rank]
        if np.abs(a @ k - exact).max() <= _PRECISION * np.abs(exact).max():
            break
    return a.T, k


def _by_counts(b: Builder, indices: ir.Value, bags: _Bags, a: Matrix, k: Matrix, rows: int) -> ir.Value:
    count = math.prod(static_shape(indices)) // bags.width
    words = b.reshape(indices, count, bags.width)
    g = b.reshape(bags.source, count, k.shape[1])
    zeros = b.op("ConstantOfShape", b.ints(count, rows))
    terms = []
    for of_words, of_columns in zip(a.astype(np.float32), k.astype(np.float32), strict=True):
        each = b.op("Expand", b.constant(of_words.reshape(1, -1)), b.ints(count, bags.width))
        counts = b.op("ScatterElements", zeros, words, each, axis=1, reduction="add")
        # [D, V]: the kernel of a product wants a long last axis, and the table has more rows than columns
        term = b.op("Gemm", g, counts, transA=1)
        terms.append(term if (of_columns == 1).all() else b.op("Mul", term, b.constant(of_columns.reshape(-1, 1))))
    return b.op("Transpose", terms[0] if len(terms) == 1 else b.op("Sum", *terms), perm=[1, 0])


def _by_product(b: Builder, dy: ir.Value, indices: ir.Value, count: int, width: int, rows: int) -> ir.Value:
    none_one = b.constant(np.array([0, 1], np.float32))
    flat = b.reshape(indices, count)
    if indices.dtype != ir.DataType.INT64:  # onnxruntime has no OneHot of int32 by an int64 number of rows
        flat = b.op("Cast", flat, to=int(ir.DataType.INT64))
    places = b.op("OneHot", flat, b.constant(np.array(rows, np.int64)), none_one, axis=0)
    return b.op("MatMul", places, b.reshape(dy, count, width))


def _cheapest(count: int, rows: int, width: int, bags: int, rank: int) -> str:
    """The form with the least cost: ``scatter``, ``product`` or ``counts``.

    Args:
        count: Rows of dy.
        rows: Rows of the table.
        width: Elements of a row.
        bags: Bags that the rows of dy are in, 0 where they are in none.
        rank: Rank of the weights within a bag.
    """
    ns = NANOSECONDS
    costs = {
        "scatter": count * width * ns["scatter"] + rows * width * ns["fill"],
        "product": count * rows * (ns["one_hot"] + width * ns["multiply"]),
    }
    if bags:
        costs["counts"] = rank * (bags * rows * (ns["fill"] + width * ns["multiply"]) + count * ns["scatter"])
    return min(costs, key=costs.__getitem__)


def gather_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """GatherGrad: dy [*index shape, *row], indices -> dw [rows, *row], in the form that costs least."""
    dy, indices = operands(node)
    index_shape = static_shape(indices)
    row = static_shape(dy)[len(index_shape) :]
    count, width, rows = math.prod(index_shape), math.prod(row), node.attributes["rows"].as_int()
    if dy.dtype != ir.DataType.FLOAT:
        return movement.gather_grad(b, node)
    bags = _bags(dy, width) if len(row) == 1 else None
    a, k = _factors(bags.weights) if bags is not None else (np.ones((1, 1)), np.ones((1, 1)))
    form = _cheapest(count, rows, width, count // bags.width if bags is not None else 0, len(a))
    if form == "scatter":
        return movement.gather_grad(b, node)
    if form == "counts" and bags is not None:
        table = _by_counts(b, indices, bags, a, k, rows)
    else:
        table = _by_product(b, dy, indices, count, width, rows)
    return [table if len(row) == 1 else b.reshape(table, rows, *row)]
