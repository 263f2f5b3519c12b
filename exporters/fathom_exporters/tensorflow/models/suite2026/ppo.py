"""ppo in TensorFlow: proximal policy optimisation of :mod:`fathom_onnx.workloads.suite2026.ppo`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.layers import linear, tanh
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2026.ppo import PpoConfig

__all__ = ["advantages", "forward", "loss"]

_LOG_2PI = math.log(2 * math.pi)


def hidden(net: Net, config: PpoConfig, network: str, x: tf.Tensor) -> tf.Tensor:
    """The hidden layers of a network: observations [N, 3] -> [N, units]."""
    for number in range(1, len(config.hidden) + 1):
        x = tanh(net, f"{network}.tanh{number}", linear(net, f"{network}.hidden{number}", x))
    return x


def critic(net: Net, config: PpoConfig, observations: tf.Tensor) -> tf.Tensor:
    """The value of a state: observations [N, 3] -> [N, 1]."""
    return linear(net, "critic.value", hidden(net, config, "critic", observations))


def actor(
    net: Net, config: PpoConfig, observations: tf.Tensor, actions: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Observations [N, 3] -> the actions [N, actions], drawn unless given, and their log probabilities [N]."""
    mean = linear(net, "actor.mean", hidden(net, config, "actor", observations))
    log_deviation = net.variables["actor.policy.log_deviation"]
    with net.scope("actor.policy"):
        if actions is None:
            actions = mean + tf.exp(log_deviation) * net.draw("noise")
        deviations = (actions - mean) / tf.exp(log_deviation)
        return actions, tf.reduce_sum(-0.5 * tf.square(deviations) - log_deviation - 0.5 * _LOG_2PI, 1)


def advantages(
    net: Net, config: PpoConfig, rewards: tf.Tensor, ends: tf.Tensor, values: tf.Tensor, last: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Generalised advantage estimation (the paper's eq. 11), by doubling.

    Rewards, ends and values [actors, T], values after them [actors, 1] -> advantages and returns [actors, T].
    """
    with net.scope("advantages"):
        onward = config.discount * (1 - ends)
        estimates = rewards + onward * tf.concat([values[:, 1:], last], 1) - values
        decay = config.gae * onward
        horizon, reach = rewards.shape[1], 1
        while reach < horizon:  # estimates: sums over the next ``reach`` steps; decay: the factor behind them
            ahead = [[0, 0], [0, reach]]
            estimates = estimates + decay * tf.pad(estimates[:, reach:], ahead)
            decay = decay * tf.pad(decay[:, reach:], ahead)
            reach *= 2
        return estimates, estimates + values


def minibatch(net: Net, places: tf.Tensor, *segments: tf.Tensor) -> list[tf.Tensor]:
    """Tensors [actors, T, ...] -> their values at the places, [batch, ...]."""
    with net.scope("minibatch"):
        return [tf.gather(tf.reshape(segment, (-1, *segment.shape[2:])), places) for segment in segments]


def forward(net: Net, config: PpoConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """In inference the acting step; in training what the loss needs of a minibatch."""
    if net.mode == "inference":
        actions, log_probabilities = actor(net, config, batch["observations"])
        values = critic(net, config, batch["observations"])
        with net.scope("critic.value"):
            return {"actions": actions, "log_probabilities": log_probabilities, "values": tf.squeeze(values, 1)}
    last = tf.stop_gradient(critic(net, config, batch["observations"]))
    estimates, returns = advantages(net, config, batch["rewards"], batch["ends"], batch["past_values"], last)
    segments = (batch["past_observations"], batch["past_actions"], batch["past_log_probabilities"])
    observations, actions, old, estimates, returns = minibatch(net, batch["places"], *segments, estimates, returns)
    _, new = actor(net, config, observations, actions)
    values = critic(net, config, observations)
    return {"new": new, "old": old, "advantages": estimates, "values": values, "returns": returns}


def loss(net: Net, config: PpoConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The paper's eq. 9, to be made small: clipped surrogate, error of the values, entropy."""
    c = config
    centred = outputs["advantages"] - tf.reduce_mean(outputs["advantages"])
    estimates = centred / (tf.sqrt(tf.reduce_mean(tf.square(centred))) + c.advantage_epsilon)
    ratio = tf.exp(outputs["new"] - outputs["old"])
    clipped = tf.clip_by_value(ratio, 1 - c.clip, 1 + c.clip)
    surrogate = tf.reduce_mean(tf.minimum(ratio * estimates, clipped * estimates))
    value_error = tf.reduce_mean(tf.square(tf.squeeze(outputs["values"], 1) - outputs["returns"]))
    entropy = tf.reduce_sum(net.variables["actor.policy.log_deviation"] + 0.5 * (1 + _LOG_2PI))
    return c.value_coefficient * value_error - surrogate - c.entropy_coefficient * entropy
