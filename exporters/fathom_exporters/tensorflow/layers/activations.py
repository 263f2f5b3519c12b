"""Activations."""

from __future__ import annotations

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net

__all__ = ["tanh"]


def tanh(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """The hyperbolic tangent."""
    with net.scope(name):
        return tf.nn.tanh(x)
