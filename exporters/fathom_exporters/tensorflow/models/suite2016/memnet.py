"""memnet in TensorFlow: the end-to-end memory network of :mod:`fathom_onnx.workloads.suite2016.memnet`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2016.memnet import MemnetConfig

__all__ = ["forward", "loss", "position_encoding"]


def position_encoding(words: int, like: tf.Tensor) -> tf.Tensor:
    """The paper's l_kj for word j and component k, [words, embedding], as wide and of the type of ``like``."""
    size = like.shape[1]
    j = tf.range(1, words + 1, dtype=like.dtype)[:, tf.newaxis] / words
    k = tf.range(1, size + 1, dtype=like.dtype) / size
    return (1 - j) - k * (1 - 2 * j)


def sentences(net: Net, name: str, ids: tf.Tensor) -> tf.Tensor:
    """Word ids [..., words] -> sentence vectors [..., embedding]: word vectors weighted by position and summed."""
    table = net.variables[f"{name}.weight"]
    with net.scope(name):
        return tf.reduce_sum(tf.gather(table, ids) * position_encoding(ids.shape[-1], table), -2)


def memory(net: Net, name: str, ids: tf.Tensor) -> tf.Tensor:
    """Stories [batch, memory, words] -> memory vectors [batch, memory, embedding], each with its temporal encoding."""
    vectors = sentences(net, name, ids)
    with net.scope(name):
        return vectors + net.variables[f"{name}.time"]


def attention(net: Net, name: str, state: tf.Tensor, memory_in: tf.Tensor) -> tf.Tensor:
    """P = softmax(m u): state [batch, embedding], memory [batch, memory, embedding] -> [batch, memory]."""
    with net.scope(name):
        return tf.nn.softmax(tf.squeeze(tf.matmul(memory_in, tf.expand_dims(state, 2)), 2))


def read(net: Net, name: str, weights: tf.Tensor, memory_out: tf.Tensor) -> tf.Tensor:
    """O = p c: weights [batch, memory], memory [batch, memory, embedding] -> [batch, embedding]."""
    with net.scope(name):
        return tf.squeeze(tf.matmul(tf.expand_dims(weights, 1), memory_out), 1)


def linear(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """``x W^T`` without a bias: [N, in] -> [N, out]."""
    with net.scope(name):
        return tf.matmul(x, net.variables[f"{name}.weight"], transpose_b=True)


def hop(net: Net, number: int, state: tf.Tensor, memory_in: tf.Tensor, memory_out: tf.Tensor) -> tf.Tensor:
    """One hop: attention over the memory, read, update of the state, u' = H u + o."""
    weights = attention(net, f"hop{number}.attention", state, memory_in)
    output = read(net, f"hop{number}.read", weights, memory_out)
    state = linear(net, "state", state)
    with net.scope(f"hop{number}.update"):
        return state + output


def forward(net: Net, config: MemnetConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Stories and queries to the logits of the answer word, [batch, vocabulary]."""
    u = sentences(net, "query", batch["queries"])
    memory_in, memory_out = (memory(net, name, batch["stories"]) for name in ("memory_in", "memory_out"))
    for number in range(1, config.hops + 1):
        u = hop(net, number, u, memory_in, memory_out)
    return {"logits": linear(net, "answer", u)}


def loss(net: Net, config: MemnetConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Softmax cross-entropy, summed over the batch."""
    losses = tf.nn.softmax_cross_entropy_with_logits(labels=batch["answers"], logits=outputs["logits"])
    return tf.reduce_sum(losses)
