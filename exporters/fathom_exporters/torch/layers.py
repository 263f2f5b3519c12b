"""Layers that several models share and that ``torch.nn`` does not have in the form a workload needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Addition", "Dropout", "HeadsAttention", "ImageClassifier", "constant"]


def constant(values: np.ndarray[Any, Any], like: Tensor) -> Tensor:
    """Numbers of float64 as a constant of the type of ``like``; a graph of float32 says what they were."""
    return torch.tensor(values).to(like.dtype)


class Addition(nn.Module):
    """The residual addition, a layer of its own so that its time has a name."""

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """The sum."""
        return x + shortcut


class HeadsAttention(nn.Module):
    """``softmax(q k^T / sqrt(d)) v`` for each head, the features of the heads one after another.

    Query, key and value are [N, tokens, width]; each head has ``d = width / heads`` features (Vaswani et al. 2017,
    section 3.2).
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What each token reads, [N, tokens, width]."""
        batch, tokens, width = query.shape
        size = width // self.heads

        def of_heads(x: Tensor) -> Tensor:
            return x.reshape(batch, tokens, self.heads, size).transpose(1, 2)

        scores = of_heads(query) @ of_heads(key).transpose(-2, -1) * (1 / math.sqrt(size))
        read = torch.softmax(scores, -1) @ of_heads(value)
        return read.transpose(1, 2).reshape(batch, tokens, width)


class Dropout(nn.Module):
    """Dropout in training, by uniform noise of x's shape that is drawn unless it is an input.

    ``nn.Dropout`` hides its draw, which could then not be an input of the graph.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """``x / (1 - rate)`` where the noise is at least the rate, else 0."""
        if not self.training:
            return x
        if noise is None:
            noise = torch.rand_like(x)
        mask = (noise >= self.rate).to(x.dtype) * (1 / (1 - self.rate))
        return x * mask


class ImageClassifier(nn.Module):
    """A trunk of layers one after another, then AlexNet's and VGG's three fully connected layers with dropout.

    Args:
        trunk: The layers up to ``fc6``, with their names, in order.
        features: Elements of the trunk's output for one image.
        width: Units of ``fc6`` and ``fc7``.
        classes: Units of ``fc8``.
        dropout: The rate after ``fc6`` and ``fc7``.
    """

    def __init__(
        self, trunk: Iterable[tuple[str, nn.Module]], features: int, width: int, classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.trunk: list[str] = []
        for name, module in trunk:
            self.add_module(name, module)
            self.trunk.append(name)
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(features, width)
        self.relu6 = nn.ReLU()
        self.dropout6 = Dropout(dropout)
        self.fc7 = nn.Linear(width, width)
        self.relu7 = nn.ReLU()
        self.dropout7 = Dropout(dropout)
        self.fc8 = nn.Linear(width, classes)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Images [N, 3, H, W] to logits [N, classes]."""
        x = batch["images"]
        for name in self.trunk:
            x = self.get_submodule(name)(x)
        x = self.dropout6(self.relu6(self.fc6(self.flatten(x))), batch.get("dropout6.noise"))
        x = self.dropout7(self.relu7(self.fc7(x)), batch.get("dropout7.noise"))
        return {"logits": self.fc8(x)}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Mean softmax cross-entropy with one-hot labels."""
        return F.cross_entropy(outputs["logits"], batch["labels"])
