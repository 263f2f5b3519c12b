"""Normalisations over the features of a position."""

from __future__ import annotations

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net

__all__ = ["rms_norm"]


def rms_norm(net: Net, name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """RMSNorm: ``weight * x / sqrt(mean(x^2) + epsilon)`` over the last axis (Zhang and Sennrich 2019)."""
    with net.scope(name):
        scale = tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + epsilon)
        return x * scale * net.variables[f"{name}.weight"]
