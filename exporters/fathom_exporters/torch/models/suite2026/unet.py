"""unet in PyTorch: the denoising U-Net of :mod:`fathom_onnx.workloads.suite2026.unet`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_exporters.torch.layers import Addition, Dropout, constant
from fathom_onnx.workloads.suite2026.unet import Block, UnetConfig, frequencies, levels, schedule

__all__ = ["Unet"]

Batch = Mapping[str, Tensor]


def _of_step(values: np.ndarray, timesteps: Tensor, like: Tensor) -> Tensor:
    """A value of each image's step, [N, 1, 1, 1]."""
    return constant(values, like).index_select(0, timesteps).reshape(-1, 1, 1, 1)


class Blend(nn.Module):
    """x_t of images x_0 and noise (eq. 4 of the paper), and the noise, which is drawn unless it is an input."""

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        _, self.kept = schedule(config)

    def forward(self, images: Tensor, timesteps: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        noise = torch.randn_like(images) if noise is None else noise
        image_share, noise_share = (_of_step(np.sqrt(share), timesteps, images) for share in (self.kept, 1 - self.kept))
        return image_share * images + noise_share * noise, noise


class Denoise(nn.Module):
    """x_(t-1) of x_t and the predicted noise (algorithm 2 of the paper)."""

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        betas, kept = schedule(config)
        self.scale, self.share, self.sigma = 1 / np.sqrt(1 - betas), betas / np.sqrt(1 - kept), np.sqrt(betas)
        self.sigma[0] = 0  # nothing is drawn in the last step

    def forward(self, images: Tensor, predicted: Tensor, timesteps: Tensor, noise: Tensor | None) -> Tensor:
        noise = torch.randn_like(images) if noise is None else noise
        scale, share, sigma = (_of_step(v, timesteps, images) for v in (self.scale, self.share, self.sigma))
        return scale * (images - share * predicted) + sigma * noise


class Angles(nn.Module):
    """Steps [N] -> sines, then cosines, of them at geometric frequencies, [N, width] (Vaswani et al. 2017)."""

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        self.frequencies = frequencies(config)

    def forward(self, timesteps: Tensor, like: Tensor) -> Tensor:
        angles = timesteps.to(like.dtype).reshape(-1, 1) * constant(self.frequencies, like)
        return torch.cat([torch.sin(angles), torch.cos(angles)], 1)


class TimeEmbedding(nn.Module):
    """Steps [N] -> what every block reads of them, [N, 4 * width]."""

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        width = config.width
        self.angles = Angles(config)
        self.linear1 = nn.Linear(width, 4 * width)
        self.silu1 = nn.SiLU()
        self.linear2 = nn.Linear(4 * width, 4 * width)
        self.silu2 = nn.SiLU()

    def forward(self, timesteps: Tensor, like: Tensor) -> Tensor:
        x = self.linear2(self.silu1(self.linear1(self.angles(timesteps, like))))
        result: Tensor = self.silu2(x)
        return result


class AddTime(nn.Module):
    """A value for each channel is added: [N, C, H, W] and [N, C]."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return x + time.reshape(*time.shape, 1, 1)


class Join(nn.Module):
    """Channels after channels."""

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        return torch.cat([x, kept], 1)


class Read(nn.Module):
    """What each pixel reads of all pixels, ``softmax(q^T k / sqrt(C)) v^T`` with one head: [N, C, H, W]."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (x.flatten(2) for x in (query, key, value))
        weights = torch.softmax(q.transpose(1, 2) @ k * query.shape[1] ** -0.5, -1)
        return (v @ weights.transpose(1, 2)).reshape(query.shape)


class PixelAttention(nn.Module):
    """Attention with one head, added to its input."""

    def __init__(self, channels: int, config: UnetConfig) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.groups, channels, config.epsilon)
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.read = Read()
        self.output = nn.Conv2d(channels, channels, 1)
        self.add = Addition()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        result: Tensor = self.add(self.output(self.read(self.query(y), self.key(y), self.value(y))), x)
        return result


class ResidualBlock(nn.Module):
    """Two convolutions with the step's embedding in between, a shortcut, and attention in some blocks."""

    def __init__(self, block: Block, config: UnetConfig) -> None:
        super().__init__()
        self.name, channels_in, channels = block.name, block.channels_in, block.channels
        if block.name.startswith("up"):
            self.join = Join()
        self.norm1 = nn.GroupNorm(config.groups, channels_in, config.epsilon)
        self.silu1 = nn.SiLU()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.time = nn.Linear(4 * config.width, channels)
        self.add_time = AddTime()
        self.norm2 = nn.GroupNorm(config.groups, channels, config.epsilon)
        self.silu2 = nn.SiLU()
        self.dropout = Dropout(config.dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.projects = channels_in != channels
        if self.projects:
            self.shortcut = nn.Conv2d(channels_in, channels, 1)
        self.add = Addition()
        self.attends = block.attention
        if block.attention:
            self.attention = PixelAttention(channels, config)

    def forward(self, x: Tensor, kept: Tensor | None, time: Tensor, batch: Batch) -> Tensor:
        x = x if kept is None else self.join(x, kept)
        shortcut = self.shortcut(x) if self.projects else x
        y = self.conv1(self.silu1(self.norm1(x)))
        y = self.silu2(self.norm2(self.add_time(y, self.time(time))))
        y = self.conv2(self.dropout(y, batch.get(f"{self.name}.dropout.noise")))
        y = self.add(y, shortcut)
        result: Tensor = self.attention(y) if self.attends else y
        return result


class Down(nn.Conv2d):
    """A convolution with stride 2; a row and a column of zeros at the end make its windows whole."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, 2)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (0, 1, 0, 1)))


class Repeat(nn.Module):
    """Each pixel four times: [N, C, H, W] -> [N, C, 2 H, 2 W]."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest")


class Unet(nn.Module):
    """The whole model: noisy images [N, 3, H, W] and their steps [N] -> the noise in them."""

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        self.blend, self.denoise = Blend(config), Denoise(config)
        self.time = TimeEmbedding(config)
        self.conv_in = nn.Conv2d(3, config.width, 3, padding=1)
        self.levels = list(levels(config))
        for level in self.levels:
            part = nn.Sequential(*(ResidualBlock(block, config) for block in level.blocks))
            channels = level.blocks[-1].channels
            if level.resampled and level.name.startswith("up"):
                part.repeat = Repeat()
                part.resample = nn.Conv2d(channels, channels, 3, padding=1)
            elif level.resampled:
                part.resample = Down(channels)
            self.add_module(level.name, part)
        self.norm_out = nn.GroupNorm(config.groups, config.width, config.epsilon)
        self.silu_out = nn.SiLU()
        self.conv_out = nn.Conv2d(config.width, 3, 3, padding=1)

    def predicted(self, x: Tensor, batch: Batch) -> Tensor:
        """The noise in x_t, [N, 3, H, W]."""
        time = self.time(batch["timesteps"], x)
        x = self.conv_in(x)
        kept = [x]
        for level in self.levels:
            part = self.get_submodule(level.name)
            for index in range(len(level.blocks)):
                joined = kept.pop() if level.name.startswith("up") else None
                x = part.get_submodule(str(index))(x, joined, time, batch)
                if level.name.startswith("down"):
                    kept.append(x)
            if level.resampled:
                if level.name.startswith("up"):
                    x = part.get_submodule("repeat")(x)
                x = part.get_submodule("resample")(x)
                if level.name.startswith("down"):
                    kept.append(x)
        result: Tensor = self.conv_out(self.silu_out(self.norm_out(x)))
        return result

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Batch inputs to the predicted noise; in evaluation, to the images one step before."""
        images, timesteps = batch["images"], batch["timesteps"]
        if self.training:
            x, noise = self.blend(images, timesteps, batch.get("noise"))
            return {"predicted": self.predicted(x, batch), "noise": noise}
        predicted = self.predicted(images, batch)
        return {"denoised": self.denoise(images, predicted, timesteps, batch.get("noise"))}

    def loss(self, outputs: Batch, batch: Batch) -> Tensor:
        """The mean squared error of the predicted noise (eq. 14 of the paper)."""
        return (outputs["predicted"] - outputs["noise"]).square().mean()
