"""residual in JAX: the ResNet-34 of :mod:`fathom_onnx.workloads.suite2016.residual`."""

from __future__ import annotations

from jax import Array

from fathom_exporters.jax import marks
from fathom_exporters.jax.models.contract import Draw, Tensors
from fathom_exporters.jax.models.images import (
    add,
    batch_norm,
    conv2d,
    global_average_pool,
    max_pool,
    mean_cross_entropy,
)
from fathom_exporters.jax.models.layers import apply, linear
from fathom_onnx.workloads.suite2016.residual import ResidualConfig, blocks

__all__ = ["forward", "loss"]


def forward(
    config: ResidualConfig, variables: Tensors, batch: Tensors, noise: Draw, train: bool
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The whole model: images [N, 3, H, W] -> logits [N, classes], and the new running statistics."""
    statistics: dict[str, Array] = {}

    def norm(name: str, x: Array) -> Array:
        y, new = batch_norm(variables, name, x, config.momentum, config.epsilon, train)
        statistics.update(new)
        return y

    def conv(name: str, x: Array, stride: int, padding: int) -> Array:
        return conv2d(variables, name, x, stride, padding)

    x = apply("relu1", marks.relu, norm("bn1", conv("conv1", batch["images"], 2, 3)))
    x = max_pool("maxpool", x, 3, 2, 1)
    for block in blocks(config):
        at, shortcut = block.name, x
        x = norm(f"{at}.bn1", conv(f"{at}.conv1", x, block.stride, 1))
        x = apply(f"{at}.relu1", marks.relu, x)
        x = norm(f"{at}.bn2", conv(f"{at}.conv2", x, 1, 1))
        if block.projection:
            shortcut = conv(f"{at}.projection", shortcut, block.stride, 0)
            shortcut = norm(f"{at}.projection_bn", shortcut)
        x = apply(f"{at}.relu2", marks.relu, add(f"{at}.add", x, shortcut))
    return {"logits": linear(variables, "fc", global_average_pool("avgpool", x))}, statistics


def loss(config: ResidualConfig, outputs: Tensors, batch: Tensors) -> Array:
    """Mean softmax cross-entropy with one-hot labels."""
    return mean_cross_entropy(outputs["logits"], batch["labels"])
