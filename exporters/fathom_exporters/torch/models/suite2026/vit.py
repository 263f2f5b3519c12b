"""vit in PyTorch: the vision transformer of :mod:`fathom_onnx.workloads.suite2026.vit`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_exporters.torch.layers import Addition, Dropout, HeadsAttention
from fathom_onnx.workloads.suite2026.vit import VitConfig

__all__ = ["VisionTransformer"]


class Patches(nn.Conv2d):
    """Patches projected to tokens: images [N, 3, H, W] -> [N, patches, width], row by row."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__(3, config.width, config.patch, config.patch)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).flatten(2).transpose(1, 2)


class ClassToken(nn.Module):
    """A learned token in front: [N, patches, width] -> [N, 1 + patches, width]."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1, config.width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.weight.expand(len(x), -1, -1), x], 1)


class Positions(nn.Module):
    """A learned embedding of each position is added."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, config.tokens, config.width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


class EncoderBlock(nn.Module):
    """Attention, then a perceptron, each normalised before and added to its input: [N, tokens, width]."""

    def __init__(self, name: str, config: VitConfig) -> None:
        super().__init__()
        self.name, width = name, config.width
        self.norm1 = nn.LayerNorm(width, config.epsilon)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.attention = HeadsAttention(config.heads)
        self.output = nn.Linear(width, width)
        self.dropout1 = Dropout(config.dropout)
        self.add1 = Addition()
        self.norm2 = nn.LayerNorm(width, config.epsilon)
        self.mlp1 = nn.Linear(width, config.mlp)
        self.gelu = nn.GELU()
        self.dropout2 = Dropout(config.dropout)
        self.mlp2 = nn.Linear(config.mlp, width)
        self.dropout3 = Dropout(config.dropout)
        self.add2 = Addition()

    def forward(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        def noise(layer: str) -> Tensor | None:
            return batch.get(f"{self.name}.{layer}.noise")

        y = self.norm1(x)
        y = self.output(self.attention(self.query(y), self.key(y), self.value(y)))
        x = self.add1(self.dropout1(y, noise("dropout1")), x)
        y = self.dropout2(self.gelu(self.mlp1(self.norm2(x))), noise("dropout2"))
        result: Tensor = self.add2(self.dropout3(self.mlp2(y), noise("dropout3")), x)
        return result


class ClassNorm(nn.LayerNorm):
    """The normalised class token: [N, tokens, width] -> [N, width]."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input[:, 0])


class VisionTransformer(nn.Module):
    """The whole model: images [N, 3, H, W] -> logits [N, classes]."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.patches = Patches(config)
        self.class_token = ClassToken(config)
        self.positions = Positions(config)
        self.dropout = Dropout(config.dropout)
        self.encoder = nn.ModuleList(EncoderBlock(f"encoder.{n}", config) for n in range(config.layers))
        self.norm = ClassNorm(config.width, config.epsilon)
        self.head = nn.Linear(config.width, config.classes)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch inputs to the logits."""
        x = self.positions(self.class_token(self.patches(batch["images"])))
        x = self.dropout(x, batch.get("dropout.noise"))
        for block in self.encoder:
            x = block(x, batch)
        return {"logits": self.head(self.norm(x))}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Mean softmax cross-entropy with one-hot labels."""
        return F.cross_entropy(outputs["logits"], batch["labels"])
