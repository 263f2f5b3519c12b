"""unet: the denoising U-Net of diffusion models (Ho et al. 2020, arXiv:2006.11239), the model for CIFAR-10.

Four resolutions, 32x32 to 4x4, each with two residual blocks on the way down and three on the way up, whose inputs are
joined with the outputs of the way down (Ronneberger et al. 2015). A residual block is group normalisation, SiLU and a
3x3 convolution, twice, with the embedding of the time step added in between and dropout before the second convolution.
At 16x16, and between two blocks in the middle, each pixel attends to all others. Steps down are convolutions with
stride 2, steps up repeat pixels before a convolution.

A training step draws noise e, blends it with the images, ``x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e`` (eq. 4), and
compares the model's prediction with it by the mean squared error (eq. 14). Inference is one step of denoising, from x_t
to ``x_(t-1) = (x_t - beta_t / sqrt(1 - abar_t) e(x_t, t)) / sqrt(alpha_t) + sigma_t z`` (algorithm 2), with
``sigma_t^2 = beta_t`` and no noise z at the last step, t = 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Adam, Array, Draw, Gradients, Initialiser, Layer, Noise, TensorSpec, Workload
from fathom_onnx.workloads.stack import Stack

__all__ = ["DEFINITION", "Block", "Level", "UnetConfig", "build", "frequencies", "levels", "schedule"]

_DDPM = "Ho et al. 2020"
_CIFAR = f"{_DDPM}, appendix B: CIFAR-10"
_CODE = "hojonathanho/diffusion, the authors' code"


@dataclass(frozen=True)
class UnetConfig:
    """Hyper-parameters of unet."""

    batch: int = setting(128, _CIFAR)
    image: int = setting(32, "CIFAR-10 image side (Krizhevsky 2009)")
    width: int = setting(128, f"{_CODE}: channels of the first resolution")
    multiples: tuple[int, ...] = setting((1, 2, 2, 2), f"{_CODE}: channels of each resolution over those of the first")
    blocks: int = setting(2, f"{_DDPM}, appendix B: residual blocks of a resolution")
    attention: int = setting(16, f"{_DDPM}, appendix B: attention at 16x16")
    groups: int = setting(32, "Wu and He 2018, section 3")
    epsilon: float = setting(1e-6, f"{_CODE}: group normalisation")
    dropout: float = setting(0.1, _CIFAR)
    steps: int = setting(1000, f"{_DDPM}, section 4: T")
    first_beta: float = setting(1e-4, f"{_DDPM}, section 4")
    last_beta: float = setting(0.02, f"{_DDPM}, section 4")
    learning_rate: float = setting(2e-4, _DDPM + ", appendix B")
    clip_norm: float = setting(1.0, f"{_CODE}: grad_clip")


@dataclass(frozen=True)
class Block:
    """One residual block, and whether attention follows."""

    name: str
    channels_in: int
    channels: int
    attention: bool


@dataclass(frozen=True)
class Level:
    """The blocks of one resolution, in one direction, and whether the image is resampled after them."""

    name: str
    blocks: tuple[Block, ...]
    resampled: bool


def levels(config: UnetConfig) -> Iterator[Level]:
    """``down0`` .. ``down3``, ``middle``, ``up3`` .. ``up0``; blocks of the way up read the joined channels."""
    c = config
    channels, kept = c.width, [c.width]
    last = len(c.multiples) - 1
    for number, multiple in enumerate(c.multiples):
        attends = c.image >> number == c.attention
        made = []
        for index in range(c.blocks):
            made.append(Block(f"down{number}.{index}", channels, c.width * multiple, attends))
            channels = c.width * multiple
            kept.append(channels)
        if number < last:
            kept.append(channels)
        yield Level(f"down{number}", tuple(made), number < last)
    middle = (Block("middle.0", channels, channels, True), Block("middle.1", channels, channels, False))
    yield Level("middle", middle, False)
    for number in range(last, -1, -1):
        attends = c.image >> number == c.attention
        made = []
        for index in range(c.blocks + 1):
            made.append(Block(f"up{number}.{index}", channels + kept.pop(), c.width * c.multiples[number], attends))
            channels = c.width * c.multiples[number]
        yield Level(f"up{number}", tuple(made), number > 0)


def schedule(config: UnetConfig) -> tuple[Array, Array]:
    """beta_t and abar_t of every step t, counted from 0, in float64."""
    betas = np.linspace(config.first_beta, config.last_beta, config.steps)
    return betas, np.cumprod(1 - betas)


def frequencies(config: UnetConfig) -> Array:
    """``10000^(-i / (h - 1))`` of the h = width / 2 pairs of a step's embedding, [h] in float64."""
    half = config.width // 2
    made: Array = np.exp(-math.log(10_000) / (half - 1) * np.arange(half))
    return made


def build(preset: str, config: UnetConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: The image cannot be halved between resolutions, or channels are not whole groups.
    """
    c = config
    halvings = len(c.multiples) - 1
    if c.image % 2**halvings:
        raise ValueError(f"image side {c.image} cannot be halved {halvings} times")
    if c.width % c.groups:
        raise ValueError(f"width {c.width} is not a multiple of {c.groups} groups")
    stack = Stack()
    one = Initialiser.constant(1.0)
    embedding = 4 * c.width

    def conv(name: str, channels_in: int, channels: int, kernel: int = 3) -> None:
        start = Initialiser.glorot_uniform(channels_in * kernel**2, channels * kernel**2)
        shape = (channels, channels_in, kernel, kernel)
        stack.add(Layer(name, "convolution"), start, weight=shape, bias=(channels,))

    def linear(name: str, inputs: int, outputs: int) -> None:
        stack.linear(name, inputs, outputs, Initialiser.glorot_uniform(inputs, outputs))

    def norm(name: str, channels: int) -> None:
        stack.add(Layer(name, "group norm"), one, weight=(channels,), bias=(channels,))

    def residual(block: Block, side: int) -> None:
        b, channels = block.name, block.channels
        norm(f"{b}.norm1", block.channels_in)
        stack.plain(f"{b}.silu1", "silu")
        conv(f"{b}.conv1", block.channels_in, channels)
        linear(f"{b}.time", embedding, channels)
        stack.plain(f"{b}.add_time", "addition")
        norm(f"{b}.norm2", channels)
        stack.plain(f"{b}.silu2", "silu")
        stack.dropout(f"{b}.dropout", (c.batch, channels, side, side), c.dropout)
        conv(f"{b}.conv2", channels, channels)
        if block.channels_in != channels:
            conv(f"{b}.shortcut", block.channels_in, channels, 1)
        stack.plain(f"{b}.add", "residual addition")
        if block.attention:
            norm(f"{b}.attention.norm", channels)
            for part in ("query", "key", "value"):
                conv(f"{b}.attention.{part}", channels, channels, 1)
            stack.plain(f"{b}.attention.read", "attention")
            conv(f"{b}.attention.output", channels, channels, 1)
            stack.plain(f"{b}.attention.add", "residual addition")

    stack.plain("blend", "noise added to images")
    stack.plain("time.angles", "sinusoidal embedding")
    linear("time.linear1", c.width, embedding)
    stack.plain("time.silu1", "silu")
    linear("time.linear2", embedding, embedding)
    stack.plain("time.silu2", "silu")
    conv("conv_in", 3, c.width)
    side, channels = c.image, c.width
    for level in levels(c):
        for block in level.blocks:
            if level.name.startswith("up"):
                stack.plain(f"{block.name}.join", "concatenation")
            residual(block, side)
            channels = block.channels
        if level.resampled:
            if level.name.startswith("up"):
                stack.plain(f"{level.name}.repeat", "nearest neighbours")
                side *= 2
            else:
                side //= 2
            conv(f"{level.name}.resample", channels, channels)
    norm("norm_out", channels)
    stack.plain("silu_out", "silu")
    conv("conv_out", channels, 3)
    stack.plain("denoise", "denoising step")
    shape = (c.batch, 3, c.image, c.image)
    noise = Noise("noise", shape)
    return Workload(
        name="unet",
        preset=preset,
        config=c,
        features=(
            TensorSpec("images", shape, meaning="RGB, -1 to 1", draw=Draw("uniform", -1.0, 1.0)),
            TensorSpec("timesteps", (c.batch,), "int64", "steps of diffusion", Draw("integers", 0, c.steps)),
        ),
        noise={"inference": (noise,), "training": (noise, *stack.noise)},
        parameters=tuple(stack.parameters),
        outputs=(TensorSpec("denoised", shape, meaning="the images one step before"),),
        layers=tuple(stack.layers),
        optimizer=Adam(c.learning_rate),
        data="diffusion",
        gradients=Gradients(clip_global_norm=c.clip_norm),
    )


_PAPER = UnetConfig()

DEFINITION = Definition(
    name="unet",
    summary="denoising U-Net of a diffusion model, 32x32 images",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, batch=4, width=32, groups=8),
        "tiny": replace(
            _PAPER,
            batch=2,
            image=8,
            width=8,
            multiples=(1, 2),
            blocks=1,
            attention=4,
            groups=4,
            steps=50,
            learning_rate=1e-3,
        ),
    },
    build=build,
    fidelity="The exponential moving average of the weights, by which the paper samples, is left out: it has no part "
    "in a training step. Convolutions that start at zero in the authors' code (the second of a block, "
    "those after attention, the last one) start Glorot-uniform here, so that the first step has gradients everywhere. "
    "The learning rate is constant, without its warm-up. The steps t come with the images. A denoising step is "
    "algorithm 2 as it is printed; the authors' code also clips the image that it predicts to -1..1.",
    papers=("Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, arXiv:2006.11239",),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
