"""mamba in TensorFlow: the state space model Mamba-2 of :mod:`fathom_onnx.workloads.suite2026.mamba`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.layers import add, rms_norm, silu
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2026.mamba import MambaConfig

__all__ = ["forward", "loss", "segsum", "state_space_duality"]


def segsum(x: tf.Tensor) -> tf.Tensor:
    """Sums of segments (listing 1): x [..., T] -> [..., T, T] with ``x_(j+1) + ... + x_i`` at (i, j), -inf above."""
    steps = tf.range(x.shape[-1])
    rows = tf.repeat(tf.expand_dims(x, -1), x.shape[-1], -1)
    sums = tf.cumsum(tf.where(steps[:, tf.newaxis] <= steps, tf.zeros((), x.dtype), rows), len(x.shape) - 1)
    return tf.where(steps[:, tf.newaxis] < steps, tf.constant(float("-inf"), x.dtype), sums)


def state_space_duality(x: tf.Tensor, a: tf.Tensor, b: tf.Tensor, c: tf.Tensor, chunk: int) -> tf.Tensor:
    """The recurrence ``state = exp(a) state + b x^T``, ``y = c^T state`` of every head, chunk by chunk (listing 1).

    Values x [N, T, heads, P], logs of decays a [N, T, heads], b and c [N, T, S] -> y [N, T, heads, P].
    """
    n, length, heads, width = x.shape
    chunks, state = length // chunk, b.shape[-1]
    x = tf.reshape(x, (n, chunks, chunk, heads, width))
    a = tf.transpose(tf.reshape(a, (n, chunks, chunk, heads)), (0, 3, 1, 2))
    b, c = (tf.reshape(t, (n, chunks, chunk, state)) for t in (b, c))
    sums = tf.cumsum(a, 3)  # [N, heads, chunks, chunk]
    # 1. within each chunk: attention under the products of decays
    scores = tf.expand_dims(tf.matmul(c, b, transpose_b=True), 1) * tf.exp(segsum(a))
    within = tf.matmul(scores, tf.transpose(x, (0, 3, 1, 2, 4)))  # [N, heads, chunks, chunk, P]
    # 2. the state that each chunk adds
    to_end = tf.expand_dims(tf.transpose(tf.exp(sums[..., -1:] - sums), (0, 2, 3, 1)), 4)
    decayed = tf.reshape(x * to_end, (n, chunks, chunk, heads * width))
    states = tf.matmul(b, decayed, transpose_a=True)  # [N, chunks, S, heads * P]
    # 3. the state that enters each chunk: of all before it
    between = tf.exp(segsum(tf.pad(sums[..., -1], [[0, 0], [0, 0], [1, 0]])))[..., :-1, 1:]
    states = tf.transpose(tf.reshape(states, (n, chunks, state, heads, width)), (0, 3, 1, 2, 4))
    entering = tf.matmul(between, tf.reshape(states, (n, heads, chunks, state * width)))
    entering = tf.transpose(tf.reshape(entering, (n, heads, chunks, state, width)), (0, 2, 3, 1, 4))
    # 4. what each position reads from it
    read = tf.matmul(c, tf.reshape(entering, (n, chunks, state, heads * width)))
    from_start = tf.expand_dims(tf.transpose(tf.exp(sums), (0, 2, 3, 1)), 4)
    across = tf.reshape(read, (n, chunks, chunk, heads, width)) * from_start
    return tf.reshape(tf.transpose(within, (0, 2, 3, 1, 4)) + across, (n, length, heads, width))


def product(net: Net, name: str, x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """``x W^T`` without a bias: [N, T, in] -> [N, T, out]."""
    with net.scope(name):
        rows = tf.matmul(tf.reshape(x, (-1, x.shape[2])), weight, transpose_b=True)
        return tf.reshape(rows, (*x.shape[:2], weight.shape[0]))


def causal_convolution(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """A depthwise convolution of [N, T, C] along T that sees no later position."""
    with net.scope(name):
        weight = net.variables[f"{name}.weight"]  # [C, 1, kernel]
        filters = tf.expand_dims(tf.transpose(weight, (2, 0, 1)), 0)  # [1, kernel, C, 1]
        rows = tf.expand_dims(tf.pad(x, [[0, 0], [weight.shape[2] - 1, 0], [0, 0]]), 1)
        y = tf.nn.depthwise_conv2d(rows, filters, [1, 1, 1, 1], "VALID")
        return tf.nn.bias_add(tf.squeeze(y, 1), net.variables[f"{name}.bias"])


def mixer(net: Net, config: MambaConfig, name: str, u: tf.Tensor) -> tf.Tensor:
    """[N, T, width] -> [N, T, width], position by position in the order of time."""
    c = config
    projected = product(net, f"{name}.in_proj", u, net.variables[f"{name}.in_proj.weight"])
    with net.scope(name):
        z, xbc, dt = tf.split(projected, [c.inner, c.convolved, c.heads], 2)
    convolved = silu(net, f"{name}.act", causal_convolution(net, f"{name}.conv1d", xbc))
    with net.scope(name):
        x, b, read = tf.split(convolved, [c.inner, c.state, c.state], 2)
        x = tf.reshape(x, (*x.shape[:2], c.heads, c.head))
        dt = tf.nn.softplus(dt + net.variables[f"{name}.dt_bias"])
        values, decays = x * tf.expand_dims(dt, 3), -tf.exp(net.variables[f"{name}.A_log"]) * dt
    with net.scope(f"{name}.ssd"):
        y = state_space_duality(values, decays, b, read, c.chunk)
    with net.scope(name):
        y = tf.reshape(y + x * tf.expand_dims(net.variables[f"{name}.D"], 1), z.shape)
    gate = silu(net, f"{name}.norm", z)
    with net.scope(f"{name}.norm"):
        y = y * gate
    y = rms_norm(net, f"{name}.norm", y, c.epsilon)
    return product(net, f"{name}.out_proj", y, net.variables[f"{name}.out_proj.weight"])


def forward(net: Net, config: MambaConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Tokens [N, T] to logits [N, T, vocabulary]."""
    table = net.variables["embedding.weight"]
    with net.scope("embedding"):
        x = tf.gather(table, batch["tokens"])
    for number in range(config.blocks):
        name = f"layers.{number}"
        mixed = mixer(net, config, f"{name}.mixer", rms_norm(net, f"{name}.norm", x, config.epsilon))
        x = add(net, f"{name}.add", mixed, x)
    return {"logits": product(net, "lm_head", rms_norm(net, "norm_f", x, config.epsilon), table)}


def loss(net: Net, config: MambaConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean cross-entropy over all positions."""
    rows = tf.reshape(outputs["logits"], (-1, config.vocabulary))
    targets = tf.reshape(batch["labels"], (-1,))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=rows))
