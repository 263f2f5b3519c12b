"""dlrm in TensorFlow: the recommendation model of :mod:`fathom_onnx.workloads.suite2026.dlrm`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from fathom_exporters.tensorflow.layers import embedding_bag, linear, relu, sigmoid
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2026.dlrm import DlrmConfig, categories, pairs

__all__ = ["forward", "loss"]


def interaction(net: Net, config: DlrmConfig, x: tf.Tensor, pooled: Sequence[tf.Tensor]) -> tf.Tensor:
    """X and the dot products of all pairs of vectors: [N, D] and tables times [N, D] -> [N, D + pairs]."""
    with net.scope("interaction"):
        vectors = tf.stack([x, *pooled], 1)
        products = tf.matmul(vectors, vectors, transpose_b=True)
        kept = tf.gather(tf.reshape(products, (config.batch, -1)), pairs(config), axis=1)
        return tf.concat([x, kept], 1)


def forward(net: Net, config: DlrmConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Batch inputs to the probability of a click, [N, 1], and its logit."""
    x = batch["dense"]
    for index in range(len(config.bottom)):
        x = relu(net, f"bottom.{2 * index + 1}", linear(net, f"bottom.{2 * index}", x))
    pooled = [embedding_bag(net, f"tables.{n}", batch[categories(n)]) for n in range(len(config.rows))]
    y = interaction(net, config, x, pooled)
    for index in range(len(config.top) - 1):
        y = relu(net, f"top.{2 * index + 1}", linear(net, f"top.{2 * index}", y))
    logit = linear(net, f"top.{2 * len(config.top) - 2}", y)
    return {"logit": logit, "probability": sigmoid(net, "sigmoid", logit)}


def loss(net: Net, config: DlrmConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean binary cross-entropy."""
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=batch["clicks"], logits=outputs["logit"])
    return tf.reduce_mean(losses)
