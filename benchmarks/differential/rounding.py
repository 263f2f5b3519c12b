"""How far two ways to the same products may be apart: a bound that is proved, and not a tolerance that is tried.

Two products of operands a and b, sums of K terms, are rounded in other places and summed in other orders. With the unit
roundoffs u = 2^-24 of the arithmetic (2^-53 in doubles) and, where tensors are floats of 16 bits, h = 2^-11 of what is
stored (0 where they are not):

- onnxruntime computes products of 16 bits in 32, and keeps results in 32 from node to node where nobody looks. So one
  way may take operands as they are stored, and the other as they were before: |â| <= |a| / (1 - h), and the exact sums
  are apart by (q - 1) S, with q = 1 / (1 - h)^2 and S the sum of |a| |b|.
- A sum of K products in any order has an error of g S, with g = K u / (1 - K u) (Higham, Accuracy and Stability of
  Numerical Algorithms, 2nd ed., section 3.1).
- The results are stored, each with an error of h of itself.

Together at most B(K) S, with B(K) = (q - 1) + (q + 1) g + (q + 1) h (1 + g): 2 g where nothing has 16 bits, and else
2^-9 + K 2^-23 but for terms of second order. Below 2^-14, where floats of 16 bits lie 2^-24 apart, rounding errs by h
of 2^-14 at most, so that 2^-14 is added to every |a|, |b| and S there. Of products of products, d in a row, the bound
is ((1 + B)^d - 1) S.

S and K are told by onnxruntime, from the same nodes on absolute values and on ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["allowed", "bound"]

Run = Callable[[onnx.ModelProto, Mapping[str, Any]], Sequence[Any]]
"""Gives the outputs of a model for values of its inputs."""

_HALF = 2.0**-11
_SMALLEST_HALF = 2.0**-14
_LARGEST_HALF = 65504.0

_FURTHER = 3
"""Roundings of a result beside those of its sum: two factors of a Gemm, and the sum that tells S."""


def bound(terms: Any, *, halves: bool, unit: float = 2.0**-24) -> Any:
    """B(K) as above.

    Args:
        terms: K, the terms of a sum.
        halves: Whether tensors are floats of 16 bits.
        unit: Unit roundoff of the arithmetic.
    """
    h = _HALF if halves else 0.0
    q = (1 - h) ** -2
    g = terms * unit / (1 - terms * unit)
    return (q - 1) + (q + 1) * g + (q + 1) * h * (1 + g)


def allowed(products: onnx.ModelProto, fed: Mapping[str, Any], run: Run) -> list[NDArray[np.float64] | None]:
    """How far each element of each output may be from what another way gives; None for outputs that are no floats.

    Args:
        products: A model of Conv, ConvTranspose, Gemm and MatMul alone.
        fed: Values of its inputs, and perhaps of others.
        run: Runs a model.
    """
    kinds = {value.type.tensor_type.elem_type for value in products.graph.output}
    halves = onnx.TensorProto.FLOAT16 in kinds
    unit = 2.0**-53 if onnx.TensorProto.DOUBLE in kinds else 2.0**-24
    named = {t.name: numpy_helper.to_array(t) for t in products.graph.initializer}
    values = {v.name: np.asarray(fed[v.name]) for v in products.graph.input if v.name not in named} | named
    if any(value.dtype.kind != "f" for value in values.values()):
        return [None] * len(products.graph.output)
    plain = _plain(products)
    depth = _in_a_row(plain)
    # between products nothing can be added: where there are several, S must not be small at the first
    least = 0.0 if not halves else _SMALLEST_HALF if depth == 1 else 1.0
    amounts = {name: np.abs(value.astype("float64")) + least for name, value in values.items()}
    sums = _sums(plain, amounts, run)
    _without_factors(plain)
    terms = _sums(plain, {name: np.ones_like(value) for name, value in amounts.items()}, run)
    found: list[NDArray[np.float64] | None] = []
    for s, k in zip(sums, terms, strict=True):
        larger = (1 + bound(k + _FURTHER, halves=halves, unit=unit)) ** depth
        most = (larger - 1) * larger * (s + least)  # s is such a sum itself, and as far from S
        # what is as large as this may be infinite by one way and not by the other
        found.append(np.where(halves & (s > _LARGEST_HALF / 2), np.inf, most))
    return found


def _plain(products: onnx.ModelProto) -> onnx.ModelProto:
    """The products with all tensors as inputs, floats of 16 bits as floats, and factors by their amount."""
    plain = onnx.ModelProto()
    plain.CopyFrom(products)
    graph = plain.graph
    declared = {value.name for value in graph.input}
    graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims)
        for t in graph.initializer
        if t.name not in declared
    )
    del graph.initializer[:]
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.FLOAT:
                attribute.f = abs(attribute.f)
    return plain


def _without_factors(plain: onnx.ModelProto) -> None:
    """Take the factors of all Gemms away, in place: terms are counted, whatever they weigh."""
    for node in plain.graph.node:
        kept = [a for a in node.attribute if a.name not in ("alpha", "beta")]
        del node.attribute[:]
        node.attribute.extend(kept)


def _sums(plain: onnx.ModelProto, values: Mapping[str, Any], run: Run) -> list[NDArray[np.float64]]:
    kinds = {v.name: onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in plain.graph.input}
    return [np.asarray(y, "float64") for y in run(plain, {n: np.asarray(values[n], kind) for n, kind in kinds.items()})]


def _in_a_row(plain: onnx.ModelProto) -> int:
    """The most products that take from one another in a row."""
    depth: dict[str, int] = {}
    for node in plain.graph.node:
        own = 1 + max((depth.get(name, 0) for name in node.input), default=0)
        depth.update(dict.fromkeys(node.output, own))
    return max(depth.values())
