"""vgg in TensorFlow: the VGG-19 of :mod:`fathom_onnx.workloads.suite2016.vgg`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.layers import classifier, conv2d, flatten, max_pool, relu, softmax_cross_entropy
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2016.vgg import VggConfig, stages

__all__ = ["forward", "loss"]


def forward(net: Net, config: VggConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The whole model: images [N, 3, H, W] -> logits [N, classes]."""
    x = net.image(batch["images"])
    for pool, convolutions in stages(config):
        for c in convolutions:
            x = relu(net, c.relu, conv2d(net, c.name, x, c.stride, c.padding))
        x = max_pool(net, pool, x, kernel=2, stride=2)
    return {"logits": classifier(net, flatten(net, "flatten", x), config.dropout)}


def loss(net: Net, config: VggConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean softmax cross-entropy with one-hot labels."""
    return softmax_cross_entropy(outputs["logits"], batch["labels"])
