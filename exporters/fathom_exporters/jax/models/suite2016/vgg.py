"""vgg in JAX: the VGG-19 of :mod:`fathom_onnx.workloads.suite2016.vgg`."""

from __future__ import annotations

from jax import Array

from fathom_exporters.jax import marks
from fathom_exporters.jax.models.contract import Draw, Tensors
from fathom_exporters.jax.models.images import classifier, conv2d, max_pool, mean_cross_entropy
from fathom_exporters.jax.models.layers import apply
from fathom_onnx.workloads.suite2016.vgg import VggConfig, stages

__all__ = ["forward", "loss"]


def forward(
    config: VggConfig, variables: Tensors, batch: Tensors, noise: Draw, train: bool
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The whole model: images [N, 3, H, W] -> logits [N, classes]."""
    x = batch["images"]
    for pool, convolutions in stages(config):
        for c in convolutions:
            x = apply(c.relu, marks.relu, conv2d(variables, c.name, x, c.stride, c.padding))
        x = max_pool(pool, x, 2, 2)
    return {"logits": classifier(variables, x, config.dropout, noise, train)}, {}


def loss(config: VggConfig, outputs: Tensors, batch: Tensors) -> Array:
    """Mean softmax cross-entropy with one-hot labels."""
    return mean_cross_entropy(outputs["logits"], batch["labels"])
