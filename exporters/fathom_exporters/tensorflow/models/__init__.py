"""The models in TensorFlow, one file a workload, and those that other packages add by entry point.

A model is a module (or any object) with two functions. ``forward(net, config, batch)`` takes the batch inputs by name
and returns tensors by name, the inference outputs among them; it names every layer as the workload does.
``loss(net, config, outputs, batch)`` computes the scalar loss from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow as tf

from fathom_exporters.framework import Framework
from fathom_exporters.tensorflow.net import Net

from . import alexnet, autoenc, deepq, memnet, residual, seq2seq, speech, vgg

__all__ = ["TENSORFLOW", "Model"]


class Model(Protocol):
    """A workload's model in TensorFlow."""

    def forward(self, net: Net, config: Any, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Tensors by name, the inference outputs among them."""

    def loss(
        self, net: Net, config: Any, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """The scalar loss from the tensors that ``forward`` returned."""


TENSORFLOW: Framework[Model] = Framework(
    "tensorflow",
    "TensorFlow",
    str(tf.__version__),
    {
        "seq2seq": seq2seq,
        "memnet": memnet,
        "speech": speech,
        "autoenc": autoenc,
        "residual": residual,
        "vgg": vgg,
        "alexnet": alexnet,
        "deepq": deepq,
    },
)
"""TensorFlow and its models: a workload's name to the module with its functions."""
