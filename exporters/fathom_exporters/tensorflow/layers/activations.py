"""Activations."""

from __future__ import annotations

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net

__all__ = ["elu", "gelu", "silu", "tanh"]


def elu(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """X where it is above 0, else ``exp(x) - 1``."""
    with net.scope(name):
        return tf.nn.elu(x)


def gelu(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """``x Phi(x)`` with the normal distribution Phi, exact (Hendrycks and Gimpel 2016)."""
    with net.scope(name):
        return tf.nn.gelu(x)


def silu(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """``x sigmoid(x)``: the product, since ``tf.nn.silu`` computes its gradient outside of the layer's scope."""
    with net.scope(f"{name}/Silu"):
        return x * tf.sigmoid(x)


def tanh(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """The hyperbolic tangent."""
    with net.scope(name):
        return tf.nn.tanh(x)
