"""RotaryEmbedding (opset 23): the pairs (i, i + size / 2) of each head, turned by the angles of a token's place.

The pattern is ``concat(first * cos - second * sin, second * cos + first * sin)`` of the halves of heads
[batch, tokens, heads, size], with cosines and sines [tokens, 1, size / 2].
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import known_shape

from .patterns import made_by, other_operand, row_shape

__all__ = ["rotary"]


def _halves(value: ir.Value | None) -> tuple[ir.Value, ir.Value] | None:
    """The halves along the last axis that the Split of a value has, if it has two."""
    split = made_by(value, "Split")
    if split is None or len(split.outputs) != 2:
        return None
    first, second = split.outputs
    shape = known_shape(split.inputs[0])
    axis = split.attributes["axis"].as_int() if "axis" in split.attributes else 0
    if shape is None or axis not in (-1, len(shape) - 1) or known_shape(first) != known_shape(second):
        return None
    return first, second


def _products(node: ir.Node | None) -> tuple[ir.Node, ir.Node] | None:
    """The two products that a sum or a difference is of."""
    if node is None:
        return None
    first, second = (made_by(value, "Mul") for value in node.inputs)
    return None if first is None or second is None else (first, second)


def _factor(product: ir.Node, half: ir.Value) -> ir.Value | None:
    """What a product has beside a half, if it has the half."""
    return other_operand(product, half) if half in product.inputs else None


def rotary(b: Builder, concat: ir.Node) -> dict[ir.Value, ir.Value] | None:
    """What replaces the turned heads, if a concatenation is of them."""
    if len(concat.inputs) != 2:
        return None
    left, right = _products(made_by(concat.inputs[0], "Sub")), _products(made_by(concat.inputs[1], "Add"))
    if left is None or right is None:
        return None
    halves = next((found for value in left[0].inputs if (found := _halves(value)) is not None), None)
    if halves is None:
        return None
    first, second = halves
    cos, sin = _factor(left[0], first), _factor(left[1], second)
    if cos is None or sin is None or not _turns(right, first, second, cos, sin):
        return None
    split = first.producer()
    x = split.inputs[0] if split is not None else None
    shape, rows = known_shape(x), row_shape(cos)
    if x is None or shape is None or len(shape) != 4 or known_shape(cos) != known_shape(sin) or rows is None:
        return None
    batch, tokens, heads, size = shape
    if known_shape(cos) not in ((tokens, 1, size // 2), (1, tokens, 1, size // 2)):
        return None
    places = b.constant(np.tile(np.arange(tokens, dtype=np.int64), (batch, 1)))
    cosines, sines = (b.reshape(value, tokens, size // 2) for value in (cos, sin))
    turned = b.op("RotaryEmbedding", b.reshape(x, batch, tokens, heads * size), cosines, sines, places, num_heads=heads)
    turned.shape, turned.type = ir.Shape([batch, tokens, heads * size]), x.type
    return {concat.outputs[0]: b.reshape(turned, *shape)}


def _turns(products: tuple[ir.Node, ir.Node], first: ir.Value, second: ir.Value, cos: ir.Value, sin: ir.Value) -> bool:
    """Whether two products are ``second * cos`` and ``first * sin``, in either order."""
    wanted = ((second, cos), (first, sin))
    return any(
        all(_factor(product, half) is factor for product, (half, factor) in zip(order, wanted, strict=True))
        for order in (products, products[::-1])
    )
