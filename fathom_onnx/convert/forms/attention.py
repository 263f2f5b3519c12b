"""Attention in one node: the scores Q K' and the sum P V of every head, after the projections that the node holds."""

from __future__ import annotations

from collections.abc import Callable

from fathom_onnx.analysis.cost.attention import Attention
from fathom_onnx.analysis.cost.call import Call

from .product import Form, MatrixProduct

__all__ = ["attention"]


def attention(of: Callable[[Call], Attention]) -> Form:
    """The products of an attention, from the function that the cost model reads its sizes with."""

    def form(call: Call) -> tuple[MatrixProduct, ...]:
        found = of(call)
        heads = found.batch * found.heads
        rows, columns, inner = found.projected
        return (
            *((MatrixProduct(rows, columns, inner),) if columns else ()),
            MatrixProduct(found.queries, found.keys, found.size, heads),
            MatrixProduct(found.queries, found.value_size, found.keys, heads),
        )

    return form
