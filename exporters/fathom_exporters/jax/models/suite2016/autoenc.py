"""autoenc in JAX: the variational autoencoder of :mod:`fathom_onnx.workloads.suite2016.autoenc`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from fathom_exporters.jax import marks
from fathom_exporters.jax.models.contract import Draw, Tensors, layer
from fathom_exporters.jax.models.layers import apply, linear
from fathom_onnx.workloads.suite2016.autoenc import AutoencConfig

__all__ = ["forward", "loss"]


def encode(variables: Tensors, images: Array) -> tuple[Array, Array]:
    """q(z|x): images [batch, pixels] -> mean and log variance [batch, latent]."""
    h = apply("encoder.softplus", marks.softplus, linear(variables, "encoder.hidden", images))
    return linear(variables, "encoder.mean", h), linear(variables, "encoder.log_variance", h)


def sample(mean: Array, log_variance: Array, noise: Draw) -> Array:
    """Z = mean + sigma * noise (the paper's section 2.4)."""
    with layer("sample"):
        return mean + jnp.exp(0.5 * log_variance) * noise("noise")


def decode(variables: Tensors, z: Array) -> tuple[Array, Array]:
    """p(x|z): z [batch, latent] -> logits and Bernoulli means [batch, pixels]."""
    h = apply("decoder.softplus", marks.softplus, linear(variables, "decoder.hidden", z))
    logits = linear(variables, "decoder.output", h)
    return logits, apply("decoder.sigmoid", marks.sigmoid, logits)


def forward(
    config: AutoencConfig, variables: Tensors, batch: Tensors, noise: Draw, train: bool
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Encode, sample, decode."""
    mean, log_variance = encode(variables, batch["images"])
    logits, reconstruction = decode(variables, sample(mean, log_variance, noise))
    return {"reconstruction": reconstruction, "logits": logits, "mean": mean, "log_variance": log_variance}, {}


def loss(config: AutoencConfig, outputs: Tensors, batch: Tensors) -> Array:
    """Negative evidence lower bound, a mean over the batch (the paper's eq. 10)."""
    images, logits, mean, log_variance = batch["images"], outputs["logits"], outputs["mean"], outputs["log_variance"]
    reconstruction = (marks.softplus(logits) - logits * images).sum()
    divergence = -0.5 * (1 + log_variance - jnp.square(mean) - jnp.exp(log_variance)).sum()
    return (reconstruction + divergence) / images.shape[0]
