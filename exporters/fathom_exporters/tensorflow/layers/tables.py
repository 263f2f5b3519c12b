"""Layers that read rows of a table by index."""

from __future__ import annotations

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net

__all__ = ["embedding_bag"]


def embedding_bag(net: Net, name: str, indices: tf.Tensor) -> tf.Tensor:
    """The sum of the rows that each bag of indices names: [N, lookups] -> [N, columns]."""
    with net.scope(name):
        return tf.reduce_sum(tf.nn.embedding_lookup(net.variables[f"{name}.weight"], indices), 1)
