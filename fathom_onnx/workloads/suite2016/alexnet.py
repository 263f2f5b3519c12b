"""alexnet: the network of Krizhevsky et al. 2012 as a single tower (Krizhevsky 2014, arXiv:1404.5997).

Five convolutions, 11x11/4, 5x5 and three of 3x3, each with a ReLU. The first two are followed by local response
normalisation and an overlapping 3x3/2 max pool, the last one by such a pool. Then three fully connected layers, with
dropout after the first two. Local response normalisation of a ReLU's output a, over the n channels around channel i, is
``b_i = a_i / (k + alpha * sum_j a_j^2)^beta`` (2012, section 3.3). The loss is the mean softmax cross-entropy over the
batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Workload
from fathom_onnx.workloads.stack import Convolution, Stack

from .image_classifier import add_fully_connected, image_classifier

__all__ = ["DEFINITION", "POOL", "AlexnetConfig", "PooledConvolution", "build", "convolutions", "features"]

_ALEXNET = "Krizhevsky et al. 2012"
_FATHOM = "Fathom alexnet (Adolf et al. 2016)"

POOL = (3, 2)
"""Kernel and stride of the overlapping pools (2012, section 3.4)."""


@dataclass(frozen=True)
class AlexnetConfig:
    """Hyper-parameters of alexnet."""

    batch: int = setting(64, _FATHOM)
    image: int = setting(224, f"{_ALEXNET}, section 3.5")
    classes: int = setting(1000, "ILSVRC 2012")
    channels: tuple[int, ...] = setting((64, 192, 384, 256, 256), f"{_FATHOM}: filters of the single tower")
    fc: int = setting(4096, f"{_ALEXNET}, section 3.5: units of the first two fully connected layers")
    dropout: float = setting(0.5, f"{_ALEXNET}, section 4.2")
    lrn_size: int = setting(5, f"{_ALEXNET}, section 3.3: n, channels of a window")
    lrn_k: float = setting(2.0, f"{_ALEXNET}, section 3.3")
    lrn_alpha: float = setting(1e-4, f"{_ALEXNET}, section 3.3: of the window's sum of squares")
    lrn_beta: float = setting(0.75, f"{_ALEXNET}, section 3.3")
    learning_rate: float = setting(1e-3, _FATHOM)


@dataclass(frozen=True)
class PooledConvolution(Convolution):
    """A convolution with its ReLU, and the names of the layers after it.

    Attributes:
        norm: Layer name of the local response normalisation, empty for none.
        pool: Layer name of the max pool, empty for none.
    """

    norm: str = ""
    pool: str = ""


_KERNELS = (
    # kernel, stride, padding, normalised, pooled
    (11, 4, 2, True, True),
    (5, 1, 2, True, True),
    (3, 1, 1, False, False),
    (3, 1, 1, False, False),
    (3, 1, 1, False, True),
)
"""The five convolutions (2012, section 3.5). A padding of 2 makes the first output 55 wide for an image of 224."""


def convolutions(config: AlexnetConfig) -> Iterator[PooledConvolution]:
    """The convolutions in order, ``conv1`` to ``conv5``.

    Raises:
        ValueError: The configuration does not have five numbers of filters.
    """
    if len(config.channels) != len(_KERNELS):
        raise ValueError(f"channels has {len(config.channels)} values, not {len(_KERNELS)}")
    channels_in = 3
    for number, (channels, row) in enumerate(zip(config.channels, _KERNELS, strict=True), 1):
        kernel, stride, padding, normalised, pooled = row
        yield PooledConvolution(
            f"conv{number}",
            f"relu{number}",
            channels_in,
            channels,
            kernel,
            stride,
            padding,
            norm=f"norm{number}" if normalised else "",
            pool=f"pool{number}" if pooled else "",
        )
        channels_in = channels


def features(config: AlexnetConfig) -> int:
    """Elements of an image's features, the input of ``fc6``.

    Raises:
        ValueError: The image is too small for the pools.
    """
    side, kernel, stride = config.image, *POOL
    for number, conv in enumerate(convolutions(config), 1):
        side = conv.output_side(side)
        if conv.pool:
            side = (side - kernel) // stride + 1
        if side < 1:
            raise ValueError(f"image side {config.image} leaves nothing after convolution {number}")
    return config.channels[-1] * side**2


def build(preset: str, config: AlexnetConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: The configuration is impossible: filters, image side, dropout rate or window of normalisation.
    """
    if config.lrn_size % 2 == 0:
        raise ValueError(f"lrn_size {config.lrn_size} is even, so that a window has no middle")
    stack = Stack()
    for conv in convolutions(config):
        stack.convolution(conv)
        if conv.norm:
            stack.plain(conv.norm, "local response norm")
        if conv.pool:
            stack.plain(conv.pool, "max pool")
    add_fully_connected(stack, config, features(config))
    return image_classifier("alexnet", preset, config, stack)


_PAPER = AlexnetConfig()

DEFINITION = Definition(
    name="alexnet",
    summary="AlexNet image classifier, single tower",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, batch=8, image=128, classes=100, fc=512),
        "tiny": replace(_PAPER, batch=4, image=67, classes=10, channels=(16, 24, 24, 16, 16), fc=32),
    },
    build=build,
    fidelity="The original Fathom code declares dropout and never applies it, and pools before it normalises; here "
    "dropout follows both hidden fully connected layers and normalisation comes before the pools, as in the paper. One "
    "tower takes the place of the paper's two halves on two devices, as in Fathom. The paper starts weights with a "
    "deviation of 0.01 and some biases at 1, which suits its widths; here weights start with the deviation of He et "
    "al. 2015 and biases at 0.",
    papers=(
        "Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012",
        "Krizhevsky, One weird trick for parallelizing convolutional neural networks, arXiv:1404.5997",
    ),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
