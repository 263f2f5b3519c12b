"""dlrm in PyTorch: the recommendation model of :mod:`fathom_onnx.workloads.suite2026.dlrm`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_onnx.workloads.suite2026.dlrm import DlrmConfig, categories, pairs

__all__ = ["RecommendationModel"]


def perceptron(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with a ReLU after each: [N, first size] -> [N, last size]."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class Interaction(nn.Module):
    """x and the dot products of all pairs of vectors: [N, D] and tables times [N, D] -> [N, D + pairs]."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__()
        self.places = list(places)

    def forward(self, x: Tensor, pooled: Sequence[Tensor]) -> Tensor:
        vectors = torch.stack([x, *pooled], 1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        kept = products.flatten(1).index_select(1, torch.tensor(self.places))
        return torch.cat([x, kept], 1)


class RecommendationModel(nn.Module):
    """The whole model: bottom perceptron and embedding bags, their interaction, top perceptron."""

    def __init__(self, config: DlrmConfig) -> None:
        super().__init__()
        self.bottom = perceptron((config.dense, *config.bottom))
        self.tables = nn.ModuleList(
            nn.EmbeddingBag(rows, config.embedding, mode="sum", sparse=True) for rows in config.rows
        )
        self.interaction = Interaction(pairs(config))
        self.top = perceptron((config.embedding + len(pairs(config)), *config.top))[:-1]  # a sigmoid comes last
        self.sigmoid = nn.Sigmoid()

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch inputs to the probability of a click, [N, 1], and its logit."""
        x = self.bottom(batch["dense"])
        pooled = [table(batch[categories(number)]) for number, table in enumerate(self.tables)]
        logit = self.top(self.interaction(x, pooled))
        return {"logit": logit, "probability": self.sigmoid(logit)}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Mean binary cross-entropy."""
        return F.binary_cross_entropy_with_logits(outputs["logit"], batch["clicks"])
