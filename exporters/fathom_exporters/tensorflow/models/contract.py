"""What a workload's model in TensorFlow is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net

__all__ = ["Model"]


class Model(Protocol):
    """A workload's model in TensorFlow."""

    def forward(self, net: Net, config: Any, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Tensors by name, the inference outputs among them."""

    def loss(
        self, net: Net, config: Any, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """The scalar loss from the tensors that ``forward`` returned."""
