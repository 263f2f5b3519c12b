"""alexnet in PyTorch: the single tower of :mod:`fathom_onnx.workloads.suite2016.alexnet`."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from fathom_exporters.torch.layers import ImageClassifier
from fathom_onnx.workloads.suite2016.alexnet import POOL, AlexnetConfig, convolutions, features

__all__ = ["Alexnet"]


def trunk(config: AlexnetConfig) -> Iterator[tuple[str, nn.Module]]:
    """The convolutional layers with their names: convolution, ReLU and, where the paper has them, LRN and pool."""
    size = config.lrn_size
    for c in convolutions(config):
        yield c.name, nn.Conv2d(c.channels_in, c.channels, c.kernel, c.stride, c.padding)
        yield c.relu, nn.ReLU()
        if c.norm:
            # PyTorch takes alpha for the mean of a window's squares, the paper for their sum
            yield c.norm, nn.LocalResponseNorm(size, config.lrn_alpha * size, config.lrn_beta, config.lrn_k)
        if c.pool:
            yield c.pool, nn.MaxPool2d(*POOL)


class Alexnet(ImageClassifier):
    """The whole model: images [N, 3, H, W] -> logits [N, classes]."""

    def __init__(self, config: AlexnetConfig) -> None:
        super().__init__(trunk(config), features(config), config.fc, config.classes, config.dropout)
