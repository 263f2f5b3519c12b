"""alexnet in TensorFlow: the single tower of :mod:`fathom_onnx.workloads.suite2016.alexnet`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.layers import (
    classifier,
    conv2d,
    flatten,
    local_response_norm,
    max_pool,
    relu,
    softmax_cross_entropy,
)
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2016.alexnet import POOL, AlexnetConfig, convolutions

__all__ = ["forward", "loss"]


def forward(net: Net, config: AlexnetConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The whole model: images [N, 3, H, W] -> logits [N, classes]."""
    x = net.image(batch["images"])
    for c in convolutions(config):
        x = relu(net, c.relu, conv2d(net, c.name, x, c.stride, c.padding))
        if c.norm:
            x = local_response_norm(net, c.norm, x, config.lrn_size, config.lrn_k, config.lrn_alpha, config.lrn_beta)
        if c.pool:
            x = max_pool(net, c.pool, x, *POOL)
    return {"logits": classifier(net, flatten(net, "flatten", x), config.dropout)}


def loss(
    net: Net, config: AlexnetConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """Mean softmax cross-entropy with one-hot labels."""
    return softmax_cross_entropy(outputs["logits"], batch["labels"])
