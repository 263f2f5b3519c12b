"""Normalisations over features and over groups of channels."""

from __future__ import annotations

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net

__all__ = ["group_norm", "layer_norm", "rms_norm"]


def layer_norm(net: Net, name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """``(x - mean) / sqrt(variance + epsilon) * weight + bias`` along the last axis (Ba et al. 2016)."""
    with net.scope(f"{name}/LayerNorm"):
        x = tf.identity(x)  # the layer's parts of the gradient are added up before those of other readers of x
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        scale, offset = net.variables[f"{name}.weight"], net.variables[f"{name}.bias"]
        return tf.nn.batch_normalization(x, mean, variance, offset, scale, epsilon)


def group_norm(net: Net, name: str, x: tf.Tensor, groups: int, epsilon: float) -> tf.Tensor:
    """Images normalised over the pixels and channels of each of ``groups`` groups of channels (Wu and He 2018)."""
    with net.scope(f"{name}/GroupNorm"):
        first = net.data_format == "NCHW"
        channels = x.shape[1 if first else -1]
        part = [groups, channels // groups]
        # the parts of a group are along axes of their own
        shape = [x.shape[0], *part, *x.shape[2:]] if first else [*x.shape[:-1], *part]
        apart = tf.reshape(x, shape)
        mean, variance = tf.nn.moments(apart, [2, 3, 4] if first else [1, 2, 4], keepdims=True)
        of_channels = [1, *part, 1, 1] if first else part
        scale, offset = (tf.reshape(net.variables[f"{name}.{kind}"], of_channels) for kind in ("weight", "bias"))
        return tf.reshape(tf.nn.batch_normalization(apart, mean, variance, offset, scale, epsilon), x.shape)


def rms_norm(net: Net, name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """RMSNorm: ``weight * x / sqrt(mean(x^2) + epsilon)`` over the last axis (Zhang and Sennrich 2019)."""
    with net.scope(name):
        scale = tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + epsilon)
        return x * scale * net.variables[f"{name}.weight"]
