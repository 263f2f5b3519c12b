"""llama and llama-decode in TensorFlow: the decoder of :mod:`fathom_onnx.workloads.suite2026.llama`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2026.llama import LlamaConfig

from .decoder import decode, linear, next_token_loss

__all__ = ["forward", "loss"]


def swiglu(net: Net, block: str, x: tf.Tensor) -> tf.Tensor:
    """The feed-forward part: ``down(silu(gate(x)) * up(x))`` with ``silu(x) = x * sigmoid(x)``."""
    gate, up = linear(net, f"{block}.gate", x), linear(net, f"{block}.up", x)
    with net.scope(f"{block}.swiglu"):
        product = gate * tf.sigmoid(gate) * up
    return linear(net, f"{block}.down", product)


def forward(net: Net, config: LlamaConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The whole model: training, prefill, or decoding where the network has a position and caches."""
    return decode(net, config, batch["tokens"], swiglu)


def loss(net: Net, config: LlamaConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean softmax cross-entropy of the tokens after each."""
    return next_token_loss(outputs, batch)
