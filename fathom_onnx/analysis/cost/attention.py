"""Arithmetic of attention in one node: the projections it holds, the scores Q K', the softmax and the sum P V.

For L queries and S keys a head, MACs = batch x heads x L x S x (d_qk + d_v). Masks do not lessen the count: a causal
half is computed and dropped. An element of the scores costs 5 FLOPs for the softmax, 1 for the scale, 1 for a mask or
bias and 3 for a soft cap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .call import Arithmetic, Call, Formula, NotKnown

__all__ = [
    "Attention",
    "attention",
    "counted",
    "decoder_masked_attention",
    "flex_attention",
    "group_query_attention",
    "multi_head_attention",
    "projected_attention",
    "quantized_attention",
    "quantized_ordered_attention",
]


@dataclass(frozen=True)
class Attention:
    """The products of one attention: the projections that are in the node, the scores Q K' and the sum P V.

    Attributes:
        batch: Sequences.
        heads: Heads of the queries; where keys have fewer, several heads share one.
        queries: Length of the queries.
        keys: Length of the keys, those of the past included.
        size: Elements of a query and of a key of one head.
        value_size: Elements of a value of one head.
        each: FLOPs an element of the scores besides the products, the scale and the softmax: masks, a soft cap.
        more: FLOPs of the whole node besides: biases, rotary embedding.
        projected: (rows, columns, inner) of the projection with a bias before it, or nothing.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    size: int
    value_size: int
    each: int = 0
    more: int = 0
    projected: tuple[int, int, int] = (0, 0, 0)

    @property
    def arithmetic(self) -> Arithmetic:
        """MACs and FLOPs of the node."""
        scores = self.batch * self.heads * self.queries * self.keys
        rows, columns, inner = self.projected
        macs = scores * (self.size + self.value_size) + rows * columns * inner
        return macs, 2 * macs + (6 + self.each) * scores + rows * columns + self.more


def counted(of: Callable[[Call], Attention]) -> Formula:
    """The formula of an attention."""

    def formula(call: Call) -> Arithmetic:
        return of(call).arithmetic

    return formula


def _heads(call: Call, position: int, attribute: str) -> tuple[int, int, int, int]:
    """(batch, heads, length, head size) of [B, H, L, D] or [B, L, H x D]."""
    shape = call.shape(position)
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    if len(shape) != 3:
        raise NotKnown(f"input {position} has {len(shape)} dimensions, not 3 or 4")
    heads = call.integer(attribute)
    return shape[0], heads, shape[1], shape[2] // heads


def attention(call: Call) -> Attention:
    """The standard's ``Attention``: Q, K, V, mask, past key, past value."""
    batch, heads, queries, size = _heads(call, 0, "q_num_heads")
    _, _, keys, value_size = _heads(call, 2, "kv_num_heads")
    keys += call.shape(4)[2] if call.has(4) else 0
    capped = 3 if call.attributes.get("softcap") else 0
    return Attention(batch, heads, queries, keys, size, value_size, call.has(3) + capped)


def flex_attention(call: Call) -> Attention:
    """``FlexAttention``: Q, K, V with four dimensions; what its bodies do is counted with the bodies."""
    batch, heads, queries, size = call.matrix(0, 4)
    _, _, keys, value_size = call.matrix(2, 4)
    return Attention(batch, heads, queries, keys, size, value_size)


def _projected(call: Call, weights: int, columns: int, past: int, mask: tuple[int, ...]) -> Attention:
    batch, queries, inner = call.matrix(0, 3)
    heads = call.integer("num_heads")
    sizes = call.integers("qkv_hidden_sizes") or [columns // 3] * 3
    if call.integer("past_present_share_buffer", 0):
        raise NotKnown("how much of the shared cache is in use is data")
    keys = queries + (call.shape(past)[3] if call.has(past) else 0)
    each = sum(call.has(p) for p in mask)
    projected = batch * queries, columns, inner
    return Attention(batch, heads, queries, keys, sizes[0] // heads, sizes[2] // heads, each, projected=projected)


def projected_attention(call: Call) -> Attention:
    """``com.microsoft.Attention``: input [B, L, D] times weights [D, D_q + D_k + D_v] and a bias, then the scores."""
    return _projected(call, 1, call.matrix(1, 2)[1], 4, (3, 5))


def quantized_attention(call: Call) -> Attention:
    """``QAttention``: as :func:`projected_attention`, the input and the weights in 8 bits."""
    return _projected(call, 1, call.matrix(1, 2)[1], 8, (5,))


def quantized_ordered_attention(call: Call) -> Attention:
    """``QOrderedAttention``: three weights [D, D_q], [D, D_k], [D, D_v], no past."""
    batch, queries, inner = call.matrix(0, 3)
    query, key, value = (call.matrix(position, 2)[1] for position in (5, 6, 7))
    heads = call.integer("num_heads")
    each = call.has(17) + call.has(19)
    projected = batch * queries, query + key + value, inner
    return Attention(batch, heads, queries, queries, query // heads, value // heads, each, projected=projected)


def multi_head_attention(call: Call) -> Attention:
    """``MultiHeadAttention``: query [B, L, D], key and value [B, S, D] or [B, H, S, d], or packed in one tensor."""
    heads = call.integer("num_heads")
    query = call.shape(0)
    if call.has(8):
        raise NotKnown("how much of the shared cache is in use is data")
    if len(query) == 5:
        batch, length, _, _, size = query
        keys, value_size, biased = length, size, 3 * heads * size
    else:
        batch, length, width = call.matrix(0, 3)
        size = width // heads
        key = call.shape(1)
        keys = key[2] if len(key) == 4 else key[1]
        if len(key) == 5:
            value_size, biased = size, 0
        else:
            value = call.shape(2)
            value_size = value[3] if len(value) == 4 else value[2] // heads
            biased = 0
    keys += call.shape(6)[2] if call.has(6) else 0
    biases = 0
    if call.has(3):
        own = keys - (call.shape(6)[2] if call.has(6) else 0)
        biases = batch * (length * biased if biased else heads * (length * size + own * (size + value_size)))
    return Attention(batch, heads, length, keys, size, value_size, call.has(4) + call.has(5), biases)


def decoder_masked_attention(call: Call) -> Attention:
    """``DecoderMaskedMultiHeadAttention``: one query against a cache; self attention appends to it, cross does not."""
    if call.integer("past_present_share_buffer", 0) or call.has(7):
        raise NotKnown("how much of the shared cache is in use is data")
    heads = call.integer("num_heads")
    batch, length, width = call.matrix(0, 3)
    if not call.has(1):
        raise NotKnown("queries, keys and values are packed in one tensor")
    size = width // heads
    key, value = call.shape(1), call.shape(2)
    keys = key[2] if len(key) == 4 else key[1] + (call.shape(5)[2] if call.has(5) else 0)
    value_size = value[3] if len(value) == 4 else value[2] // heads
    return Attention(batch, heads, length, keys, size, value_size, call.has(3) + call.has(4))


def group_query_attention(call: Call) -> Attention:
    """``GroupQueryAttention``: query [B, L, H x d] or packed, key and value with fewer heads, past [B, G, P, d].

    Where past and present have one length the cache is a buffer, and how much of it is in use is data, unless the
    total length is a constant. Rotary embedding is 3 FLOPs a rotated element of query and new key.
    """
    heads, groups = call.integer("num_heads"), call.integer("kv_num_heads")
    batch, length, width = call.matrix(0, 3)
    size = width // heads if call.has(1) else width // (heads + 2 * groups)
    total = call.value(6)
    if total is not None:
        keys = int(total.reshape(-1)[0])
    elif not call.has(3):
        keys = length
    elif call.gives(1) and call.result(1)[2] == call.shape(3)[2] + length:
        keys = call.result(1)[2]
    else:
        raise NotKnown("how much of the cache is in use is data")
    window = call.integer("local_window_size", -1)
    if window > 0 and length == 1:
        keys = min(keys, window)
    capped = 3 if call.attributes.get("softcap") else 0
    rotated = 3 * batch * length * (heads + groups) * size if call.integer("do_rotary", 0) else 0
    return Attention(batch, heads, length, keys, size, size, call.has(10) + capped, rotated)
