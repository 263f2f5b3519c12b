"""residual in TensorFlow: the ResNet-34 of :mod:`fathom_onnx.workloads.suite2016.residual`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.layers import (
    add,
    batch_norm,
    conv2d,
    global_average_pool,
    linear,
    max_pool,
    relu,
    softmax_cross_entropy,
)
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2016.residual import Block, ResidualConfig, blocks

__all__ = ["forward", "loss"]


def basic_block(net: Net, config: ResidualConfig, block: Block, x: tf.Tensor) -> tf.Tensor:
    """Two 3x3 convolutions and a shortcut: [N, C, H, W] -> [N, C', H/stride, W/stride]."""
    norm = (config.momentum, config.epsilon)
    b = block.name
    y = conv2d(net, f"{b}.conv1", x, block.stride, padding=1)
    y = relu(net, f"{b}.relu1", batch_norm(net, f"{b}.bn1", y, *norm))
    y = conv2d(net, f"{b}.conv2", y, padding=1)
    y = batch_norm(net, f"{b}.bn2", y, *norm)
    shortcut = x
    if block.projection:
        shortcut = conv2d(net, f"{b}.projection", x, block.stride)
        shortcut = batch_norm(net, f"{b}.projection_bn", shortcut, *norm)
    return relu(net, f"{b}.relu2", add(net, f"{b}.add", y, shortcut))


def forward(net: Net, config: ResidualConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The whole model: images [N, 3, H, W] -> logits [N, classes]."""
    x = conv2d(net, "conv1", net.image(batch["images"]), stride=2, padding=3)
    x = relu(net, "relu1", batch_norm(net, "bn1", x, config.momentum, config.epsilon))
    x = max_pool(net, "maxpool", x, kernel=3, stride=2, padding=1)
    for block in blocks(config):
        x = basic_block(net, config, block, x)
    return {"logits": linear(net, "fc", global_average_pool(net, "avgpool", x))}


def loss(
    net: Net, config: ResidualConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """Mean softmax cross-entropy with one-hot labels."""
    return softmax_cross_entropy(outputs["logits"], batch["labels"])
