"""residual in PyTorch: the ResNet-34 of :mod:`fathom_onnx.workloads.suite2016.residual`."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from fathom_exporters.torch.layers import Addition
from fathom_onnx.workloads.suite2016.residual import Block, ResidualConfig, blocks

__all__ = ["ResNet"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: [N, C, H, W] -> [N, C', H/stride, W/stride]."""

    def __init__(self, block: Block, config: ResidualConfig) -> None:
        super().__init__()
        c_in, c = block.channels_in, block.channels
        epsilon, momentum = config.epsilon, 1 - config.momentum  # PyTorch's momentum is the new value's share
        self.conv1 = nn.Conv2d(c_in, c, 3, block.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c, epsilon, momentum)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c, epsilon, momentum)
        self.project = block.projection
        if block.projection:
            self.projection = nn.Conv2d(c_in, c, 1, block.stride, bias=False)
            self.projection_bn = nn.BatchNorm2d(c, epsilon, momentum)
        self.add = Addition()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = self.projection_bn(self.projection(x)) if self.project else x
        result: Tensor = self.relu2(self.add(y, shortcut))
        return result


class GlobalAveragePool(nn.Module):
    """[N, C, H, W] -> [N, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class ResNet(nn.Module):
    """The whole model: images [N, 3, H, W] -> logits [N, classes]."""

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, config.width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.width, eps=config.epsilon, momentum=1 - config.momentum)
        self.relu1 = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        rows = list(blocks(config))
        for stage in range(1, len(config.blocks) + 1):
            in_stage = [b for b in rows if b.name.startswith(f"layer{stage}.")]
            self.add_module(f"layer{stage}", nn.Sequential(*(BasicBlock(b, config) for b in in_stage)))
        self.stages = len(config.blocks)
        self.avgpool = GlobalAveragePool()
        self.fc = nn.Linear(rows[-1].channels, config.classes)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch inputs to the logits."""
        x = self.maxpool(self.relu1(self.bn1(self.conv1(batch["images"]))))
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return {"logits": self.fc(self.avgpool(x))}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Mean softmax cross-entropy with one-hot labels."""
        return F.cross_entropy(outputs["logits"], batch["labels"])
