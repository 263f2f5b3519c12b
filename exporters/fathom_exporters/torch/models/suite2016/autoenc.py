"""autoenc in PyTorch: the variational autoencoder of :mod:`fathom_onnx.workloads.suite2016.autoenc`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_onnx.workloads.suite2016.autoenc import AutoencConfig

__all__ = ["Autoencoder"]


class Encoder(nn.Module):
    """q(z|x): images [batch, pixels] -> mean and log variance [batch, latent]."""

    def __init__(self, pixels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(pixels, hidden)
        self.softplus = nn.Softplus()
        self.mean = nn.Linear(hidden, latent)
        self.log_variance = nn.Linear(hidden, latent)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        h = self.softplus(self.hidden(images))
        return self.mean(h), self.log_variance(h)


class LatentSample(nn.Module):
    """z = mean + sigma * noise (the paper's section 2.4); the noise is drawn unless it is an input."""

    def forward(self, mean: Tensor, log_variance: Tensor, noise: Tensor | None) -> Tensor:
        if noise is None:
            noise = torch.randn_like(mean)
        return mean + torch.exp(0.5 * log_variance) * noise


class Decoder(nn.Module):
    """p(x|z): z [batch, latent] -> logits and Bernoulli means [batch, pixels]."""

    def __init__(self, pixels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(latent, hidden)
        self.softplus = nn.Softplus()
        self.output = nn.Linear(hidden, pixels)
        self.sigmoid = nn.Sigmoid()

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.output(self.softplus(self.hidden(z)))
        return logits, self.sigmoid(logits)


class Autoencoder(nn.Module):
    """The whole model: encode, sample, decode."""

    def __init__(self, config: AutoencConfig) -> None:
        super().__init__()
        pixels = config.image * config.image
        self.encoder = Encoder(pixels, config.hidden, config.latent)
        self.sample = LatentSample()
        self.decoder = Decoder(pixels, config.hidden, config.latent)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch inputs to the reconstruction and what the loss needs."""
        mean, log_variance = self.encoder(batch["images"])
        z = self.sample(mean, log_variance, batch.get("noise"))
        logits, reconstruction = self.decoder(z)
        return {"reconstruction": reconstruction, "logits": logits, "mean": mean, "log_variance": log_variance}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Negative evidence lower bound, a mean over the batch (the paper's eq. 10)."""
        images = batch["images"]
        reconstruction = F.binary_cross_entropy_with_logits(outputs["logits"], images, reduction="sum")
        mean, log_variance = outputs["mean"], outputs["log_variance"]
        divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        return (reconstruction + divergence) / images.shape[0]
