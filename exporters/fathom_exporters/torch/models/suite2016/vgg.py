"""vgg in PyTorch: the VGG-19 of :mod:`fathom_onnx.workloads.suite2016.vgg`."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from fathom_exporters.torch.layers import ImageClassifier
from fathom_onnx.workloads.suite2016.vgg import VggConfig, features, stages

__all__ = ["Vgg"]


def trunk(config: VggConfig) -> Iterator[tuple[str, nn.Module]]:
    """The convolutions, their ReLUs and the pools, with their names."""
    for pool, convolutions in stages(config):
        for c in convolutions:
            yield c.name, nn.Conv2d(c.channels_in, c.channels, c.kernel, c.stride, c.padding)
            yield c.relu, nn.ReLU()
        yield pool, nn.MaxPool2d(2, 2)


class Vgg(ImageClassifier):
    """The whole model: images [N, 3, H, W] -> logits [N, classes]."""

    def __init__(self, config: VggConfig) -> None:
        super().__init__(trunk(config), features(config), config.fc, config.classes, config.dropout)
