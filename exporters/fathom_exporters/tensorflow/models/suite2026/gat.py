"""gat in TensorFlow: the graph attention network of :mod:`fathom_onnx.workloads.suite2026.gat`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.layers import add, dropout, elu, linear, segment_softmax, segment_sum
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2026.gat import GatConfig, GatLayer, gat_layers

__all__ = ["forward", "loss"]


def projection(net: Net, layer: GatLayer, x: tf.Tensor) -> tf.Tensor:
    """``z = W x``, head by head: [sources, inputs] -> [sources, heads, outputs]."""
    name = f"{layer.name}.linear"
    with net.scope(name):
        z = tf.matmul(x, net.variables[f"{name}.weight"], transpose_b=True)
    with net.scope(layer.name):
        return tf.reshape(z, (layer.sources, layer.heads, layer.outputs))


def attention(
    net: Net, config: GatConfig, layer: GatLayer, z: tf.Tensor, sources: tf.Tensor, targets: tf.Tensor
) -> tf.Tensor:
    """Attention coefficients of edges, [edges, heads]."""
    name = f"{layer.name}.attention"
    with net.scope(name):
        of_sources = tf.reduce_sum(z * net.variables[f"{name}.source"], -1)
        of_targets = tf.reduce_sum(z[: layer.targets] * net.variables[f"{name}.target"], -1)
        of_targets = tf.pad(of_targets, [[0, 1], [0, 0]])  # the node past the targets
        logits = tf.gather(of_sources, sources) + tf.gather(of_targets, targets)
        return segment_softmax(tf.nn.leaky_relu(logits, config.slope), targets, layer.targets + 1)


def gathering(
    net: Net, layer: GatLayer, z: tf.Tensor, weights: tf.Tensor, sources: tf.Tensor, targets: tf.Tensor
) -> tf.Tensor:
    """The sum of weighted sources over the edges of each target, and a bias: -> [targets, width]."""
    name = f"{layer.name}.gathering"
    with net.scope(name):
        messages = tf.gather(z, sources) * tf.expand_dims(weights, -1)
        gathered = segment_sum(messages, targets, layer.targets + 1)[: layer.targets]
        y = tf.reduce_mean(gathered, 1) if layer.last else tf.reshape(gathered, (layer.targets, layer.width))
        return y + net.variables[f"{name}.bias"]


def attention_layer(
    net: Net, config: GatConfig, layer: GatLayer, x: tf.Tensor, batch: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """Features [sources, inputs] -> [targets, width]."""
    name = layer.name
    sources, targets = (batch[edges] for edges in layer.lists)
    if layer.dropout:
        x = dropout(net, f"{name}.dropout", x, layer.dropout)
    z = projection(net, layer, x)
    weights = attention(net, config, layer, z, sources, targets)
    if config.attention_dropout:
        weights = dropout(net, f"{name}.attention_dropout", weights, config.attention_dropout)
    y = gathering(net, layer, z, weights, sources, targets)
    if config.skips:
        y = add(net, f"{name}.add", y, linear(net, f"{name}.skip", x[: layer.targets]))
    return y if layer.last else elu(net, f"{name}.elu", y)


def forward(net: Net, config: GatConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Batch inputs to the logits of the seeds, [batch, classes]."""
    x = batch["features"]
    for layer in gat_layers(config):
        x = attention_layer(net, config, layer, x, batch)
    return {"logits": x}


def loss(net: Net, config: GatConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean softmax cross-entropy of the nodes with a label, and the squares of parameters."""
    labels = batch["labels"]
    labelled = tf.reduce_sum(labels, 1)
    losses = tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=outputs["logits"])
    total = tf.reduce_sum(losses * labelled) / tf.reduce_sum(labelled)
    if config.decay:
        names = [f"{layer.name}.{part}" for layer in gat_layers(config) for part in _decayed(config)]
        total += config.decay / 2 * tf.add_n([tf.reduce_sum(tf.square(net.variables[name])) for name in names])
    return total


def _decayed(config: GatConfig) -> tuple[str, ...]:
    """The parameters of a layer that are no biases."""
    skip = ("skip.weight",) if config.skips else ()
    return ("linear.weight", "attention.source", "attention.target", *skip)
