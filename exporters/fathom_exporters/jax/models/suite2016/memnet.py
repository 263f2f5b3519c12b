"""memnet in JAX: the end-to-end memory network of :mod:`fathom_onnx.workloads.suite2016.memnet`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from fathom_exporters.jax import marks
from fathom_exporters.jax.models.contract import Draw, Tensors, layer
from fathom_exporters.jax.models.tables import rows
from fathom_onnx.workloads.suite2016.memnet import MemnetConfig

__all__ = ["forward", "loss", "position_encoding"]


def position_encoding(words: int, like: Array) -> Array:
    """The paper's l_kj for word j and component k, [words, embedding], as wide and of the type of ``like``."""
    size = like.shape[1]
    j = jnp.arange(1, words + 1, dtype=like.dtype)[:, None] / words
    k = jnp.arange(1, size + 1, dtype=like.dtype) / size
    return (1 - j) - k * (1 - 2 * j)


def sentences(variables: Tensors, name: str, ids: Array) -> Array:
    """Word ids [..., words] -> sentence vectors [..., embedding]: word vectors weighted by position and summed."""
    with layer(name):
        table = variables[f"{name}.weight"]
        return (rows(table, ids) * position_encoding(ids.shape[-1], table)).sum(-2)


def story_memory(variables: Tensors, name: str, ids: Array) -> Array:
    """Stories [batch, memory, words] -> memory vectors [batch, memory, embedding], each with its temporal encoding."""
    vectors = sentences(variables, name, ids)
    with layer(name):
        return vectors + variables[f"{name}.time"]


def product(variables: Tensors, name: str, x: Array) -> Array:
    """``x W^T``: the model's linear layers have no bias."""
    with layer(name):
        return x @ variables[f"{name}.weight"].T


def hop(variables: Tensors, name: str, u: Array, memory_in: Array, memory_out: Array) -> Array:
    """One hop: ``p = softmax(m u)``, ``o = p c``, ``u' = H u + o``; u [batch, embedding]."""
    with layer(f"{name}.attention"):
        p = marks.softmax((memory_in @ u[:, :, None]).squeeze(2), 1)
    with layer(f"{name}.read"):
        o = (p[:, None] @ memory_out).squeeze(1)
    state = product(variables, "state", u)
    with layer(f"{name}.update"):
        return state + o


def forward(
    config: MemnetConfig, variables: Tensors, batch: Tensors, noise: Draw, train: bool
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Stories and queries to the logits of the answer word, [batch, vocabulary]."""
    u = sentences(variables, "query", batch["queries"])
    memory_in = story_memory(variables, "memory_in", batch["stories"])
    memory_out = story_memory(variables, "memory_out", batch["stories"])
    for number in range(1, config.hops + 1):
        u = hop(variables, f"hop{number}", u, memory_in, memory_out)
    return {"logits": product(variables, "answer", u)}, {}


def loss(config: MemnetConfig, outputs: Tensors, batch: Tensors) -> Array:
    """Softmax cross-entropy, summed over the batch."""
    return marks.cross_entropy(outputs["logits"], batch["answers"]).sum()
