"""The parts of decoder language models in TensorFlow (:mod:`fathom_onnx.workloads.suite2026.decoder`).

Between layers, tokens are rows: [batch * tokens, width].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from fathom_exporters.tensorflow.layers import add, constant, rms_norm
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2026.decoder import POSITION, DecoderConfig, rotary_frequencies

__all__ = ["Places", "attention_part", "decode", "linear", "next_token_loss"]


@dataclass(frozen=True)
class Places:
    """What all blocks share: the angles' cosine and sine [T, 1, size / 2], the mask [T, places], in decoding the place.

    Attributes:
        cos: Cosine of the rotary embedding's angles.
        sin: Their sine.
        mask: Whether a token sees a place.
        index: The place of a decoding step; None for whole sequences.
    """

    cos: tf.Tensor
    sin: tf.Tensor
    mask: tf.Tensor
    index: tf.Tensor | None


def linear(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """``x W^T`` without a bias: [N, in] -> [N, out]."""
    with net.scope(name):
        return tf.matmul(x, net.variables[f"{name}.weight"], transpose_b=True)


def places_of(net: Net, c: DecoderConfig, dtype: tf.DType) -> Places:
    """The places of the tokens: all from 0 on, or the one of a decoding step, whose variable is counted on."""
    index = net.variables.get(POSITION)
    with net.scope("position"):
        if index is None:
            places = tf.range(c.length, dtype=tf.int64)
        else:
            places = tf.reshape(index, (1,))
            net.new_buffers[POSITION] = tf.where(index + 1 < c.length, index + 1, tf.zeros((), tf.int64))
    with net.scope("angles"):
        angles = tf.reshape(tf.cast(places, dtype), (-1, 1, 1)) * constant(rotary_frequencies(c), dtype)
        cos, sin = tf.cos(angles), tf.sin(angles)
    with net.scope("mask"):
        mask = places[:, tf.newaxis] >= tf.range(c.length, dtype=tf.int64)
    return Places(cos, sin, mask, index)


def rotary(net: Net, name: str, x: tf.Tensor, places: Places) -> tf.Tensor:
    """Rotates the pairs (i, i + size / 2) of heads [batch, T, heads, size]."""
    with net.scope(name):
        first, second = tf.split(x, 2, -1)
        cos, sin = places.cos, places.sin
        return tf.concat([first * cos - second * sin, second * cos + first * sin], -1)


def cached(net: Net, name: str, new: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Writes keys or values [batch, heads, 1, size] at a place of the cache [batch, heads, places, size]."""
    held = net.variables[name]
    with net.scope(name.rpartition(".")[0]):
        here = tf.equal(tf.range(held.shape[2], dtype=tf.int64), index)
        net.new_buffers[name] = tf.where(here[:, tf.newaxis], new, held)
    return net.new_buffers[name]


def attention(net: Net, name: str, query: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Grouped-query attention: query heads, one after the other, share a head of keys and values.

    [batch, T, heads, size], [batch, kv heads, places, size] twice, [T, places] -> rows [batch * T, width].
    """
    batch, tokens, heads, size = query.shape
    groups, places = keys.shape[1], keys.shape[2]
    shared = heads // groups
    with net.scope(name):
        grouped = tf.transpose(tf.reshape(query, (batch, tokens, groups, shared, size)), (0, 2, 3, 1, 4))
        grouped = tf.reshape(grouped, (batch, groups, shared * tokens, size))
        scores = tf.matmul(grouped, keys, transpose_b=True) * size**-0.5
        scores = tf.reshape(scores, (batch, groups, shared, tokens, places))
        weights = tf.nn.softmax(tf.where(mask, scores, tf.constant(-math.inf, scores.dtype)))
        read = tf.matmul(tf.reshape(weights, (batch, groups, shared * tokens, places)), values)
        read = tf.transpose(tf.reshape(read, (batch, groups, shared, tokens, size)), (0, 3, 1, 2, 4))
        return tf.reshape(read, (batch * tokens, heads * size))


def attention_part(
    net: Net, c: DecoderConfig, block: str, x: tf.Tensor, places: Places
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A block's attention: rows -> rows, and the keys and values that a cache holds after it."""
    size = c.width // c.heads
    normed = rms_norm(net, f"{block}.attention_norm", x, c.epsilon)

    def heads_of(name: str, heads: int) -> tf.Tensor:
        rows = linear(net, f"{block}.{name}", normed)
        with net.scope(f"{block}.{name}"):
            return tf.reshape(rows, (c.batch, -1, heads, size))

    query = rotary(net, f"{block}.rotary", heads_of("query", c.heads), places)
    keys, values = rotary(net, f"{block}.rotary", heads_of("key", c.kv_heads), places), heads_of("value", c.kv_heads)
    with net.scope(f"{block}.attention"):
        keys, values = tf.transpose(keys, (0, 2, 1, 3)), tf.transpose(values, (0, 2, 1, 3))
    if places.index is not None:
        keys = cached(net, f"{block}.cache.keys", keys, places.index)
        values = cached(net, f"{block}.cache.values", values, places.index)
    read = linear(net, f"{block}.output", attention(net, f"{block}.attention", query, keys, values, places.mask))
    return add(net, f"{block}.attention_add", x, read), keys, values


Feed = Callable[[Net, str, tf.Tensor], tf.Tensor]
"""A block's feed-forward part: normalised rows -> rows."""


def decode(net: Net, c: DecoderConfig, tokens: tf.Tensor, feed: Feed) -> dict[str, tf.Tensor]:
    """The whole model: tokens [batch, T] to logits [batch, T, vocabulary], and keys and values of whole sequences."""
    table = net.variables["embedding.weight"]
    with net.scope("embedding"):
        x = tf.gather(table, tf.reshape(tokens, (-1,)))
    places = places_of(net, c, x.dtype)
    made: dict[str, tf.Tensor] = {}
    for number in range(1, c.layers + 1):
        block = f"block{number}"
        x, keys, values = attention_part(net, c, block, x, places)
        fed = feed(net, block, rms_norm(net, f"{block}.feed_norm", x, c.epsilon))
        x = add(net, f"{block}.feed_add", x, fed)
        made |= {f"{block}.cache.keys": keys, f"{block}.cache.values": values}
    rows = linear(net, "head", rms_norm(net, "norm", x, c.epsilon))
    with net.scope("head"):
        return {"logits": tf.reshape(rows, (*tokens.shape, c.vocabulary)), **made}


def next_token_loss(outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean softmax cross-entropy of the tokens after each."""
    logits = outputs["logits"]
    rows, labels = tf.reshape(logits, (-1, logits.shape[-1])), tf.reshape(batch["labels"], (-1,))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, rows))
