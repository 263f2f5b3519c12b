"""alexnet in JAX: the single tower of :mod:`fathom_onnx.workloads.suite2016.alexnet`."""

from __future__ import annotations

from jax import Array

from fathom_exporters.jax import marks
from fathom_exporters.jax.models.contract import Draw, Tensors
from fathom_exporters.jax.models.images import classifier, conv2d, local_response_norm, max_pool, mean_cross_entropy
from fathom_exporters.jax.models.layers import apply
from fathom_onnx.workloads.suite2016.alexnet import POOL, AlexnetConfig, convolutions

__all__ = ["forward", "loss"]


def forward(
    config: AlexnetConfig, variables: Tensors, batch: Tensors, noise: Draw, train: bool
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The whole model: images [N, 3, H, W] -> logits [N, classes]."""
    x = batch["images"]
    for c in convolutions(config):
        x = apply(c.relu, marks.relu, conv2d(variables, c.name, x, c.stride, c.padding))
        if c.norm:
            x = local_response_norm(c.norm, x, config.lrn_size, config.lrn_k, config.lrn_alpha, config.lrn_beta)
        if c.pool:
            x = max_pool(c.pool, x, *POOL)
    return {"logits": classifier(variables, x, config.dropout, noise, train)}, {}


def loss(config: AlexnetConfig, outputs: Tensors, batch: Tensors) -> Array:
    """Mean softmax cross-entropy with one-hot labels."""
    return mean_cross_entropy(outputs["logits"], batch["labels"])
