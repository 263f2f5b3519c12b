"""deepq in TensorFlow: the deep Q-network of :mod:`fathom_onnx.workloads.suite2016.deepq`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.tensorflow.layers import conv2d, flatten, huber, linear, relu
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2016.deepq import TARGET, DeepqConfig, convolutions

__all__ = ["forward", "loss"]


def q_network(net: Net, config: DeepqConfig, prefix: str, states: tf.Tensor) -> tf.Tensor:
    """States [N, history, H, W] -> Q values [N, actions], by the layers whose names begin with ``prefix``."""
    x = net.image(states)
    for c in convolutions(config):
        x = relu(net, f"{prefix}{c.relu}", conv2d(net, f"{prefix}{c.name}", x, c.stride))
    x = linear(net, f"{prefix}fc1", flatten(net, f"{prefix}flatten", x))
    return linear(net, f"{prefix}fc2", relu(net, f"{prefix}relu4", x))


def bootstrap(
    net: Net, config: DeepqConfig, q_values: tf.Tensor, rewards: tf.Tensor, terminals: tf.Tensor
) -> tf.Tensor:
    """The target y: reward and, where the episode goes on, the discounted best Q value of the next state."""
    with net.scope("bootstrap"):
        best = tf.reduce_max(q_values, 1)
        return tf.stop_gradient(rewards + config.discount * (1 - terminals) * best)


def forward(net: Net, config: DeepqConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Batch inputs to the Q values and, in training, the bootstrap target."""
    outputs = {"q_values": q_network(net, config, "", batch["states"])}
    if net.mode == "training":
        best = q_network(net, config, TARGET, batch["next_states"])
        outputs["targets"] = bootstrap(net, config, best, batch["rewards"], batch["terminals"])
    return outputs


def loss(net: Net, config: DeepqConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean Huber loss of the Q values of the actions taken."""
    taken = tf.reduce_sum(outputs["q_values"] * batch["actions"], 1)
    return huber(taken, outputs["targets"], config.clip)
