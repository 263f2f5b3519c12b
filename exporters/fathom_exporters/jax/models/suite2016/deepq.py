"""deepq in JAX: the deep Q-network of :mod:`fathom_onnx.workloads.suite2016.deepq`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from fathom_exporters.jax import marks
from fathom_exporters.jax.models.contract import Draw, Tensors, layer
from fathom_exporters.jax.models.images import conv2d, flatten
from fathom_exporters.jax.models.layers import apply, linear
from fathom_onnx.workloads.suite2016.deepq import TARGET, DeepqConfig, convolutions

__all__ = ["forward", "huber", "loss"]


def q_network(config: DeepqConfig, variables: Tensors, prefix: str, states: Array) -> Array:
    """States [N, history, H, W] -> Q values [N, actions], by the layers whose names begin with ``prefix``."""
    x = states
    for c in convolutions(config):
        x = apply(f"{prefix}{c.relu}", marks.relu, conv2d(variables, f"{prefix}{c.name}", x, c.stride))
    x = linear(variables, f"{prefix}fc1", flatten(f"{prefix}flatten", x))
    return linear(variables, f"{prefix}fc2", apply(f"{prefix}relu4", marks.relu, x))


def bootstrap(discount: float, q_values: Array, rewards: Array, terminals: Array) -> Array:
    """The target y: reward and, where the episode goes on, the discounted best Q value of the next state."""
    with layer("bootstrap"):
        return lax.stop_gradient(rewards + discount * (1 - terminals) * q_values.max(1))


def forward(
    config: DeepqConfig, variables: Tensors, batch: Tensors, noise: Draw, train: bool
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Batch inputs to the Q values and, in training, the bootstrap target."""
    outputs = {"q_values": q_network(config, variables, "", batch["states"])}
    if train:
        best = q_network(config, variables, TARGET, batch["next_states"])
        outputs["targets"] = bootstrap(config.discount, best, batch["rewards"], batch["terminals"])
    return outputs, {}


def huber(values: Array, targets: Array, delta: float) -> Array:
    """Mean of the Huber loss: half the square of an error up to ``delta``, linear beyond (Huber 1964)."""
    error = values - targets
    size = jnp.abs(error)
    return jnp.where(size <= delta, 0.5 * jnp.square(error), delta * (size - 0.5 * delta)).mean()


def loss(config: DeepqConfig, outputs: Tensors, batch: Tensors) -> Array:
    """Mean Huber loss of the Q values of the actions taken."""
    taken = (outputs["q_values"] * batch["actions"]).sum(1)
    return huber(taken, outputs["targets"], config.clip)
