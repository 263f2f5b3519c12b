"""residual: ResNet-34 (He et al. 2015, arXiv:1512.03385).

A 7x7/2 convolution and 3x3/2 max pool, four stages of [3, 4, 6, 3] basic blocks of two 3x3 convolutions with batch
normalisation, projection shortcuts where the shape changes (option B), global average pool, one linear layer.
The loss is the mean softmax cross-entropy over the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Initialiser, Layer, Variable, Workload
from fathom_onnx.workloads.stack import Stack

from .image_classifier import image_classifier

__all__ = ["DEFINITION", "Block", "ResidualConfig", "blocks", "build"]

_RESNET = "He et al. 2015, table 1, 34-layer"
_FATHOM = "Fathom residual (Adolf et al. 2016)"


@dataclass(frozen=True)
class ResidualConfig:
    """Hyper-parameters of residual."""

    batch: int = setting(16, _FATHOM)
    image: int = setting(224, _RESNET)
    classes: int = setting(1000, "ILSVRC 2012")
    blocks: tuple[int, ...] = setting((3, 4, 6, 3), _RESNET)
    width: int = setting(64, f"{_RESNET}: filters of the first stage, doubled at each further one")
    learning_rate: float = setting(1e-2, _FATHOM)
    momentum: float = setting(0.9, "batch norm running statistics, Ioffe and Szegedy 2015")
    epsilon: float = setting(1e-5, "batch norm, Ioffe and Szegedy 2015 (value as in He et al.'s released models)")


@dataclass(frozen=True)
class Block:
    """One basic block, from ``channels_in`` to ``channels`` channels."""

    name: str
    channels_in: int
    channels: int
    stride: int

    @property
    def projection(self) -> bool:
        """Whether the shortcut needs a 1x1 convolution, since the block changes the shape."""
        return self.stride != 1 or self.channels_in != self.channels


def blocks(config: ResidualConfig) -> Iterator[Block]:
    """The basic blocks in order, ``layer1.0`` to ``layer4.2``."""
    channels_in = config.width
    for stage, count in enumerate(config.blocks):
        channels = config.width * 2**stage
        for index in range(count):
            yield Block(f"layer{stage + 1}.{index}", channels_in, channels, 2 if stage and not index else 1)
            channels_in = channels


def build(preset: str, config: ResidualConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: The image cannot be halved by the first convolution, the pool and every stage but the first.
    """
    c = config
    if c.image % 2 ** (len(c.blocks) + 1):
        raise ValueError(f"image side {c.image} is not a multiple of {2 ** (len(c.blocks) + 1)}")
    stack = Stack()
    buffers: list[Variable] = []
    one, zero = Initialiser.constant(1.0), Initialiser.constant(0.0)

    def conv(name: str, channels_in: int, channels: int, kernel: int) -> None:
        # He et al. 2015 (arXiv:1502.01852): fan-out form, as in the authors' released models
        start = Initialiser.he_normal(channels * kernel * kernel)
        stack.add(Layer(name, "convolution"), start, weight=(channels, channels_in, kernel, kernel))

    def norm(name: str, channels: int) -> None:
        stack.add(Layer(name, "batch norm"), one, weight=(channels,), bias=(channels,))
        buffers.append(Variable(f"{name}.running_mean", (channels,), zero))
        buffers.append(Variable(f"{name}.running_var", (channels,), one))

    conv("conv1", 3, c.width, 7)
    norm("bn1", c.width)
    stack.plain("relu1", "relu")
    stack.plain("maxpool", "max pool")
    channels = c.width
    for block in blocks(c):
        channels = block.channels
        conv(f"{block.name}.conv1", block.channels_in, channels, 3)
        norm(f"{block.name}.bn1", channels)
        stack.plain(f"{block.name}.relu1", "relu")
        conv(f"{block.name}.conv2", channels, channels, 3)
        norm(f"{block.name}.bn2", channels)
        if block.projection:
            conv(f"{block.name}.projection", block.channels_in, channels, 1)
            norm(f"{block.name}.projection_bn", channels)
        stack.plain(f"{block.name}.add", "residual addition")
        stack.plain(f"{block.name}.relu2", "relu")
    stack.plain("avgpool", "global average pool")
    stack.linear("fc", channels, c.classes, Initialiser.glorot_uniform(channels, c.classes))
    return image_classifier("residual", preset, c, stack, tuple(buffers))


_PAPER = ResidualConfig()

DEFINITION = Definition(
    name="residual",
    summary="ResNet-34 image classifier",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, batch=4, image=64, classes=100),
        "tiny": replace(_PAPER, batch=4, image=64, classes=10, blocks=(1, 1, 1, 1), width=8),
    },
    build=build,
    fidelity="The original Fathom code uses bottleneck blocks without batch normalisation or strides; here the blocks, "
    "strides, projections and batch normalisation are those of the paper's 34-layer network.",
    papers=("He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385",),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
