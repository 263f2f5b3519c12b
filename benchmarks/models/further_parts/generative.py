"""Generative models by hand, further zoo: a variational autoencoder, an adversary, flows, diffusion, autoregression."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ..registry import BATCH, Zoo

__all__ = ["fill"]


class Vae(nn.Module):
    """A variational autoencoder; its noise is drawn inside."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 16), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(16, 4), nn.Linear(16, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 20))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(code), mean, log_variance


def _bound(outputs: Any, batch: Any) -> Tensor:
    x, mean, log_variance = outputs
    divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(1).mean()
    return F.binary_cross_entropy_with_logits(x, batch["x"]) + divergence


class VectorQuantizer(nn.Module):
    """A quantizing autoencoder with a straight-through gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(12, 8), nn.Linear(8, 12)
        self.codes = nn.Embedding(16, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        code = self.codes(torch.cdist(h, self.codes.weight).argmin(-1))
        return self.decoder(h + (code - h).detach()), h, code


def _quantized(outputs: Any, batch: Any) -> Tensor:
    x, h, code = outputs
    return F.mse_loss(x, batch["x"]) + F.mse_loss(code, h.detach()) + 0.25 * F.mse_loss(h, code.detach())


class Adversary(nn.Module):
    """A step of a discriminator with spectral norms; the generator is fixed, as it is in that step."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.ConvTranspose2d(8, 8, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh()
        )
        self.generator.requires_grad_(False)
        self.judge = nn.Sequential(
            spectral_norm(nn.Conv2d(1, 8, 4, 2, 1)), nn.LeakyReLU(0.2), nn.Flatten(), spectral_norm(nn.Linear(128, 1))
        )

    def forward(self, real: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        return self.judge(real), self.judge(self.generator(code).detach())


def _hinge(outputs: Any, batch: Any) -> Tensor:
    return F.relu(1 - outputs[0]).mean() + F.relu(1 + outputs[1]).mean()


class PenalisedCritic(nn.Module):
    """A Wasserstein critic with a gradient penalty: a gradient of a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Softplus(), nn.Linear(16, 1))

    def forward(self, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
        between = (share * real + (1 - share) * fake).requires_grad_(True)
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = (slope.norm(2, dim=1) - 1).pow(2).mean()
        return self.critic(fake).mean() - self.critic(real).mean() + 10 * penalty


class Couplings(nn.Module):
    """RealNVP: affine couplings on masks that alternate."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 12)) for _ in range(4))
        self.register_buffer("mask", torch.arange(6).remainder(2).float())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        volume = x.new_zeros(len(x))
        for number, net in enumerate(self.nets):
            mask = self.mask if number % 2 else 1 - self.mask
            scale, shift = net(x * mask).chunk(2, 1)
            scale = torch.tanh(scale) * (1 - mask)
            x = x * mask + (1 - mask) * (x * scale.exp() + shift)
            volume = volume + scale.sum(1)
        return x, volume


def _likelihood(outputs: Any, batch: Any) -> Tensor:
    x, volume = outputs
    return -(torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1) + volume).mean()


class Glow(nn.Module):
    """A flow with an activation norm and a 1 x 1 convolution whose determinant enters the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))
        self.mix = nn.Parameter(torch.linalg.qr(torch.randn(4, 4))[0])

    def forward(self, x: Tensor) -> Tensor:
        z = (x * self.scale + self.shift) @ self.mix
        return 0.5 * z.pow(2).sum(1).mean() - self.scale.abs().log().sum() - torch.linalg.slogdet(self.mix)[1]


class TriangularGlow(nn.Module):
    """The same, its matrix a product of triangles, whose determinant is a product of the diagonal."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))
        self.lower, self.upper = nn.Parameter(torch.randn(4, 4) / 4), nn.Parameter(torch.randn(4, 4) / 4)
        self.diagonal = nn.Parameter(torch.rand(4) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        mix = (self.lower.tril(-1) + torch.eye(4).to(x.dtype)) @ (self.upper.triu(1) + torch.diag(self.diagonal))
        z = (x * self.scale + self.shift) @ mix
        return 0.5 * z.pow(2).sum(1).mean() - self.scale.abs().log().sum() - self.diagonal.abs().log().sum()


class Diffusion(nn.Module):
    """A U-Net that is told the time: sinusoids into each block, dropout, attention at the lower level."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 16))
        self.enter, self.leave = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(4, n) for n in (8, 16, 16))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in ((8, 16), (16, 16), (16, 8)))
        self.shifts = nn.ModuleList(nn.Linear(16, n) for n in (16, 16, 8))
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def block(self, number: int, x: Tensor, time: Tensor) -> Tensor:
        """Norm, activation, dropout, convolution, and the time."""
        h = self.convs[number](self.dropout(F.silu(self.norms[number](x))))
        return h + self.shifts[number](time)[:, :, None, None]

    def forward(self, noisy: Tensor, time: Tensor) -> Tensor:
        rates = torch.exp(-math.log(10000) * torch.arange(8, device=noisy.device) / 8).to(noisy.dtype)
        angles = time[:, None].to(noisy.dtype) * rates
        told = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        low = F.avg_pool2d(self.block(0, self.enter(noisy), told), 2)
        rows = low.flatten(2).transpose(1, 2)
        low = low + self.attention(rows, rows, rows, need_weights=False)[0].transpose(1, 2).reshape(low.shape)
        high = F.interpolate(self.block(1, low, told), scale_factor=2.0, mode="nearest")
        return self.leave(self.block(2, high, told))


class PixelCnn(nn.Module):
    """Convolutions whose filters see only pixels before their own: the mask multiplies the weights in place."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, 8, 3, padding=1) for a in (1, 8, 8))
        self.head = nn.Conv2d(8, 4, 1)
        mask = torch.ones(3, 3)
        mask[1, 2:], mask[2:] = 0, 0
        first = mask.clone()
        first[1, 1] = 0
        self.register_buffer("masks", torch.stack([first, mask, mask]))

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for conv, mask in zip(self.convs, self.masks, strict=True):
            x = F.relu(F.conv2d(x, conv.weight * mask, conv.bias, padding=1))
        return self.head(x)


class MixtureDensity(nn.Module):
    """A network whose outputs are the weights, means and widths of normal distributions."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 9))

    def forward(self, x: Tensor) -> Any:
        weight, mean, width = self.body(x).chunk(3, -1)
        mixed = torch.distributions.Categorical(logits=weight)
        return torch.distributions.MixtureSameFamily(mixed, torch.distributions.Normal(mean, F.softplus(width) + 1e-3))


class NeuralField(nn.Module):
    """NeRF in small: a network over sines and cosines of places, then the light along each ray."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3 + 3 * 8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, origin: Tensor, direction: Tensor) -> Tensor:
        depth = torch.linspace(0.5, 2.5, 8).to(origin.dtype)
        points = origin[:, None] + direction[:, None] * depth[:, None]
        powers = 2.0 ** torch.arange(4).to(origin.dtype)
        angles = (points[..., None] * powers).flatten(-2)
        found = self.body(torch.cat([points, angles.sin(), angles.cos()], -1))
        opacity = 1 - torch.exp(-F.relu(found[..., 3]) * 0.25)
        passed = torch.cumprod(1 - opacity + 1e-7, -1).roll(1, -1)
        passed = torch.cat([torch.ones_like(passed[:, :1]), passed[:, 1:]], 1)
        return ((opacity * passed)[..., None] * found[..., :3].sigmoid()).sum(1)


class Siren(nn.Module):
    """Sines as activations; the loss is on the field and on its gradient in space."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in ((2, 16), (16, 16)))
        self.head = nn.Linear(16, 1)

    def forward(self, place: Tensor) -> tuple[Tensor, Tensor]:
        place = place.detach().requires_grad_(True)
        x = place
        for layer in self.layers:
            x = torch.sin(3 * layer(x))
        value = self.head(x)
        return value, torch.autograd.grad(value.sum(), place, create_graph=True)[0]


class EnergyScore(nn.Module):
    """Denoising score matching with Fourier features that are a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("waves", torch.randn(8) * 4)
        self.body = nn.Sequential(nn.Linear(4 + 16, 32), nn.SiLU(), nn.Linear(32, 4))

    def forward(self, x: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        angles = sigma[:, None].log() * self.waves * 2 * math.pi
        return self.body(torch.cat([x + sigma[:, None] * noise, angles.sin(), angles.cos()], 1)) / sigma[:, None]


def fill(zoo: Zoo) -> None:
    """Add them."""
    zoo.by_hand("vae", Vae, lambda: {"x": torch.rand(4, 20)}, _bound)
    zoo.by_hand("vq-vae", VectorQuantizer, lambda: {"x": torch.randn(4, 12)}, _quantized)
    zoo.by_hand(
        "gan-discriminator",
        Adversary,
        lambda: {"real": torch.rand(BATCH, 1, 8, 8), "code": torch.randn(BATCH, 8, 1, 1)},
        _hinge,
    )
    zoo.by_hand(
        "wgan-penalty",
        PenalisedCritic,
        lambda: {"real": torch.randn(4, 6), "fake": torch.randn(4, 6), "share": torch.rand(4, 1)},
        lambda o, b: o,
    )
    zoo.by_hand("real-nvp", Couplings, lambda: {"x": torch.randn(4, 6)}, _likelihood)
    zoo.by_hand("glow", Glow, lambda: {"x": torch.randn(4, 4)}, lambda o, b: o)
    zoo.by_hand("glow-triangular", TriangularGlow, lambda: {"x": torch.randn(4, 4)}, lambda o, b: o)
    zoo.with_dropout(
        "diffusion",
        Diffusion,
        lambda: {
            "noisy": torch.randn(BATCH, 1, 8, 8),
            "time": torch.randint(0, 100, (BATCH,)),
            "noise": torch.randn(BATCH, 1, 8, 8),
        },
        lambda o, b: F.mse_loss(o, b["noise"]),
    )
    zoo.by_hand(
        "pixel-cnn",
        PixelCnn,
        lambda: {"image": torch.rand(BATCH, 1, 8, 8), "labels": torch.randint(0, 4, (BATCH, 8, 8))},
        lambda o, b: F.cross_entropy(o, b["labels"]),
    )
    zoo.by_hand(
        "mixture-density",
        MixtureDensity,
        lambda: {"x": torch.randn(6, 3), "y": torch.randn(6)},
        lambda o, b: -o.log_prob(b["y"]).mean(),
    )
    zoo.by_hand(
        "nerf",
        NeuralField,
        lambda: {"origin": torch.randn(4, 3), "direction": torch.randn(4, 3), "colour": torch.rand(4, 3)},
        lambda o, b: F.mse_loss(o, b["colour"]),
    )
    zoo.by_hand(
        "siren",
        Siren,
        lambda: {"place": torch.rand(8, 2), "value": torch.rand(8, 1), "slope": torch.randn(8, 2)},
        lambda o, b: F.mse_loss(o[0], b["value"]) + 0.1 * F.mse_loss(o[1], b["slope"]),
    )
    zoo.by_hand(
        "score-matching",
        EnergyScore,
        lambda: {"x": torch.randn(6, 4), "sigma": torch.rand(6) + 0.1, "noise": torch.randn(6, 4)},
        lambda o, b: (o * b["sigma"][:, None] + b["noise"]).pow(2).sum(1).mean(),
    )
