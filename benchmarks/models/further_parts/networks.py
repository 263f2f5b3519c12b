"""Networks over images and points by hand, further zoo."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..first_parts.by_hand import classes, classified
from ..registry import BATCH, Zoo

__all__ = ["fill"]

_image = partial(classes, "image")


def _unit(before: int, after: int, size: int = 3, act: type[nn.Module] = nn.ReLU, **more: Any) -> nn.Sequential:
    """A convolution that keeps the size, its norm, its activation."""
    padding = more.pop("padding", size // 2)
    return nn.Sequential(
        nn.Conv2d(before, after, size, padding=padding, bias=False, **more), nn.BatchNorm2d(after), act()
    )


class Squeeze(nn.Module):
    """A residual block whose channels are weighed by a small network over their means."""

    def __init__(self, width: int, act: type[nn.Module] = nn.Sigmoid) -> None:
        super().__init__()
        self.body = nn.Sequential(_unit(width, width), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 4, 1), nn.ReLU(), nn.Conv2d(4, width, 1), act()
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return F.relu(x + h * self.weigh(h))


class Inception(nn.Module):
    """Four branches side by side, one with a max pool, one with a filter in two parts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _unit(3, 8)
        self.one, self.three = _unit(8, 4, 1), nn.Sequential(_unit(8, 4, 1), _unit(4, 6))
        self.parts = nn.Sequential(nn.Conv2d(8, 4, (1, 5), padding=(0, 2)), nn.Conv2d(4, 4, (5, 1), padding=(2, 0)))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), _unit(8, 4, 1))
        self.head = nn.Linear(18, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        return self.head(torch.cat([self.one(x), self.three(x), self.parts(x), self.pool(x)], 1).amax((2, 3)))


class MobileV3(nn.Module):
    """Inverted residuals with hard activations and squeezes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _unit(3, 8, act=nn.Hardswish, stride=2)
        self.widen, self.deep = _unit(8, 24, 1, nn.Hardswish), _unit(24, 24, 5, nn.Hardswish, groups=24)
        self.squeeze = Squeeze(24, nn.Hardsigmoid)
        self.narrow, self.head = nn.Conv2d(24, 8, 1), nn.Linear(8, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        return self.head((x + self.narrow(self.squeeze(self.deep(self.widen(x))))).mean((2, 3)))


class DenseNet(nn.Module):
    """Dense blocks under gradient checkpointing, with a transition that pools.

    Args:
        reentrant: Which of the two forms of checkpointing.
    """

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList(self.layer(8 + 4 * i) for i in range(3))
        self.shrink, self.head = nn.Sequential(nn.Conv2d(20, 10, 1), nn.AvgPool2d(2)), nn.Linear(10, 5)

    @staticmethod
    def layer(width: int) -> nn.Module:
        """Norm, activation, convolution; group norm, since a second forward would count batches twice."""
        return nn.Sequential(nn.GroupNorm(4, width), nn.ReLU(), nn.Conv2d(width, 4, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        for block in self.blocks:
            x = torch.cat([x, checkpoint(block, x, use_reentrant=self.reentrant)], 1)
        return self.head(self.shrink(x).mean((2, 3)))


class Pyramid(nn.Module):
    """Three levels that are fused both ways with weights of their own, and heads for classes and boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList([_unit(3, 8, stride=2), _unit(8, 8, stride=2), _unit(8, 8, stride=2)])
        self.mixes = nn.ModuleList(_unit(8, 8, act=nn.SiLU, groups=8) for _ in range(3))
        self.weights = nn.Parameter(torch.ones(3, 2))
        self.kinds, self.boxes = nn.Conv2d(8, 2 * 3, 3, padding=1), nn.Conv2d(8, 2 * 4, 3, padding=1)

    def fuse(self, number: int, a: Tensor, b: Tensor) -> Tensor:
        """Two maps by weights that add up to one."""
        weights = F.relu(self.weights[number])
        weights = weights / (weights.sum() + 1e-4)
        return self.mixes[number](weights[0] * a + weights[1] * b)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        high = self.levels[0](image)
        middle = self.levels[1](high)
        low = self.levels[2](middle)
        middle = self.fuse(0, middle, F.interpolate(low, scale_factor=2.0))
        high = self.fuse(1, high, F.interpolate(middle, size=high.shape[-2:]))
        low = self.fuse(2, low, F.max_pool2d(middle, 3, 2, 1))
        maps = [high, middle, low]
        kinds = [self.kinds(m).permute(0, 2, 3, 1).reshape(len(image), -1, 3) for m in maps]
        boxes = [self.boxes(m).permute(0, 2, 3, 1).reshape(len(image), -1, 4) for m in maps]
        return torch.cat(kinds, 1), torch.cat(boxes, 1)


def _focal(outputs: Any, batch: Any) -> Tensor:
    """RetinaNet's loss: hard examples weigh more, boxes count where there is something."""
    kinds, boxes = outputs
    target = batch["kinds"]
    chance = kinds.sigmoid()
    hit = torch.where(target > 0, chance, 1 - chance)
    kind = F.binary_cross_entropy_with_logits(kinds, target, reduction="none") * (1 - hit).pow(2)
    there = target.amax(-1, keepdim=True)
    box = F.smooth_l1_loss(boxes, batch["boxes"], reduction="none", beta=0.1) * there
    return (kind.sum() + box.sum()) / there.sum().clamp(min=1)


class Atrous(nn.Module):
    """DeepLab: the same map under filters of several dilations, and its mean, spread back."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _unit(3, 8, stride=2)
        self.branches = nn.ModuleList([_unit(8, 8, 1), *(_unit(8, 8, 3, dilation=d, padding=d) for d in (2, 4))])
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.ReLU())
        self.head = nn.Sequential(_unit(32, 8, 1), nn.Conv2d(8, 5, 1))

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        mean = F.interpolate(self.mean(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
        found = self.head(torch.cat([*(b(x) for b in self.branches), mean], 1))
        return F.interpolate(found, size=image.shape[-2:], mode="bilinear", align_corners=True)


class VolumeUNet(nn.Module):
    """A U-Net over volumes with instance norms and a Dice loss."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = self.block(1, 4, 1), self.block(4, 8, 2)
        self.up, self.three = nn.ConvTranspose3d(8, 4, 2, stride=2), self.block(8, 4, 1)
        self.head = nn.Conv3d(4, 1, 1)

    @staticmethod
    def block(before: int, after: int, stride: int) -> nn.Module:
        """A convolution, its norm, its activation."""
        return nn.Sequential(
            nn.Conv3d(before, after, 3, stride=stride, padding=1), nn.InstanceNorm3d(after, affine=True), nn.LeakyReLU()
        )

    def forward(self, volume: Tensor) -> Tensor:
        high = self.one(volume)
        return self.head(self.three(torch.cat([high, self.up(self.two(high))], 1)))


def _dice(outputs: Tensor, batch: Any) -> Tensor:
    chance, wanted = outputs.sigmoid(), batch["mask"]
    return 1 - (2 * (chance * wanted).sum() + 1) / (chance.sum() + wanted.sum() + 1)


class Capsules(nn.Module):
    """Capsules with three rounds of routing by agreement."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 5, stride=2)
        self.turn = nn.Parameter(torch.randn(64, 4, 3, 8) * 0.1)

    @staticmethod
    def squash(x: Tensor) -> Tensor:
        """Lengths below one."""
        square = x.pow(2).sum(-1, keepdim=True)
        return square / (1 + square) * x / (square + 1e-8).sqrt()

    def forward(self, image: Tensor) -> Tensor:
        low = self.squash(self.conv(image).flatten(1).reshape(len(image), 64, 4))
        votes = torch.einsum("nico,bni->bnco", self.turn, low)
        scores = votes.new_zeros(votes.shape[:3])
        for _ in range(3):
            share = scores.softmax(2)[..., None]
            high = self.squash((share * votes).sum(1))
            scores = scores + (votes * high[:, None]).sum(-1)
        return (high.pow(2).sum(-1) + 1e-8).sqrt()


def _margins(outputs: Tensor, batch: Any) -> Tensor:
    wanted = F.one_hot(batch["labels"], 3).to(outputs.dtype)
    return (wanted * F.relu(0.9 - outputs).pow(2) + 0.5 * (1 - wanted) * F.relu(outputs - 0.1).pow(2)).sum(1).mean()


class Points(nn.Module):
    """PointNet: a network over points, a learned turn of them, a maximum over all."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU())
        self.matrix = nn.Linear(16, 9)
        self.body = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 32, 1))
        self.head = nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, points: Tensor) -> Tensor:
        x = points.transpose(1, 2)
        turn = self.matrix(self.turn(x).max(2).values).view(-1, 3, 3) + torch.eye(3).to(x.dtype)
        return self.head(self.body(torch.bmm(turn, x)).max(2).values)


class Sets(nn.Module):
    """DeepSets: a sum over the members that a mask leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.all = (
            nn.Sequential(nn.Linear(4, 16), nn.ELU()),
            nn.Sequential(nn.Linear(16, 16), nn.ELU(), nn.Linear(16, 1)),
        )

    def forward(self, members: Tensor, present: Tensor) -> Tensor:
        return self.all(self.each(members).masked_fill(~present[..., None], 0).sum(1)).squeeze(1)


class Isomorphism(nn.Module):
    """GIN with scatter_reduce: sums, means and maxima over the neighbours, then over each graph."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Linear(6 * 4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16))
        self.epsilon, self.head = nn.Parameter(torch.zeros(1)), nn.Linear(16, 3)

    def forward(self, x: Tensor, edges: Tensor, graph: Tensor) -> Tensor:
        source, target = edges
        index = target[:, None].expand(-1, x.shape[1])
        start = torch.zeros_like(x)
        reduced = [
            start.scatter_reduce(0, index, x[source], how, include_self=False) for how in ("sum", "mean", "amax")
        ]
        h = self.one(torch.cat([(1 + self.epsilon) * x, *reduced], 1))
        return self.head(h.new_zeros(3, 16).scatter_reduce(0, graph[:, None].expand(-1, 16), h, "mean"))


class Mixer(nn.Module):
    """An MLP-Mixer: linear layers over patches, then over channels; or a gMLP that gates one by the other."""

    def __init__(self, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(3))
        self.over_places, self.widen, self.narrow = (
            nn.Linear(16, 16),
            nn.Linear(16, 32),
            nn.Linear(16 if gated else 32, 16),
        )
        self.head = nn.Linear(16, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        if self.gated:
            kept, gate = F.gelu(self.widen(self.norms[0](x))).chunk(2, -1)
            gate = self.over_places(self.norms[1](gate).transpose(1, 2)).transpose(1, 2)
            x = x + self.narrow(kept * gate)
        else:
            x = x + self.over_places(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
            x = x + self.narrow(F.gelu(self.widen(self.norms[1](x)), approximate="tanh"))
        return self.head(self.norms[2](x).mean(1))


class Perceiver(nn.Module):
    """Learned queries that attend to every pixel, then to each other."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.queries, self.enter = nn.Parameter(torch.randn(6, 16) * 0.02), nn.Linear(3 + 8, 16)
        self.cross = nn.MultiheadAttention(16, 4, dropout=dropout, batch_first=True)
        self.within = nn.TransformerEncoderLayer(16, 4, 32, dropout, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, image: Tensor) -> Tensor:
        size = image.shape[-1]
        axis = torch.linspace(-1, 1, size).to(image.dtype)
        place = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).flatten(0, 1)
        angles = (place[..., None] * torch.tensor([1.0, 2.0]).to(image.dtype)).flatten(-2)
        waves = torch.cat([angles.sin(), angles.cos()], -1).expand(len(image), -1, -1)
        pixels = self.enter(torch.cat([image.flatten(2).transpose(1, 2), waves], -1))
        queries = self.queries.expand(len(image), -1, -1)
        return self.head(self.within(queries + self.cross(queries, pixels, pixels)[0]).mean(1))


class SpatialTransformer(nn.Module):
    """An image sampled where an affine map says, the map itself learned."""

    def __init__(self) -> None:
        super().__init__()
        self.locate = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 16), nn.ReLU(), nn.Linear(16, 6))
        self.body = nn.Sequential(_unit(3, 8), nn.Flatten(), nn.Linear(8 * 64, 5))

    def forward(self, image: Tensor) -> Tensor:
        start = torch.tensor([1.0, 0.1, 0.0, 0.1, 1.0, 0.0]).to(image.dtype)
        theta = (self.locate(image) * 0.1 + start).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(image.shape), align_corners=False)
        return self.body(F.grid_sample(image, grid, align_corners=False))


def fill(zoo: Zoo) -> None:
    """Add them."""
    zoo.by_hand("se-resnet", _squeezed, classes("input", 4, 3, 16, 16), classified)
    zoo.by_hand("inception", Inception, _image(4, 3, 16, 16), classified)
    zoo.by_hand("mobilenet-v3", MobileV3, _image(4, 3, 16, 16), classified)
    for name, reentrant in (("densenet-checkpoint", False), ("densenet-checkpoint-reentrant", True)):
        zoo.by_hand(name, partial(DenseNet, reentrant), _image(BATCH, 3, 8, 8), classified)
    zoo.by_hand("efficientdet-focal", Pyramid, _anchors, _focal)
    zoo.by_hand("deeplab", Atrous, _labelled_pixels, classified)
    zoo.by_hand(
        "unet-3d",
        VolumeUNet,
        lambda: {"volume": torch.randn(BATCH, 1, 8, 8, 8), "mask": torch.randint(0, 2, (BATCH, 1, 8, 8, 8)).float()},
        _dice,
    )
    zoo.by_hand("capsules", Capsules, classes("image", BATCH, 1, 12, 12, count=3), _margins)
    zoo.by_hand("pointnet", Points, classes("points", 4, 20, 3), classified)
    zoo.by_hand("deep-sets", Sets, _members, lambda o, b: F.huber_loss(o, b["wanted"]))
    zoo.by_hand("gin", Isomorphism, _graphs, classified)
    zoo.by_hand("mlp-mixer", partial(Mixer, False), _image(BATCH, 3, 32, 32), classified)
    zoo.by_hand("gmlp", partial(Mixer, True), _image(BATCH, 3, 32, 32), classified)
    zoo.with_dropout("perceiver", Perceiver, _image(BATCH, 3, 8, 8), classified)
    zoo.by_hand("spatial-transformer", SpatialTransformer, _image(BATCH, 3, 8, 8), classified)


def _squeezed() -> nn.Module:
    return nn.Sequential(
        _unit(3, 8), Squeeze(8), nn.MaxPool2d(2), Squeeze(8), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 5)
    )


def _anchors() -> dict[str, Tensor]:
    anchors = 2 * (64 + 16 + 4)
    return {
        "image": torch.randn(BATCH, 3, 16, 16),
        "kinds": (torch.rand(BATCH, anchors, 3) < 0.1).float(),
        "boxes": torch.randn(BATCH, anchors, 4),
    }


def _labelled_pixels() -> dict[str, Tensor]:
    return {"image": torch.randn(BATCH, 3, 16, 16), "labels": torch.randint(0, 5, (BATCH, 16, 16))}


def _members() -> dict[str, Tensor]:
    return {"members": torch.randn(4, 7, 4), "present": torch.rand(4, 7) < 0.7, "wanted": torch.randn(4)}


def _graphs() -> dict[str, Tensor]:
    return {
        "x": torch.randn(12, 6),
        "edges": torch.randint(0, 12, (2, 30)),
        "graph": torch.arange(12) // 4,
        "labels": torch.randint(0, 3, (3,)),
    }
