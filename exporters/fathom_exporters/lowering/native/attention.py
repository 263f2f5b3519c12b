"""Attention (opset 23) for two batched products with a softmax between.

The pattern is ``softmax(where(mask, s * (Q K'), -inf)) V``, where the mask may be missing, s may be 1, and reshapes may
split the rows of Q into query heads that share a head of keys and values (grouped-query attention); or the same
transposed, ``V' P'``, as channels before pixels have it. The op has heads along axis 1: Q [batch, heads, tokens, size],
K and V [batch, key heads, places, size], and repeats each key head for as many query heads that follow one another. Its
fourth output in mode 3 is the softmax's result, which the backward pass reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import known_shape

from .patterns import made_by, number, split_number, user

__all__ = ["attention"]

_AFTER_SOFTMAX = 3
"""``qk_matmul_output_mode``: the fourth output is what the softmax gives."""


@dataclass(frozen=True)
class _Scores:
    """What a softmax is taken of.

    Attributes:
        query: Left operand of the product [..., rows, size].
        keys: Right operand [..., size, places].
        scale: Factor.
        mask: Which scores count, or None for all.
        turned: Whether places come before rows.
    """

    query: ir.Value
    keys: ir.Value
    scale: float
    mask: ir.Value | None
    turned: bool


@dataclass(frozen=True)
class _Read:
    """The product that reads the values.

    Attributes:
        result: Its result [..., rows, width], or [..., width, rows] where turned.
        values: What it reads [..., places, width], or [..., width, places] where turned.
        turned: Whether it is the product transposed.
    """

    result: ir.Value
    values: ir.Value
    turned: bool


def _swaps(node: ir.Node) -> bool:
    """Whether a Transpose swaps the last two axes."""
    perm = list(node.attributes["perm"].as_ints())
    return perm == [*range(len(perm) - 2), len(perm) - 1, len(perm) - 2]


def _scores(value: ir.Value | None) -> _Scores | None:
    """The scores that a value is, through its mask, moves and factor."""
    mask, scale, turned = None, 1.0, False
    where = made_by(value, "Where")
    if where is not None:
        if number(where.inputs[2]) != -math.inf:
            return None
        mask, value = where.inputs[0], where.inputs[1]
    while (node := made_by(value, "Reshape", "Transpose", "Mul", "MatMul")) is not None:
        if node.op_type == "MatMul":
            query, keys = node.inputs
            return _Scores(query, keys, scale, mask, turned) if query is not None and keys is not None else None
        if node.op_type == "Mul":
            scaled = split_number(node)
            if scaled is None:
                return None
            value, scale = scaled[0], scale * scaled[1]
        elif node.op_type == "Reshape":
            if turned:
                return None
            value = node.inputs[0]
        else:
            if mask is not None or not _swaps(node):
                return None
            value, turned = node.inputs[0], not turned
    return None


def _read(weights: ir.Value, turned: bool) -> _Read | None:
    """The product that reads values with weights, which are turned or not."""
    move = user(weights, "Reshape", "Transpose")
    if move is not None and move.op_type == "Transpose":
        if not _swaps(move):
            return None
        weights, turned = move.outputs[0], not turned
    elif move is not None:
        weights = move.outputs[0]
    product = user(weights, "MatMul")
    if product is None or product.inputs[1 if turned else 0] is not weights:
        return None
    values = product.inputs[0 if turned else 1]
    return _Read(product.outputs[0], values, turned) if values is not None else None


def _last_axes_swapped(b: Builder, value: ir.Value, rank: int) -> ir.Value:
    return b.op("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])


def _heads(leading: tuple[int, ...], shape: tuple[int, ...], rows: int, tokens: int) -> tuple[int, int]:
    """Batch and heads of keys, from the axes of the product before the last two and the shape of the weights."""
    if len(leading) > 1:
        return math.prod(leading[:-1]), leading[-1]
    if len(shape) == 4 and rows == tokens:  # heads were put together with the batch for the product
        return shape[0], shape[1]
    return leading[0], 1


def attention(b: Builder, softmax: ir.Node) -> dict[ir.Value, ir.Value] | None:
    """What replaces the results of the second product and of the softmax, if the softmax is of attention."""
    weights = softmax.outputs[0]
    shape = known_shape(weights)
    scores = _scores(softmax.inputs[0])
    if shape is None or scores is None:
        return None
    axis = softmax.attributes["axis"].as_int() if "axis" in softmax.attributes else -1
    if axis % len(shape) != len(shape) - (2 if scores.turned else 1):
        return None
    read = _read(weights, scores.turned)
    query, keys = known_shape(scores.query), known_shape(scores.keys)
    values = known_shape(read.values) if read is not None else None
    if read is None or query is None or keys is None or values is None or len(query) < 3:
        return None
    leading, rows, size = query[:-2], query[-2], query[-1]
    tokens, places = shape[:-3:-1] if scores.turned else shape[-2:]
    width, read_places = values[-2:] if read.turned else values[:-3:-1]
    fits = keys == (*leading, size, places) and values[:-2] == leading and read_places == places
    if not fits or rows % tokens or math.prod(shape) != math.prod(leading) * rows * places:
        return None
    mask = scores.mask
    if mask is not None and math.prod(known_shape(mask) or (0,)) != tokens * places:
        return None  # one for each sample or head, or one that rows share
    batch, groups = _heads(leading, shape, rows, tokens)
    heads = math.prod(leading) * rows // (batch * tokens)
    value = _last_axes_swapped(b, read.values, len(values)) if read.turned else read.values
    attended, *caches, softmaxed = b.ops(
        "Attention",
        b.reshape(scores.query, batch, heads, tokens, size),
        b.reshape(_last_axes_swapped(b, scores.keys, len(keys)), batch, groups, places, size),
        b.reshape(value, batch, groups, places, width),
        *([] if mask is None else [b.reshape(mask, tokens, places)]),
        outputs=4,
        scale=scores.scale,
        qk_matmul_output_mode=_AFTER_SOFTMAX,
    )
    for cache in caches:
        cache.name = ""  # an output that is not wanted
    result = b.reshape(attended, *leading, rows, width)
    if read.turned:
        result = _last_axes_swapped(b, result, len(values))
    if scores.turned:
        softmaxed = _last_axes_swapped(b, softmaxed, 4)
    return {read.result: result, weights: b.reshape(softmaxed, *shape)}
