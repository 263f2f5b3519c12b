"""vgg: VGG-19, configuration E of Simonyan and Zisserman 2015 (arXiv:1409.1556).

Five stages of [2, 2, 4, 4, 4] 3x3 convolutions, each followed by a ReLU, with a 2x2/2 max pool at the end of every
stage. Then three fully connected layers, with dropout after the first two. The loss is the mean softmax cross-entropy
over the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Workload
from fathom_onnx.workloads.stack import Convolution, Stack

from .image_classifier import add_fully_connected, image_classifier

__all__ = ["DEFINITION", "VggConfig", "build", "features", "stages"]

_VGG = "Simonyan and Zisserman 2015"
_FATHOM = "Fathom vgg (Adolf et al. 2016)"


@dataclass(frozen=True)
class VggConfig:
    """Hyper-parameters of vgg."""

    batch: int = setting(8, _FATHOM)
    image: int = setting(224, f"{_VGG}, section 2.1")
    classes: int = setting(1000, "ILSVRC 2012")
    convolutions: tuple[int, ...] = setting((2, 2, 4, 4, 4), f"{_VGG}, table 1, configuration E: per stage")
    width: int = setting(64, f"{_VGG}, section 2.1: first stage, doubled after each pool until 8 times as many")
    fc: int = setting(4096, f"{_VGG}, section 2.1: units of the first two fully connected layers")
    dropout: float = setting(0.5, f"{_VGG}, section 3.1")
    learning_rate: float = setting(1e-4, _FATHOM)


def stages(config: VggConfig) -> Iterator[tuple[str, tuple[Convolution, ...]]]:
    """The stages in order, as (pool, its convolutions): ``pool1`` with ``conv1_1`` and ``conv1_2``, to ``pool5``."""
    channels_in = 3
    for index, count in enumerate(config.convolutions):
        channels = config.width * min(1 << index, 8)
        rows = []
        for number in range(1, count + 1):
            names = (f"conv{index + 1}_{number}", f"relu{index + 1}_{number}")
            rows.append(Convolution(*names, channels_in, channels, kernel=3, padding=1))
            channels_in = channels
        yield f"pool{index + 1}", tuple(rows)


def features(config: VggConfig) -> int:
    """Elements of an image's features, the input of ``fc6``.

    Raises:
        ValueError: The image side cannot be halved by the pool of every stage.
    """
    halvings: int = 2 ** len(config.convolutions)
    if config.image % halvings:
        raise ValueError(f"image side {config.image} is not a multiple of {halvings}")
    *_, (_, last) = stages(config)
    return last[-1].channels * (config.image // halvings) ** 2


def build(preset: str, config: VggConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: The configuration is impossible: image side or dropout rate.
    """
    stack = Stack()
    for pool, convolutions in stages(config):
        for conv in convolutions:
            stack.convolution(conv)
        stack.plain(pool, "max pool")
    add_fully_connected(stack, config, features(config))
    return image_classifier("vgg", preset, config, stack)


_PAPER = VggConfig()

DEFINITION = Definition(
    name="vgg",
    summary="VGG-19 image classifier",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, batch=2, image=64, classes=100, fc=512),
        "tiny": replace(_PAPER, batch=4, image=32, classes=10, width=4, fc=32),
    },
    build=build,
    fidelity="The original Fathom code has 12 convolutions; here are the 16 of the paper's configuration E. The paper "
    "starts the deep networks from a trained shallow one; here they start at random, with the deviation of He et al. "
    "2015 that makes such a start work.",
    papers=(
        "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, "
        "arXiv:1409.1556",
    ),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
