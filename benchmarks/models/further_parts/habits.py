"""Habits of training scripts, further zoo: weights made of others, slow copies, hooks, packed rows, inner gradients."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap
from torch.nn import functional as F
from torch.nn.utils import parametrizations, rnn

from ..first_parts.by_hand import classes, classified
from ..registry import Zoo

__all__ = ["fill"]


def _weight_norm() -> nn.Module:
    """Weights of a length and a direction, one length for all rows in the last layer."""
    one = parametrizations.weight_norm(nn.Conv1d(3, 8, 3))
    return nn.Sequential(one, nn.ReLU(), nn.Flatten(), parametrizations.weight_norm(nn.Linear(48, 5), dim=None))


def _spectral_norm() -> nn.Module:
    """Weights divided by their largest singular value, whose vectors are carried from step to step."""
    last = parametrizations.spectral_norm(nn.Linear(48, 5), n_power_iterations=2)
    return nn.Sequential(parametrizations.spectral_norm(nn.Conv1d(3, 8, 3)), nn.ReLU(), nn.Flatten(), last)


def _orthogonal() -> nn.Module:
    """An orthogonal weight by Cayley's map, which solves a system."""
    return nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map="cayley"), nn.Linear(6, 5))


class NewtonSchulz(nn.Module):
    """The nearest orthogonal matrix by products alone."""

    def forward(self, weight: Tensor) -> Tensor:
        x = weight / weight.pow(2).sum().sqrt()
        for _ in range(6):
            x = 1.5 * x - 0.5 * x @ x.t() @ x
        return x


def _orthogonal_iterated() -> nn.Module:
    """An orthogonal weight by Newton's and Schulz' iteration."""
    first = nn.Linear(6, 6)
    nn.utils.parametrize.register_parametrization(first, "weight", NewtonSchulz())
    return nn.Sequential(first, nn.Linear(6, 5))


class Queue(nn.Module):
    """MoCo: keys of a slow network, which follows by ``.data``, in a queue with a place to write at."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(6, 8)
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(8, 32), dim=0))
        self.register_buffer("place", torch.zeros(1, dtype=torch.long))

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        query = F.normalize(self.query(one), dim=1)
        with torch.no_grad():
            for fast, slow in zip(self.query.parameters(), self.key.parameters(), strict=True):
                slow.data = slow.data * 0.9 + fast.data * 0.1
            key = F.normalize(self.key(two), dim=1)
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ self.queue.clone()], 1)
        at = (self.place + torch.arange(len(key))) % 32
        self.queue[:, at] = key.t()
        self.place[0] = (self.place[0] + len(key)) % 32
        return logits / 0.07


class Hooked(nn.Module):
    """Hooks on modules, on a tensor's and on a parameter's gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 5)
        self.seen: dict[str, Tensor] = {}
        self.one.register_forward_hook(self.keep)
        self.two.register_full_backward_hook(lambda _, given, __: (given[0] * 0.5,))
        kept = (torch.rand(16, 8) > 0.5).float()
        self.one.weight.register_hook(lambda gradient: gradient * kept)

    def keep(self, _: nn.Module, __: Any, output: Tensor) -> Tensor:
        """Keep what the layer gives, and give the double."""
        self.seen["one"] = output
        return output * 2

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x).relu()
        h.register_hook(lambda gradient: -0.3 * gradient)
        return self.two(h) + self.seen["one"].mean(1, keepdim=True)


class Packed(nn.Module):
    """A recurrence over packed rows of several lengths, with a projection and both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(4, 6, proj_size=3, bidirectional=True, batch_first=True), nn.Linear(6, 5)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, _ = rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        return self.head(y.sum(1) / lengths[:, None])


class Named(nn.Module):
    """Parameters in lists and dicts, under names with slashes and blanks, and a mask kept by length."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ParameterList([nn.Parameter(torch.randn(8, 8) / 3) for _ in range(2)])
        self.named = nn.ParameterDict(
            {"in/out": nn.Parameter(torch.randn(8, 5)), "a gain": nn.Parameter(torch.ones(()))}
        )
        self.mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.mask is None:
            self.mask = torch.linspace(0.5, 1.5, x.shape[1])
        for step in self.steps:
            x = torch.tanh(x * self.mask @ step)
        return x @ self.named["in/out"] * self.named["a gain"]


class Adapted(nn.Module):
    """MAML: each task's own parameters after a step down its gradient, through which the outer one passes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, shots: Tensor, wanted: Tensor, asked: Tensor) -> Tensor:
        own = dict(self.body.named_parameters())

        def inner(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return F.mse_loss(functional_call(self.body, parameters, (x,)), y)

        def adapted(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
            slope = grad(inner)(own, x, y)
            return functional_call(self.body, {n: own[n] - 0.1 * slope[n] for n in own}, (at,))

        return vmap(adapted)(shots, wanted, asked)


class Contracted(nn.Module):
    """A contractive autoencoder: the Jacobian of every row's code is held small."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.back = nn.Sequential(nn.Linear(6, 4), nn.Sigmoid()), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.back(self.code(x)), vmap(jacrev(self.code))(x).pow(2).sum((1, 2))


class Burgers(nn.Module):
    """A network that is to solve an equation of its own derivatives, the second one among them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1, bias=False)
        )

    def forward(self, points: Tensor) -> Tensor:
        points = points.requires_grad_(True)
        u = self.body(points)
        (first,) = torch.autograd.grad(u.sum(), points, create_graph=True)
        (second,) = torch.autograd.grad(first[:, 0].sum(), points, create_graph=True)
        return first[:, 1] + u[:, 0] * first[:, 0] - 0.01 / math.pi * second[:, 0]


class Dropped(nn.Module):
    """LayerDrop: a random number in Python decides whether a layer runs, or in a tensor how much of it counts."""

    def __init__(self, by_tensor: bool) -> None:
        super().__init__()
        self.layers, self.head, self.by_tensor = (
            nn.ModuleList(nn.Linear(8, 8) for _ in range(3)),
            nn.Linear(8, 5),
            by_tensor,
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            drawn = torch.rand(())
            if self.by_tensor:
                x = torch.where(drawn < 0.8, x + layer(x).relu(), x)
            elif drawn < 0.8:
                x = x + layer(x).relu()
        return self.head(x)


class Attended(nn.Module):
    """Attention with weights given out, keys and values of other widths, a learned and a zero position more."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(
            16, 4, kdim=8, vdim=12, add_bias_kv=True, add_zero_attn=True, batch_first=True
        )
        self.head = nn.Linear(16, 5)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        y, weights = self.layer(query, key, value, padding, need_weights=True, average_attn_weights=False)
        return self.head(y.mean(1)), weights


def _spread(outputs: Any, batch: Any) -> Tensor:
    logits, weights = outputs
    return classified(logits, batch) - 0.01 * (weights * (weights + 1e-9).log()).sum(-1).mean()


def _padded() -> dict[str, Tensor]:
    return {
        "query": torch.randn(3, 5, 16),
        "key": torch.randn(3, 6, 8),
        "value": torch.randn(3, 6, 12),
        "padding": torch.arange(6).ge(torch.tensor([6, 4, 5])[:, None]),
        "labels": torch.randint(0, 5, (3,)),
    }


class Rare(nn.Module):
    """An adaptive softmax: rare words in clusters, which the targets choose."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(20, 8), nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10])

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        return self.head(self.table(ids), targets).loss


def fill(zoo: Zoo) -> None:
    """Add them."""
    waves, rows = classes("input", 4, 3, 8), classes("input", 6, 6)
    zoo.by_hand("weight-norm", _weight_norm, waves, classified)
    zoo.by_hand("spectral-norm", _spectral_norm, waves, classified)
    zoo.by_hand("orthogonal", _orthogonal, rows, classified)
    zoo.by_hand("orthogonal-iterated", _orthogonal_iterated, rows, classified)
    zoo.by_hand("moco", Queue, _views, lambda o, b: F.cross_entropy(o, torch.zeros(len(o), dtype=torch.long)))
    zoo.by_hand("hooks", Hooked, classes("x", 6, 8), classified)
    lengths = torch.tensor([2, 3, 1])
    zoo.by_hand("packed", Packed, lambda: {**classes("x", 3, 3, 4)(), "lengths": lengths.clone()}, classified)
    zoo.by_hand("named", Named, classes("x", 6, 8), classified)
    zoo.by_hand("maml", Adapted, _tasks, lambda o, b: F.mse_loss(o, b["answers"]))
    views = lambda: {"x": torch.randn(6, 6)}  # noqa: E731
    zoo.by_hand("contractive", Contracted, views, lambda o, b: F.mse_loss(o[0], b["x"]) + 0.1 * o[1].mean())
    zoo.by_hand("burgers", Burgers, lambda: {"points": torch.rand(10, 2)}, lambda o, b: o.pow(2).mean())
    zoo.by_hand("layer-drop", lambda: Dropped(False), classes("x", 6, 8), classified)
    zoo.by_hand("layer-drop-tensor", lambda: Dropped(True), classes("x", 6, 8), classified)
    zoo.by_hand("attention-weights", Attended, _padded, _spread)
    words = lambda: {n: torch.randint(0, 20, (6,)) for n in ("ids", "targets")}  # noqa: E731
    zoo.by_hand("adaptive-softmax", Rare, words, lambda o, b: o)
    chosen = lambda: {"input": torch.randn(6, 6), "wanted": torch.randn(6, 5), "known": torch.rand(6, 5) > 0.5}  # noqa: E731
    zoo.by_hand("known-only", lambda: nn.Linear(6, 5), chosen, _known)


def _known(outputs: Tensor, batch: Any) -> Tensor:
    """The error where the answer is known."""
    return F.mse_loss(outputs[batch["known"]], batch["wanted"][batch["known"]])


def _views() -> dict[str, Tensor]:
    return {"one": torch.randn(8, 6), "two": torch.randn(8, 6)}


def _tasks() -> dict[str, Tensor]:
    wide, one = (4, 6, 3), (4, 6, 1)
    return {n: torch.randn(*s) for n, s in (("shots", wide), ("wanted", one), ("asked", wide), ("answers", one))}
