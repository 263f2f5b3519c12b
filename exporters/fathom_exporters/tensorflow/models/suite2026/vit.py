"""vit in TensorFlow: the vision transformer of :mod:`fathom_onnx.workloads.suite2026.vit`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.layers import (
    add,
    conv2d,
    dropout,
    gelu,
    heads_attention,
    layer_norm,
    linear,
    softmax_cross_entropy,
)
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2026.vit import VitConfig

__all__ = ["forward", "loss"]


def patches(net: Net, config: VitConfig, images: tf.Tensor) -> tf.Tensor:
    """Patches projected to tokens: images in the network's layout -> [N, patches, width], row by row."""
    image = conv2d(net, "patches", images, stride=config.patch)
    with net.scope("patches"):
        if net.data_format == "NHWC":
            return tf.reshape(image, (image.shape[0], -1, config.width))
        return tf.transpose(tf.reshape(image, (image.shape[0], config.width, -1)), (0, 2, 1))


def class_token(net: Net, x: tf.Tensor) -> tf.Tensor:
    """A learned token in front: [N, patches, width] -> [N, 1 + patches, width]."""
    with net.scope("class_token"):
        return tf.concat([tf.repeat(net.variables["class_token.weight"], x.shape[0], 0), x], 1)


def encoder_block(net: Net, config: VitConfig, name: str, x: tf.Tensor) -> tf.Tensor:
    """Attention, then a perceptron, each normalised before and added to its input: [N, tokens, width]."""
    y = layer_norm(net, f"{name}.norm1", x, config.epsilon)
    query, key, value = (linear(net, f"{name}.{part}", y) for part in ("query", "key", "value"))
    y = linear(net, f"{name}.output", heads_attention(net, f"{name}.attention", query, key, value, config.heads))
    x = add(net, f"{name}.add1", dropout(net, f"{name}.dropout1", y, config.dropout), x)
    y = layer_norm(net, f"{name}.norm2", x, config.epsilon)
    y = gelu(net, f"{name}.gelu", linear(net, f"{name}.mlp1", y))
    y = linear(net, f"{name}.mlp2", dropout(net, f"{name}.dropout2", y, config.dropout))
    return add(net, f"{name}.add2", dropout(net, f"{name}.dropout3", y, config.dropout), x)


def forward(net: Net, config: VitConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The whole model: images [N, 3, H, W] -> logits [N, classes]."""
    x = class_token(net, patches(net, config, net.image(batch["images"])))
    with net.scope("positions"):
        x = x + net.variables["positions.weight"]
    x = dropout(net, "dropout", x, config.dropout)
    for number in range(config.layers):
        x = encoder_block(net, config, f"encoder.{number}", x)
    with net.scope("norm"):
        x = x[:, 0]
    return {"logits": linear(net, "head", layer_norm(net, "norm", x, config.epsilon))}


def loss(net: Net, config: VitConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean softmax cross-entropy with one-hot labels."""
    return softmax_cross_entropy(outputs["logits"], batch["labels"])
