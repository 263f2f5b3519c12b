"""The models in TensorFlow, one file a workload, and those that other packages add by entry point.

A model is a module (or any object) with two functions. ``forward(net, config, batch)`` takes the batch inputs by name
and returns tensors by name, the inference outputs among them; every layer it makes is named as the workload names it.
``loss(net, config, outputs, batch)`` makes the scalar loss from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net
from fathom_onnx.errors import UnknownNameError

from . import alexnet, autoenc, deepq, memnet, residual, seq2seq, speech, vgg

__all__ = ["ENTRY_POINT_GROUP", "MODELS", "Model", "model", "names"]

ENTRY_POINT_GROUP = "fathom_onnx.models.tensorflow"
"""Another package adds a model by an entry point of this group: the workload's name, and the module or object."""


class Model(Protocol):
    """A workload's model in TensorFlow."""

    def forward(self, net: Net, config: Any, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Tensors by name, the inference outputs among them."""

    def loss(
        self, net: Net, config: Any, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """The scalar loss from what ``forward`` returned."""


MODELS: dict[str, Model] = {
    "seq2seq": seq2seq,
    "memnet": memnet,
    "speech": speech,
    "autoenc": autoenc,
    "residual": residual,
    "vgg": vgg,
    "alexnet": alexnet,
    "deepq": deepq,
}
"""Workload name to its model here."""


def _added() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def names() -> tuple[str, ...]:
    """Workloads that have a TensorFlow model."""
    return tuple(dict.fromkeys([*MODELS, *sorted(_added())]))


def model(name: str) -> Model:
    """The model of a workload.

    Raises:
        UnknownNameError: There is none in TensorFlow.
    """
    if name in MODELS:
        return MODELS[name]
    added = _added()
    if name not in added:
        raise UnknownNameError("TensorFlow model", name, names())
    loaded: Model = added[name].load()
    return loaded
