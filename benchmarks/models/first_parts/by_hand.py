"""Models by hand, first zoo: segmentation, recommendation, graphs, recurrences, reinforcement, odd convolutions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import BATCH, VOCABULARY, Zoo

__all__ = ["classes", "classified", "fill"]


def classified(outputs: Tensor, batch: Any) -> Tensor:
    """Cross-entropy with the batch's labels; classes are the second axis."""
    return F.cross_entropy(outputs, batch["labels"])


def classes(name: str, *shape: int, count: int = 5) -> Callable[[], dict[str, Tensor]]:
    """What makes a batch of one normal input, each entry of a class."""
    return lambda: {name: torch.randn(*shape), "labels": torch.randint(0, count, shape[:1])}


class UNet(nn.Module):
    """A U-Net of one level with group and batch normalisation.

    Args:
        up: How it goes up: ``transposed`` for a transposed convolution, else the mode of an interpolation.
    """

    def __init__(self, up: str) -> None:
        super().__init__()
        self.one, self.two, self.three = self.block(3, 8), self.block(8, 16), self.block(16, 8)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.up: nn.Module
        if up == "transposed":
            self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        else:
            self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode=up), nn.Conv2d(16, 8, 1))
        self.head = nn.Conv2d(8, 2, 1)

    @staticmethod
    def block(before: int, after: int) -> nn.Module:
        """Two convolutions."""
        return nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1),
            nn.GroupNorm(4, after),
            nn.SiLU(),
            nn.Conv2d(after, after, 3, padding=1),
            nn.BatchNorm2d(after),
            nn.LeakyReLU(0.1),
        )

    def forward(self, image: Tensor) -> Tensor:
        high = self.one(image)
        return self.head(self.three(torch.cat([high, self.up(self.two(self.pool(high)))], 1)))


class Dlrm(nn.Module):
    """A recommendation model: bags of embeddings, products of all pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(50, 8, mode="sum") for _ in range(3))
        self.bottom = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(8 + 6, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        x = self.bottom(dense)
        rows = torch.stack([x, *(table(sparse[:, i]) for i, table in enumerate(self.tables))], 1)
        products = rows @ rows.transpose(1, 2)
        i, j = torch.tril_indices(4, 4, offset=-1)
        return self.top(torch.cat([x, products[:, i, j]], 1)).squeeze(1)


class GraphNetwork(nn.Module):
    """A layer of messages along edges, weighted by degrees (gcn), by attention (gat) or averaged (sage)."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.one, self.two, self.own = nn.Linear(6, 16), nn.Linear(16, 3), nn.Linear(6, 16)
        self.attention = nn.Parameter(torch.randn(2, 16))

    def gcn(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Each message is divided by the roots of both degrees."""
        degree = x.new_zeros(len(x)).index_add(0, target, x.new_ones(len(target))).clamp(min=1).rsqrt()
        return torch.zeros_like(x).index_add_(0, target, x[source] * (degree[source] * degree[target]).unsqueeze(1))

    def sage(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """The mean of messages."""
        count = x.new_zeros(len(x)).scatter_add(0, target, x.new_ones(len(target))).clamp(min=1)
        index = target[:, None].expand(-1, x.shape[1])
        return torch.zeros_like(x).scatter_reduce(0, index, x[source], "sum") / count[:, None]

    def gat(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Messages by a softmax over the edges that end at a node."""
        score = F.leaky_relu((x @ self.attention[0])[source] + (x @ self.attention[1])[target], 0.2)
        top = x.new_full((len(x),), -1e9).scatter_reduce(0, target, score, "amax")
        score = (score - top[target]).exp()
        total = x.new_zeros(len(x)).index_add(0, target, score)
        weight = score / total[target].clamp(min=1e-9)
        return torch.zeros_like(x).index_add(0, target, x[source] * weight[:, None])

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        messages = getattr(self, self.kind)(self.one(x), edges[0], edges[1])
        return self.two(F.elu(messages + self.own(x)))


class Recurrent(nn.Module):
    """Two recurrent layers over words; an LSTM goes both ways."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        both = cell == "LSTM"
        self.words = nn.Embedding(VOCABULARY, 16)
        self.rnn = getattr(nn, cell)(16, 16, num_layers=2, batch_first=True, bidirectional=both)
        self.head = nn.Linear(32 if both else 16, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.rnn(self.words(ids))[0])


class ActorCritic(nn.Module):
    """A policy and a value on one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.actor, self.critic = nn.Linear(32, 4), nn.Linear(32, 1)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(state)
        return self.actor(h), self.critic(h).squeeze(-1)


def _ppo(outputs: Any, batch: Any) -> Tensor:
    policy = torch.distributions.Categorical(logits=outputs[0])
    ratio = (policy.log_prob(batch["action"]) - batch["old"]).exp()
    gain = torch.min(ratio * batch["gain"], ratio.clamp(0.8, 1.2) * batch["gain"]).mean()
    return -gain + 0.5 * F.smooth_l1_loss(outputs[1], batch["value"]) - 0.01 * policy.entropy().mean()


class Dense(nn.Module):
    """Layers that see all before them; in-place activations, instance normalisation, two kinds of average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8 + 4 * i), nn.ReLU(inplace=True), nn.Conv2d(8 + 4 * i, 4, 3, padding=1))
            for i in range(3)
        )
        self.norm, self.head = nn.InstanceNorm2d(20, affine=True), nn.Linear(20 * 16, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        x = F.avg_pool2d(F.hardswish(self.norm(x)), 3, 2, 1)
        return self.head(F.adaptive_avg_pool2d(x, 4).flatten(1))


class Shuffle(nn.Module):
    """Convolutions in groups, by channel, dilated; channels shuffled between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 1, groups=2)
        self.deep = nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16)
        self.wide = nn.Conv2d(16, 16, 3, groups=4, padding=2, dilation=2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(16) for _ in range(3))
        self.head = nn.Linear(16, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu6(self.norms[0](self.inner(self.stem(image))))
        x = x.view(len(x), 2, 8, *x.shape[2:]).transpose(1, 2).reshape(x.shape)
        x = F.hardsigmoid(self.norms[1](self.deep(x))) * self.norms[1].weight.sum()
        return self.head(F.mish(self.norms[2](self.wide(x))).mean((2, 3)))


class ComplexRotation(nn.Module):
    """Rotary positions by complex numbers, as in Llama's first code."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        rates = 10000 ** -(torch.arange(8) / 8)
        angles = torch.outer(torch.arange(x.shape[1]), rates).to(x.dtype)
        turn = torch.polar(torch.ones_like(angles), angles)
        q, k = (
            torch.view_as_real(torch.view_as_complex(p(x).unflatten(-1, (8, 2))) * turn).flatten(-2)
            for p in (self.q, self.k)
        )
        return self.head(F.scaled_dot_product_attention(q, k, x, is_causal=True)).mean(1)


class Volumes(nn.Module):
    """Convolutions in three dimensions and in one, and one that goes back up."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv3d(1, 4, 3, stride=2, padding=1), nn.ConvTranspose3d(4, 1, 4, stride=2, padding=1)
        self.wave, self.act = nn.Conv1d(8, 8, 3, padding=1), nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.act(self.down(x))) + self.wave(x.flatten(2, 3).squeeze(1)[:, :8]).mean()


def _encoder(dropout: float) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=dropout, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(96, 3))


def fill(zoo: Zoo) -> None:
    """Add them."""
    for up in ("transposed", "nearest", "bilinear"):
        zoo.by_hand(f"unet-{up}", partial(UNet, up), _masks, classified)
    zoo.by_hand("dlrm", Dlrm, _clicks, lambda o, b: F.binary_cross_entropy_with_logits(o, b["click"]))
    for kind in ("gcn", "gat", "sage"):
        zoo.by_hand(kind, partial(GraphNetwork, kind), _nodes, classified)
    for cell in ("LSTM", "GRU", "RNN"):
        zoo.by_hand(cell.lower(), partial(Recurrent, cell), _words, lambda o, b: classified(o.transpose(1, 2), b))
    zoo.by_hand("ppo", ActorCritic, _transitions, _ppo)
    smooth = partial(F.cross_entropy, label_smoothing=0.1)
    zoo.by_hand("densenet", Dense, classes("image", BATCH, 3, 32, 32), lambda o, b: smooth(o, b["labels"]))
    zoo.by_hand("shufflenet", Shuffle, classes("image", BATCH, 3, 16, 16), classified)
    zoo.by_hand("complex-rotation", ComplexRotation, classes("x", BATCH, 6, 16, count=3), classified)
    zoo.with_dropout("torch-transformer", _encoder, classes("input", BATCH, 6, 16, count=3), classified)
    zoo.by_hand("volumes", Volumes, lambda: {"x": torch.randn(BATCH, 1, 8, 8, 8)}, lambda o, b: F.l1_loss(o, b["x"]))


def _masks() -> dict[str, Tensor]:
    return {"image": torch.randn(BATCH, 3, 16, 16), "labels": torch.randint(0, 2, (BATCH, 16, 16))}


def _clicks() -> dict[str, Tensor]:
    return {
        "dense": torch.randn(8, 5),
        "sparse": torch.randint(0, 50, (8, 3, 4)),
        "click": torch.randint(0, 2, (8,)).float(),
    }


def _nodes() -> dict[str, Tensor]:
    return {
        "x": torch.randn(10, 6),
        "edges": torch.randint(0, 10, (2, 30)),
        "labels": torch.randint(0, 3, (10,)),
    }


def _words() -> dict[str, Tensor]:
    return {"ids": torch.randint(0, VOCABULARY, (BATCH, 6)), "labels": torch.randint(0, VOCABULARY, (BATCH, 6))}


def _transitions() -> dict[str, Tensor]:
    return {
        "state": torch.randn(8, 6),
        "action": torch.randint(0, 4, (8,)),
        "old": -torch.rand(8) - 1,
        "gain": torch.randn(8),
        "value": torch.randn(8),
    }
