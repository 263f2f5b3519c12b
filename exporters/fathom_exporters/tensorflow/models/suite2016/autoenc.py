"""autoenc in TensorFlow: the variational autoencoder of :mod:`fathom_onnx.workloads.suite2016.autoenc`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.layers import linear, sigmoid, softplus
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2016.autoenc import AutoencConfig

__all__ = ["forward", "loss"]


def encode(net: Net, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """q(z|x): images [batch, pixels] -> mean and log variance [batch, latent]."""
    h = softplus(net, "encoder.softplus", linear(net, "encoder.hidden", images))
    return linear(net, "encoder.mean", h), linear(net, "encoder.log_variance", h)


def sample(net: Net, mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """Z = mean + sigma * noise (the paper's section 2.4)."""
    with net.scope("sample"):
        return mean + tf.exp(0.5 * log_variance) * net.draw("noise")


def decode(net: Net, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """p(x|z): z [batch, latent] -> logits and Bernoulli means [batch, pixels]."""
    h = softplus(net, "decoder.softplus", linear(net, "decoder.hidden", z))
    logits = linear(net, "decoder.output", h)
    return logits, sigmoid(net, "decoder.sigmoid", logits)


def forward(net: Net, config: AutoencConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Encode, sample, decode."""
    mean, log_variance = encode(net, batch["images"])
    logits, reconstruction = decode(net, sample(net, mean, log_variance))
    return {"reconstruction": reconstruction, "logits": logits, "mean": mean, "log_variance": log_variance}


def loss(
    net: Net, config: AutoencConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """Negative evidence lower bound, a mean over the batch (the paper's eq. 10)."""
    mean, log_variance = outputs["mean"], outputs["log_variance"]
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=batch["images"], logits=outputs["logits"])
    reconstruction = tf.reduce_sum(cross_entropy, 1)
    divergence = -0.5 * tf.reduce_sum(1 + log_variance - tf.square(mean) - tf.exp(log_variance), 1)
    return tf.reduce_mean(reconstruction + divergence)
