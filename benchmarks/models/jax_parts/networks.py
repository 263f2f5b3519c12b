"""Networks: perceptrons, convolutions, recurrences, attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from .making import Maker, causal_attention, convolve, dense, layer_norm

__all__ = ["NETWORKS"]

Parts = tuple[Any, ...]
"""Parameters, batch, function and, if it has one, state."""


def mlp() -> Parts:
    """A perceptron in nested dicts, as Flax has it, with its accuracy beside the loss."""
    make = Maker(0)
    params = {"params": {"Dense_0": make.dense(8, 16), "Dense_1": make.dense(16, 4)}}

    def classify(params: Any, batch: Any) -> Any:
        hidden = jax.nn.relu(dense(params["params"]["Dense_0"], batch["image"]))
        logits = dense(params["params"]["Dense_1"], hidden)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()
        return loss, {"accuracy": (logits.argmax(-1) == batch["label"]).mean()}

    return params, {"image": make.values(6, 8), "label": make.whole(4, 6)}, classify


def cnn() -> Parts:
    """Convolution, batch normalisation with running statistics, max pooling."""
    make = Maker(1)
    params = {
        "conv": make.weight(3, 3, 3, 8),
        "norm": {"scale": jnp.ones(8), "bias": jnp.zeros(8)},
        "head": make.dense(8, 4),
    }
    state = {"mean": jnp.zeros(8), "var": jnp.ones(8)}

    def classify(params: Any, state: Any, batch: Any) -> Any:
        with jax.named_scope("conv"):
            x = convolve(params["conv"], batch["image"])
        with jax.named_scope("norm"):
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            x = (x - mean) * lax.rsqrt(var + 1e-5) * params["norm"]["scale"] + params["norm"]["bias"]
            new = {"mean": 0.9 * state["mean"] + 0.1 * mean, "var": 0.9 * state["var"] + 0.1 * var}
        with jax.named_scope("pool"):
            x = lax.reduce_window(jax.nn.relu(x), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        logits = dense(params["head"], x.mean((1, 2)))
        with jax.named_scope("loss"):
            return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean(), new

    return params, {"image": make.values(4, 8, 8, 3), "label": make.whole(4, 4)}, classify, state


def resnet() -> Parts:
    """Two residual blocks, the second with a stride and a projection."""
    make = Maker(2)
    params = {
        "stem": make.weight(3, 3, 3, 8),
        "block1": [make.weight(3, 3, 8, 8), make.weight(3, 3, 8, 8)],
        "block2": [make.weight(3, 3, 8, 16), make.weight(3, 3, 16, 16), make.weight(1, 1, 8, 16)],
        "head": make.dense(16, 5),
    }

    def classify(params: Any, batch: Any) -> Array:
        x = jax.nn.relu(convolve(params["stem"], batch["image"]))
        first, second = params["block1"]
        x = x + convolve(second, jax.nn.relu(convolve(first, x)))
        first, second, projection = params["block2"]
        x = convolve(projection, x, 2) + convolve(second, jax.nn.relu(convolve(first, x, 2)))
        logits = dense(params["head"], jax.nn.relu(x).mean((1, 2)))
        return optax.softmax_cross_entropy(logits, batch["label"]).mean()

    label = jax.nn.one_hot(make.whole(5, 2), 5)
    return params, {"image": make.values(2, 8, 8, 3), "label": label}, classify


def lstm() -> Parts:
    """A recurrence by ``lax.scan``."""
    make = Maker(3)
    params = {
        "lstm": {"x": make.weight(5, 32), "h": make.weight(8, 32), "bias": jnp.zeros(32)},
        "out": make.dense(8, 3),
    }

    def predict(params: Any, batch: Any) -> Array:
        cell = params["lstm"]

        def step(carry: Any, x: Array) -> Any:
            hidden, memory = carry
            i, f, g, o = jnp.split(x @ cell["x"] + hidden @ cell["h"] + cell["bias"], 4, -1)
            memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(memory)
            return (hidden, memory), hidden

        with jax.named_scope("lstm"):
            start = jnp.zeros((batch["x"].shape[1], 8))
            _, hidden = lax.scan(step, (start, start), batch["x"])
        return jnp.square(dense(params["out"], hidden) - batch["y"]).mean()

    return params, {"x": make.values(6, 4, 5), "y": make.values(6, 4, 3)}, predict


class Block(NamedTuple):
    """The parameters of a block of attention and perceptron."""

    query: Array
    key: Array
    value: Array
    out: Array
    up: Array
    down: Array
    norms: Array


def _block(make: Maker, size: int) -> Block:
    heads = [make.weight(size, 2, size // 2) for _ in range(3)]
    return Block(
        *heads, make.weight(2, size // 2, size), make.weight(size, 32), make.weight(32, size), jnp.ones((2, size))
    )


def _decode(blocks: Any, x: Array) -> Array:
    for number, block in enumerate(blocks):
        with jax.named_scope(f"block{number}"):
            with jax.named_scope("attention"):
                normed = layer_norm(block.norms[0], x)
                heads = (jnp.einsum("btd,dhk->bthk", normed, w) for w in (block.query, block.key, block.value))
                x = x + jnp.einsum("bthk,hkd->btd", causal_attention(*heads), block.out)
            with jax.named_scope("mlp"):
                x = x + jax.nn.gelu(layer_norm(block.norms[1], x) @ block.up) @ block.down
    return x


def transformer() -> Parts:
    """A causal transformer by einsum, blocks in named tuples."""
    make = Maker(4)
    params = {"embed": make.dense(6, 16), "blocks": [_block(make, 16)], "head": make.dense(16, 3)}

    def forecast(params: Any, batch: Any) -> Array:
        x = _decode(params["blocks"], dense(params["embed"], batch["x"]))
        return optax.huber_loss(dense(params["head"], x), batch["y"]).mean()

    return params, {"x": make.values(2, 7, 6), "y": make.values(2, 7, 3)}, forecast


def gpt() -> Parts:
    """Two blocks whose table of words is the output layer too."""
    make = Maker(5)
    params = {"embed": make.weight(20, 16), "position": make.weight(8, 16), "blocks": [_block(make, 16) for _ in "ab"]}

    def language(params: Any, tokens: Array) -> Array:
        x = params["embed"][tokens[:, :-1]] + params["position"][: tokens.shape[1] - 1]
        logits = _decode(params["blocks"], x) @ params["embed"].T
        with jax.named_scope("loss"):
            return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

    return params, make.whole(20, 3, 9), language


def dropout() -> Parts:
    """Layers in a list of pairs, with dropout from a key that is split."""
    make = Maker(6)
    params = [(make.weight(6, 16), jnp.zeros(16)), (make.weight(16, 2), jnp.zeros(2))]

    def regress(params: Any, batch: Any) -> Array:
        x, y, key = batch
        for number, (w, b) in enumerate(params):
            key, own = jax.random.split(key)
            x = jnp.where(jax.random.bernoulli(own, 0.8, x.shape), x / 0.8, 0.0) @ w + b
            x = jax.nn.gelu(x) if number == 0 else x
        return jnp.abs(x - y).mean()

    return params, (make.values(4, 6), make.values(4, 2), jax.random.PRNGKey(0)), regress


def experts() -> Parts:
    """A mixture of four experts, of which ``top_k`` takes two."""
    make = Maker(7)
    params = {"router": make.dense(6, 4), "experts": {"up": make.weight(4, 6, 8), "down": make.weight(4, 8, 6)}}

    def mixture(params: Any, batch: Any) -> Array:
        gates, chosen = lax.top_k(jax.nn.softmax(dense(params["router"], batch["x"])), 2)
        gates = gates / gates.sum(-1, keepdims=True)
        with jax.named_scope("experts"):
            share = (jax.nn.one_hot(chosen, 4) * gates[..., None]).sum(1)
            hidden = jax.nn.relu(jnp.einsum("nd,edk->nek", batch["x"], params["experts"]["up"]))
            y = jnp.einsum("ne,nek,ekd->nd", share, hidden, params["experts"]["down"])
        return jnp.square(y - batch["y"]).mean()

    return params, {"x": make.values(7, 6), "y": make.values(7, 6)}, mixture


NETWORKS: dict[str, Callable[[], Parts]] = {
    f.__name__: f for f in (mlp, cnn, resnet, lstm, transformer, gpt, dropout, experts)
}
"""Name to what makes the parts of a recipe."""
