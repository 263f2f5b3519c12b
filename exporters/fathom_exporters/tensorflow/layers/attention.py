"""Attention over tokens."""

from __future__ import annotations

import math

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net

__all__ = ["heads_attention"]


def heads_attention(net: Net, name: str, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, heads: int) -> tf.Tensor:
    """``softmax(q k^T / sqrt(d)) v`` for each head, the features of the heads one after another.

    Query, key and value are [N, tokens, width]; each head has ``d = width / heads`` features (Vaswani et al. 2017,
    section 3.2).
    """
    batch, tokens, width = query.shape
    size = width // heads

    def of_heads(x: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tf.reshape(x, (batch, tokens, heads, size)), (0, 2, 1, 3))

    with net.scope(name):
        scores = tf.matmul(of_heads(query), of_heads(key), transpose_b=True) * (1 / math.sqrt(size))
        with tf.name_scope("Softmax"):  # its gradient is one canonical op by this name
            weights = tf.nn.softmax(scores)
        read = tf.matmul(weights, of_heads(value))
        return tf.reshape(tf.transpose(read, (0, 2, 1, 3)), (batch, tokens, width))
