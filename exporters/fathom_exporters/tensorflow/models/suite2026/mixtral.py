"""mixtral in TensorFlow: the decoder with experts of :mod:`fathom_onnx.workloads.suite2026.mixtral`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2026.mixtral import CHOICES, MixtralConfig

from .decoder import decode, linear, next_token_loss

__all__ = ["Choice", "choice", "forward", "loss"]


@dataclass(frozen=True)
class Choice:
    """The experts of each token.

    Attributes:
        probabilities: Of all experts, [N, E].
        chosen: Unit vectors of the choices, [N, 2, E].
        slots: Unit vectors of their slots, zero where dropped, [N, 2, C].
        weights: Their weights, [N, 2, 1].
    """

    probabilities: tf.Tensor
    chosen: tf.Tensor
    slots: tf.Tensor
    weights: tf.Tensor


def choice(net: Net, config: MixtralConfig, name: str, logits: tf.Tensor) -> Choice:
    """The experts of each token from router logits [N, E]."""
    dtype = logits.dtype
    with net.scope(name):
        probabilities = tf.nn.softmax(logits)
        best = tf.math.top_k(tf.stop_gradient(probabilities), CHOICES).indices
        chosen = tf.cast(tf.equal(best[:, :, tf.newaxis], tf.range(config.experts)), dtype)
        # who came before: all first choices, then the second ones, in the order of tokens
        in_turn = tf.reshape(tf.transpose(chosen, (1, 0, 2)), (-1, config.experts))
        before = tf.reduce_sum((tf.cumsum(in_turn) - in_turn) * in_turn, 1)
        taken = tf.transpose(tf.reshape(before, (CHOICES, -1)))[:, :, tf.newaxis]
        slots = tf.cast(tf.equal(taken, tf.range(config.slots, dtype=dtype)), dtype)
        weights = tf.reduce_sum(probabilities[:, tf.newaxis, :] * chosen, 2, keepdims=True)
        return Choice(probabilities, chosen, slots, weights / tf.reduce_sum(weights, 1, keepdims=True))


def expert_linear(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """A linear layer of each expert: [E, C, in] -> [E, C, out]."""
    with net.scope(name):
        return tf.matmul(x, net.variables[f"{name}.weight"], transpose_b=True)


def mixture(net: Net, config: MixtralConfig, block: str, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Normalised rows [N, D] -> the experts' results [N, D], and the block's balance."""
    of = choice(net, config, f"{block}.choice", linear(net, f"{block}.router", x))
    with net.scope(f"{block}.balance"):
        shares = tf.reduce_mean(of.chosen, (0, 1))
        balance = tf.reduce_sum(shares * tf.reduce_mean(of.probabilities, 0)) * config.experts
    with net.scope(f"{block}.dispatch"):
        placed = tf.reshape(tf.matmul(of.chosen, of.slots, transpose_a=True), (x.shape[0], -1))
        inputs = tf.reshape(tf.matmul(placed, x, transpose_a=True), (config.experts, config.slots, config.width))
    gate, up = expert_linear(net, f"{block}.gate", inputs), expert_linear(net, f"{block}.up", inputs)
    with net.scope(f"{block}.swiglu"):
        product = gate * tf.sigmoid(gate) * up
    made = expert_linear(net, f"{block}.down", product)
    with net.scope(f"{block}.combine"):
        placed = tf.matmul(of.chosen * of.weights, of.slots, transpose_a=True)
        return tf.matmul(tf.reshape(placed, (x.shape[0], -1)), tf.reshape(made, (-1, config.width))), balance


def forward(net: Net, config: MixtralConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The whole model: training or prefill."""
    balances: dict[str, tf.Tensor] = {}

    def feed(net: Net, block: str, x: tf.Tensor) -> tf.Tensor:
        made, balances[f"{block}.balance"] = mixture(net, config, block, x)
        return made

    return {**decode(net, config, batch["tokens"], feed), **balances}


def loss(
    net: Net, config: MixtralConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """Mean softmax cross-entropy of the tokens after each, and the mean balance of the blocks."""
    balance = tf.add_n([outputs[f"block{number}.balance"] for number in range(1, config.layers + 1)]) / config.layers
    return next_token_loss(outputs, batch) + config.balance * balance
