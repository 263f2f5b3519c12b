"""What the JAX models are made with: drawn arrays, layers in plain JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

__all__ = ["Maker", "causal_attention", "convolve", "dense", "layer_norm"]


class Maker:
    """Draws parameters and batches from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def weight(self, *shape: int, scale: float = 0.3) -> Array:
        """Normal weights."""
        return jnp.asarray(self.rng.normal(size=shape) * scale, "float32")

    def dense(self, inputs: int, outputs: int) -> dict[str, Array]:
        """The parameters of :func:`dense`."""
        return {"kernel": self.weight(inputs, outputs), "bias": self.weight(outputs, scale=0.05)}

    def values(self, *shape: int) -> np.ndarray[Any, Any]:
        """Normal values of a batch."""
        return self.rng.normal(size=shape).astype("float32")

    def whole(self, below: int, *shape: int) -> np.ndarray[Any, Any]:
        """Whole numbers from 0."""
        return self.rng.integers(0, below, shape).astype("int32")


def dense(layer: dict[str, Array], x: Array) -> Array:
    """A linear layer."""
    return x @ layer["kernel"] + layer["bias"]


def layer_norm(scale: Array, x: Array) -> Array:
    """Normalisation over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * scale


def convolve(kernel: Array, x: Array, stride: int = 1) -> Array:
    """A convolution of images with channels last."""
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=layout)


def causal_attention(query: Array, key: Array, value: Array) -> Array:
    """Attention of heads [batch, time, heads, size] to what is not later."""
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(query.shape[-1])
    time = scores.shape[-1]
    masked = jnp.where(jnp.tril(jnp.ones((time, time), bool)), scores, -1e9)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(masked), value)
