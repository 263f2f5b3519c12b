"""Models that are told by what they minimise: evidence, contrasts, equations, quantiles, rewards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from .making import Maker, dense

__all__ = ["OBJECTIVES"]

Parts = tuple[Any, ...]
"""Parameters, batch, function."""


def vae() -> Parts:
    """A variational autoencoder that draws from a key in its batch."""
    make = Maker(10)
    params = {
        "encoder": make.dense(12, 8),
        "mean": make.dense(8, 3),
        "var": make.dense(8, 3),
        "decoder": make.dense(3, 12),
    }

    def elbo(params: Any, batch: Any) -> Any:
        hidden = jnp.tanh(dense(params["encoder"], batch["x"]))
        mean, log_var = dense(params["mean"], hidden), dense(params["var"], hidden)
        z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(batch["key"], mean.shape)
        error = optax.sigmoid_binary_cross_entropy(dense(params["decoder"], z), batch["x"]).sum(-1)
        divergence = -0.5 * (1 + log_var - mean**2 - jnp.exp(log_var)).sum(-1)
        return (error + divergence).mean(), {"error": error.mean(), "divergence": divergence.mean()}

    return params, {"x": (make.values(5, 12) > 0).astype("float32"), "key": jax.random.PRNGKey(3)}, elbo


def contrastive() -> Parts:
    """Two towers by the cross entropy of their similarities."""
    make = Maker(11)
    params = {"image": make.dense(6, 4), "text": make.dense(5, 4), "scale": jnp.array(1.0)}

    def clip(params: Any, batch: Any) -> Array:
        towers = [dense(params[name], batch[name]) for name in ("image", "text")]
        left, right = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in towers)
        logits, own = jnp.exp(params["scale"]) * left @ right.T, jnp.arange(left.shape[0])
        return -sum(jax.nn.log_softmax(logits, axis)[own, own].mean() for axis in (0, 1)) / 2

    return params, {"image": make.values(7, 6), "text": make.values(7, 5)}, clip


def pinn() -> Parts:
    """A differential equation: the second derivative of a network, within the loss."""
    make = Maker(12)
    params = [make.dense(1, 16), make.dense(16, 16), make.dense(16, 1)]

    def u(params: Any, x: Array) -> Array:
        hidden = x[None]
        for layer in params[:-1]:
            hidden = jnp.tanh(dense(layer, hidden))
        return dense(params[-1], hidden)[0]

    def residual(params: Any, x: Array) -> Array:
        second = jax.vmap(jax.grad(jax.grad(u, 1), 1), (None, 0))(params, x)
        return jnp.square(second + jnp.pi**2 * jnp.sin(jnp.pi * x)).mean() + u(params, jnp.zeros(())) ** 2

    return params, np.linspace(0, 1, 9, dtype="float32"), residual


def gnn() -> Parts:
    """Means over neighbours by ``segment_sum``."""
    make = Maker(13)
    params = {name: {"own": make.weight(i, o), "near": make.weight(i, o)} for name, i, o in (("a", 5, 8), ("b", 8, 3))}

    def nodes(params: Any, graph: Any) -> Array:
        x = graph["nodes"]
        for name, layer in params.items():
            total = jax.ops.segment_sum(x[graph["source"]], graph["target"], num_segments=6)
            count = jax.ops.segment_sum(jnp.ones_like(graph["source"], x.dtype), graph["target"], num_segments=6)
            x = x @ layer["own"] + total / jnp.maximum(count, 1)[:, None] @ layer["near"]
            x = jax.nn.silu(x) if name == "a" else x
        return optax.softmax_cross_entropy_with_integer_labels(x, graph["label"]).mean()

    batch = {"source": make.whole(6, 12), "target": make.whole(6, 12), "label": make.whole(3, 6)}
    return params, {"nodes": make.values(6, 5), **batch}, nodes


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Line:
    """A line a quantile."""

    slope: Array
    offset: Array


def quantiles() -> Parts:
    """Quantile regression, parameters in a dataclass."""
    make = Maker(14)
    levels = jnp.array([0.1, 0.5, 0.9])

    def pinball(line: Line, batch: Any) -> Array:
        error = batch["y"][:, None] - (batch["x"] @ line.slope + line.offset)
        return jnp.maximum(levels * error, (levels - 1) * error).mean()

    return Line(make.weight(5, 3), jnp.zeros(3)), {"x": make.values(8, 5), "y": make.values(8)}, pinball


def ppo() -> Parts:
    """A clipped policy gradient with its value function."""
    make = Maker(15)
    params = {"policy": make.dense(4, 3), "value": make.dense(4, 1)}

    def clipped(params: Any, batch: Any) -> Array:
        logs = jax.nn.log_softmax(dense(params["policy"], batch["state"]))
        ratio = jnp.exp(jnp.take_along_axis(logs, batch["action"][:, None], 1)[:, 0] - batch["before"])
        value = dense(params["value"], batch["state"])[:, 0]
        gain = lax.stop_gradient(batch["reward"] - value)
        surprise = -(jnp.exp(logs) * logs).sum(-1).mean()
        policy = -jnp.minimum(ratio * gain, jnp.clip(ratio, 0.8, 1.2) * gain).mean()
        return policy + 0.5 * jnp.square(value - batch["reward"]).mean() - 0.01 * surprise

    batch = {"state": make.values(6, 4), "action": make.whole(3, 6), "before": -np.abs(make.values(6))}
    return params, {**batch, "reward": make.values(6)}, clipped


def ode() -> Parts:
    """Steps of Runge and Kutta in a ``fori_loop`` of compiled, checkpointed functions."""
    make = Maker(16)
    params = {"field": {"inner": make.dense(2, 12), "outer": make.dense(12, 2)}}

    @jax.jit
    def field(layers: Any, x: Array) -> Array:
        return dense(layers["outer"], jnp.tanh(dense(layers["inner"], x)))

    def shoot(params: Any, batch: Any) -> Array:
        def step(_: Any, x: Array) -> Array:
            middle = x + 0.05 * field(params["field"], x)
            return x + 0.1 * jax.checkpoint(field)(params["field"], middle)

        return jnp.square(lax.fori_loop(0, 4, step, batch["start"]) - batch["end"]).mean()

    return params, {"start": make.values(5, 2), "end": make.values(5, 2)}, shoot


OBJECTIVES: dict[str, Callable[[], Parts]] = {f.__name__: f for f in (vae, contrastive, pinn, gnn, quantiles, ppo, ode)}
"""Name to what makes the parts of a recipe."""
