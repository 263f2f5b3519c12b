"""gat in PyTorch: the graph attention network of :mod:`fathom_onnx.workloads.suite2026.gat`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_exporters.torch.layers import Addition, Dropout
from fathom_onnx.workloads.suite2026.gat import GatConfig, GatLayer, gat_layers

__all__ = ["GraphAttentionNetwork", "segment_softmax", "segment_sum"]


def segment_sum(values: Tensor, segments: Tensor, count: int) -> Tensor:
    """Rows [N, ...] summed by the segment of each: [count, ...]."""
    return values.new_zeros(count, *values.shape[1:]).index_add(0, segments, values)


def segment_softmax(logits: Tensor, segments: Tensor, count: int) -> Tensor:
    """Softmax of the rows of each segment, column by column: [N, heads] -> [N, heads]."""
    wide = segments.unsqueeze(1).expand(logits.shape)
    lowest = logits.new_full((count, logits.shape[1]), -torch.inf)
    largest = lowest.scatter_reduce(0, wide, logits.detach(), "amax")
    powers = torch.exp(logits - largest.index_select(0, segments))
    return powers / segment_sum(powers, segments, count).index_select(0, segments)


class Attention(nn.Module):
    """Attention coefficients of edges: z [sources, heads, outputs] -> [edges, heads]."""

    def __init__(self, layer: GatLayer, slope: float) -> None:
        super().__init__()
        self.count, self.slope = layer.targets, slope
        self.source = nn.Parameter(torch.zeros(layer.heads, layer.outputs))
        self.target = nn.Parameter(torch.zeros(layer.heads, layer.outputs))

    def forward(self, z: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
        of_sources = (z * self.source).sum(-1)
        of_targets = F.pad((z[: self.count] * self.target).sum(-1), (0, 0, 0, 1))  # the node past the targets
        logits = of_sources.index_select(0, sources) + of_targets.index_select(0, targets)
        return segment_softmax(F.leaky_relu(logits, self.slope), targets, self.count + 1)


class Gathering(nn.Module):
    """The sum of weighted sources over the edges of each target, and a bias: -> [targets, width]."""

    def __init__(self, layer: GatLayer) -> None:
        super().__init__()
        self.count, self.last = layer.targets, layer.last
        self.bias = nn.Parameter(torch.zeros(layer.width))

    def forward(self, z: Tensor, weights: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
        messages = z.index_select(0, sources) * weights.unsqueeze(-1)
        gathered = segment_sum(messages, targets, self.count + 1)[: self.count]
        return (gathered.mean(1) if self.last else gathered.flatten(1)) + self.bias


class AttentionLayer(nn.Module):
    """Features [sources, inputs] -> [targets, width]."""

    def __init__(self, config: GatConfig, layer: GatLayer) -> None:
        super().__init__()
        self.layer = layer
        if layer.dropout:
            self.dropout = Dropout(layer.dropout)
        self.linear = nn.Linear(layer.inputs, layer.heads * layer.outputs, bias=False)
        self.attention = Attention(layer, config.slope)
        if config.attention_dropout:
            self.attention_dropout = Dropout(config.attention_dropout)
        self.gathering = Gathering(layer)
        if config.skips:
            self.skip = nn.Linear(layer.inputs, layer.width)
            self.add = Addition()
        if not layer.last:
            self.elu = nn.ELU()

    def forward(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        layer = self.layer
        sources, targets = (batch[name] for name in layer.lists)
        if hasattr(self, "dropout"):
            x = self.dropout(x, batch.get(f"{layer.name}.dropout.noise"))
        z = self.linear(x).unflatten(1, (layer.heads, layer.outputs))
        weights = self.attention(z, sources, targets)
        if hasattr(self, "attention_dropout"):
            weights = self.attention_dropout(weights, batch.get(f"{layer.name}.attention_dropout.noise"))
        y: Tensor = self.gathering(z, weights, sources, targets)
        if hasattr(self, "skip"):
            y = self.add(y, self.skip(x[: layer.targets]))
        return self.elu(y) if hasattr(self, "elu") else y


class GraphAttentionNetwork(nn.Module):
    """The whole model: layers over ever fewer nodes, or over the whole graph."""

    def __init__(self, config: GatConfig) -> None:
        super().__init__()
        self.decay = config.decay
        self.layers = nn.ModuleList(AttentionLayer(config, layer) for layer in gat_layers(config))

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch inputs to the logits of the seeds, [batch, classes]."""
        x = batch["features"]
        for layer in self.layers:
            x = layer(x, batch)
        return {"logits": x}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Mean softmax cross-entropy of the nodes with a label, and the squares of parameters."""
        labels = batch["labels"]
        labelled = labels.sum(1)
        losses = F.cross_entropy(outputs["logits"], labels, reduction="none")
        loss = (losses * labelled).sum() / labelled.sum()
        if self.decay:
            kept = [p for name, p in self.named_parameters() if not name.endswith("bias")]
            loss = loss + self.decay / 2 * torch.stack([(p * p).sum() for p in kept]).sum()
        return loss
