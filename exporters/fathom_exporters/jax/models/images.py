"""Layers of networks that read images, in the form of :mod:`.layers`: images [N, C, H, W], filters OIHW."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from fathom_exporters.jax import marks

from .contract import Draw, Tensors, layer
from .layers import apply, linear

__all__ = [
    "add",
    "batch_norm",
    "classifier",
    "conv2d",
    "dropout",
    "flatten",
    "global_average_pool",
    "local_response_norm",
    "max_pool",
    "mean_cross_entropy",
]


def conv2d(variables: Tensors, name: str, x: Array, stride: int = 1, padding: int = 0) -> Array:
    """Convolution, with a bias where the layer has one; ``padding`` zeros on every side."""
    with layer(name):
        filters = variables[f"{name}.weight"]
        pads = [(padding, padding)] * 2
        y = lax.conv_general_dilated(x, filters, (stride, stride), pads, dimension_numbers=("NCHW", "OIHW", "NCHW"))
        bias = variables.get(f"{name}.bias")
        return y if bias is None else y + bias[:, None, None]


def batch_norm(
    variables: Tensors, name: str, x: Array, momentum: float, epsilon: float, train: bool
) -> tuple[Array, dict[str, Array]]:
    """Batch normalisation over all but the channels (Ioffe and Szegedy 2015), and the new running statistics.

    In training a running statistic becomes ``momentum * old + (1 - momentum) * batch``, with the unbiased variance; in
    inference there are no new ones.
    """
    scale, bias = variables[f"{name}.weight"], variables[f"{name}.bias"]
    running_mean, running_var = variables[f"{name}.running_mean"], variables[f"{name}.running_var"]
    with layer(name):
        if not train:
            return marks.batch_norm(x, scale, bias, running_mean, running_var, epsilon), {}
        y, mean, var = marks.batch_norm_training(x, scale, bias, epsilon)
        count = x.size // x.shape[1]
        unbiased = var * (count / (count - 1))
        return y, {
            f"{name}.running_mean": momentum * running_mean + (1 - momentum) * mean,
            f"{name}.running_var": momentum * running_var + (1 - momentum) * unbiased,
        }


def max_pool(name: str, x: Array, kernel: int, stride: int, padding: int = 0) -> Array:
    """The largest of each window; padding is never the largest."""
    with layer(name):
        pads = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
        y: Array = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, kernel, kernel), (1, 1, stride, stride), pads)
        return y


def local_response_norm(name: str, x: Array, size: int, k: float, alpha: float, beta: float) -> Array:
    """``x / (k + alpha * sum(x^2))^beta``, the sum over the ``size`` channels around each (an odd number)."""
    with layer(name):
        return marks.local_response_norm(x, size, k, alpha, beta)


def global_average_pool(name: str, x: Array) -> Array:
    """Mean over height and width: [N, C, H, W] -> [N, C]."""
    with layer(name):
        return x.mean((2, 3))


def add(name: str, x: Array, shortcut: Array) -> Array:
    """The residual addition, a layer of its own so that its time has a name."""
    with layer(name):
        return x + shortcut


def flatten(name: str, x: Array) -> Array:
    """Images to rows: [N, C, H, W] -> [N, C * H * W]."""
    with layer(name):
        return x.reshape(x.shape[0], -1)


def dropout(name: str, x: Array, rate: float, noise: Draw, train: bool) -> Array:
    """In training ``x / (1 - rate)`` where the noise ``<name>.noise`` is at least the rate, else 0."""
    if not train:
        return x
    with layer(name):
        mask = (noise(f"{name}.noise") >= rate).astype(x.dtype) * (1 / (1 - rate))
        return x * mask


def classifier(variables: Tensors, x: Array, rate: float, noise: Draw, train: bool) -> Array:
    """AlexNet's and VGG's last layers: images [N, C, H, W] -> logits [N, classes].

    ``flatten``, then three fully connected layers, ``fc6`` to ``fc8``, with dropout after the first two.
    """
    x = flatten("flatten", x)
    for number in (6, 7):
        x = apply(f"relu{number}", marks.relu, linear(variables, f"fc{number}", x))
        x = dropout(f"dropout{number}", x, rate, noise, train)
    return linear(variables, "fc8", x)


def mean_cross_entropy(logits: Array, labels: Array) -> Array:
    """Mean over the batch of the softmax cross-entropy with float labels [N, classes]."""
    return marks.cross_entropy(logits, labels).mean()
