"""Ways of learning by hand, further zoo: recommendation, contrast, reinforcement, adapters, made weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..first_parts.by_hand import classes, classified
from ..registry import Zoo

__all__ = ["fill"]


class WideAndDeep(nn.Module):
    """A linear model over crossed columns beside a deep one over embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.tables = nn.Embedding(100, 1), nn.ModuleList(nn.Embedding(10, 4) for _ in range(3))
        self.deep = nn.Sequential(nn.Linear(12 + 2, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 1))

    def forward(self, columns: Tensor, numbers: Tensor) -> Tensor:
        crossed = columns[:, 0] * 10 + columns[:, 1]
        rows = [table(columns[:, i]) for i, table in enumerate(self.tables)]
        return (self.wide(crossed) + self.deep(torch.cat([*rows, numbers], 1))).squeeze(1)


class DeepFm(nn.Module):
    """A factorization machine and a deep network that share one table with offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.table = nn.Embedding(30, 1), nn.Embedding(30, 4, sparse=False)
        self.register_buffer("offsets", torch.tensor([0, 10, 20]))
        self.deep = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 1))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, columns: Tensor) -> Tensor:
        ids = columns + self.offsets
        rows = self.table(ids)
        pairs = 0.5 * (rows.sum(1).pow(2) - rows.pow(2).sum(1)).sum(1)
        return self.first(ids).sum((1, 2)) + pairs + self.deep(rows.flatten(1)).squeeze(1) + self.bias


class Towers(nn.Module):
    """Two towers, unit vectors, a learned temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 8), nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(24, 8))
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, query: Tensor, item: Tensor) -> Tensor:
        left, right = F.normalize(self.left(query), dim=-1), F.normalize(self.right(item), dim=-1)
        return self.scale.exp().clamp(max=100) * left @ right.t()


def _contrast(outputs: Tensor, batch: Any) -> Tensor:
    own = torch.arange(len(outputs))
    return (F.cross_entropy(outputs, own) + F.cross_entropy(outputs.t(), own)) / 2


class Siamese(nn.Module):
    """One network over three inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.body(anchor), self.body(positive), self.body(negative)


class BarlowTwins(nn.Module):
    """Two views whose cross-correlation is to be the unit matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))
        self.norm = nn.BatchNorm1d(8, affine=False)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        return self.norm(self.body(one)).t() @ self.norm(self.body(two)) / len(one)


def _uncorrelated(outputs: Tensor, batch: Any) -> Tensor:
    diagonal = torch.diagonal(outputs)
    return (diagonal - 1).pow(2).sum() + 0.005 * (outputs.pow(2).sum() - diagonal.pow(2).sum())


class Momentum(nn.Module):
    """BYOL: a target network that follows its online one by a moving average, inside forward."""

    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8))
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.guess = nn.Linear(8, 8)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
                slow.mul_(0.99).add_(fast, alpha=0.01)
            wanted = self.target(two)
        return 2 - 2 * F.cosine_similarity(self.guess(self.online(one)), wanted, dim=-1).mean()


class DeepQ(nn.Module):
    """Q-learning with a target network, doubled, with advantages apart from values."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.value, self.advantage = nn.Linear(4, 16), nn.Linear(16, 1), nn.Linear(16, 3)
        self.old = nn.ModuleList(copy.deepcopy(m) for m in (self.body, self.value, self.advantage))
        self.old.requires_grad_(False)

    @staticmethod
    def worth(layers: Any, state: Tensor) -> Tensor:
        """The worth of each action."""
        body, value, advantage = layers
        h = F.relu(body(state))
        gain = advantage(h)
        return value(h) + gain - gain.mean(1, keepdim=True)

    def forward(self, state: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        own = (self.body, self.value, self.advantage)
        with torch.no_grad():
            best = self.worth(own, following).argmax(1, keepdim=True)
            later = self.worth(self.old, following).gather(1, best).squeeze(1)
        return self.worth(own, state), later


def _temporal_difference(outputs: Any, batch: Any) -> Tensor:
    worth, later = outputs
    wanted = batch["reward"] + 0.99 * later * (1 - batch["done"])
    return F.smooth_l1_loss(worth.gather(1, batch["action"][:, None]).squeeze(1), wanted)


class SoftCritics(nn.Module):
    """SAC's two critics; the action that follows is drawn from the policy and squashed."""

    def __init__(self) -> None:
        super().__init__()
        self.critics = nn.ModuleList(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1)) for _ in range(2))
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.policy = nn.Linear(4, 4).requires_grad_(False)

    def forward(self, state: Tensor, action: Tensor, following: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            mean, width = self.policy(following).chunk(2, 1)
            drawn = torch.distributions.Normal(mean, width.clamp(-5, 2).exp()).rsample()
            chance = torch.distributions.Normal(mean, width.clamp(-5, 2).exp()).log_prob(drawn)
            chance = (chance - torch.log(1 - torch.tanh(drawn).pow(2) + 1e-6)).sum(1)
            then = torch.cat([following, torch.tanh(drawn)], 1)
            least = torch.minimum(*(t(then).squeeze(1) for t in self.targets))
            wanted = reward + 0.99 * (least - 0.2 * chance)
        now = torch.cat([state, action], 1)
        return torch.stack([c(now).squeeze(1) for c in self.critics]), wanted


class DelayedActor(nn.Module):
    """DDPG's actor: the critic's parameters are not trained in this step, the gradient passes through them."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1)).requires_grad_(False)

    def forward(self, state: Tensor) -> Tensor:
        return -self.critic(torch.cat([state, self.actor(state)], 1)).mean()


class Hypernetwork(nn.Module):
    """A network that makes the weights of another, one for each example."""

    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 4 * 6 + 6 + 6 * 5))

    def forward(self, task: Tensor, x: Tensor) -> Tensor:
        first, bias, second = self.make(task).split([24, 6, 30], 1)
        h = torch.tanh(torch.bmm(x[:, None], first.view(-1, 4, 6)) + bias[:, None])
        return torch.bmm(h, second.view(-1, 6, 5)).squeeze(1)


class LowRank(nn.Module):
    """LoRA: a linear layer that stays as it is and two thin matrices that learn."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.base = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 5)).requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(8, 2) / 3), nn.Parameter(torch.randn(2, 16) / 10)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        first, act, last = self.base
        return last(act(first(x) + (self.dropout(x) @ self.down @ self.up) * 2.0))


class Splines(nn.Module):
    """A Kolmogorov-Arnold layer: a sum of B-splines on every edge."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.head = nn.Linear(4, 6), nn.Linear(6, 5)
        self.weight = nn.Parameter(torch.randn(6, 4, 5) * 0.1)
        self.register_buffer("knots", torch.linspace(-2, 2, 9))

    def forward(self, x: Tensor) -> Tensor:
        knots, at = self.knots, x[..., None]
        basis = ((at >= knots[:-1]) & (at < knots[1:])).to(x.dtype)
        for k in range(1, 4):
            left = (at - knots[: -(k + 1)]) / (knots[k:-1] - knots[: -(k + 1)])
            right = (knots[k + 1 :] - at) / (knots[k + 1 :] - knots[1:-k])
            basis = left * basis[..., :-1] + right * basis[..., 1:]
        return self.head(self.base(F.silu(x)) + torch.einsum("bik,oik->bo", basis, self.weight))


class Experts(nn.Module):
    """A mixture of experts by a softmax of the two best, with a loss for balance."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(6, 4), nn.ModuleList(nn.Linear(6, 5) for _ in range(4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.gate(x)
        best, index = logits.topk(2, -1)
        weight = torch.zeros_like(logits).scatter(1, index, best.softmax(-1))
        found = torch.stack([expert(x) for expert in self.experts], 1)
        return (weight[..., None] * found).sum(1), logits.softmax(-1).mean(0) @ weight.mean(0) * 4


class Straight(torch.autograd.Function):
    """The sign, with a gradient of its own."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """The sign."""
        context.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """What came, where the input was small."""
        (x,) = context.saved_tensors
        return gradient * (x.abs() < 1).to(gradient.dtype)


class Binary(nn.Module):
    """Weights that are signs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        sign = Straight.apply
        return self.two(sign(F.linear(x, sign(self.one.weight), self.one.bias)))


class Distilled(nn.Module):
    """A student that follows a teacher in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.ReLU(), nn.Linear(32, 5))
        self.teacher.eval().requires_grad_(False)
        self.student = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.student(x), self.teacher(x)


def _distil(outputs: Any, batch: Any) -> Tensor:
    own, wanted = outputs
    soft = F.kl_div(F.log_softmax(own / 2, -1), F.softmax(wanted / 2, -1), reduction="batchmean") * 4
    return 0.5 * soft + 0.5 * F.cross_entropy(own, batch["labels"])


def fill(zoo: Zoo) -> None:
    """Add them."""
    clicked = lambda o, b: F.binary_cross_entropy_with_logits(o, b["click"])  # noqa: E731
    zoo.by_hand("wide-and-deep", WideAndDeep, lambda: {**_columns(), "numbers": torch.randn(8, 2)}, clicked)
    zoo.by_hand("deepfm", DeepFm, _columns, clicked)
    zoo.by_hand(
        "two-towers", Towers, lambda: {"query": torch.randn(6, 6), "item": torch.randint(0, 20, (6, 3))}, _contrast
    )
    triple = ("anchor", "positive", "negative")
    zoo.by_hand(
        "siamese", Siamese, lambda: {n: torch.randn(6, 6) for n in triple}, lambda o, b: F.triplet_margin_loss(*o)
    )
    zoo.by_hand("barlow-twins", BarlowTwins, _views, _uncorrelated)
    zoo.by_hand("byol", Momentum, _views, lambda o, b: o)
    zoo.by_hand("deep-q", DeepQ, _transitions, _temporal_difference)
    zoo.by_hand(
        "soft-critics",
        SoftCritics,
        lambda: {
            "state": torch.randn(8, 4),
            "action": torch.randn(8, 2),
            "following": torch.randn(8, 4),
            "reward": torch.randn(8),
        },
        lambda o, b: (o[0] - o[1]).pow(2).mean(),
    )
    zoo.by_hand("ddpg-actor", DelayedActor, lambda: {"state": torch.randn(8, 4)}, lambda o, b: o)
    zoo.by_hand("hypernetwork", Hypernetwork, lambda: {"task": torch.randn(4, 3), **classes("x", 4, 4)()}, classified)
    zoo.with_dropout("lora", LowRank, classes("x", 4, 8), classified)
    zoo.by_hand("kan", Splines, classes("x", 6, 4), classified)
    zoo.by_hand("experts", Experts, classes("x", 6, 6), lambda o, b: classified(o[0], b) + 0.01 * o[1])
    zoo.by_hand("binary-weights", Binary, classes("x", 6, 8), classified)
    zoo.by_hand("distillation", Distilled, classes("x", 6, 8), _distil)


def _columns() -> dict[str, Tensor]:
    return {"columns": torch.randint(0, 10, (8, 3)), "click": torch.randint(0, 2, (8,)).float()}


def _views() -> dict[str, Tensor]:
    return {"one": torch.randn(8, 6), "two": torch.randn(8, 6)}


def _transitions() -> dict[str, Tensor]:
    return {
        "state": torch.randn(8, 4),
        "following": torch.randn(8, 4),
        "action": torch.randint(0, 3, (8,)),
        "reward": torch.randn(8),
        "done": torch.randint(0, 2, (8,)).float(),
    }
