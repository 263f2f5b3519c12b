"""The eight workloads of 2016 in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .alexnet import Alexnet
from .autoenc import Autoencoder
from .deepq import DeepQ
from .memnet import MemoryNetwork
from .residual import ResNet
from .seq2seq import Seq2seq
from .speech import DeepSpeech
from .vgg import Vgg

__all__ = ["SUITE_2016"]

SUITE_2016: dict[str, Callable[[Any], nn.Module]] = {
    "seq2seq": Seq2seq,
    "memnet": MemoryNetwork,
    "speech": DeepSpeech,
    "autoenc": Autoencoder,
    "residual": ResNet,
    "vgg": Vgg,
    "alexnet": Alexnet,
    "deepq": DeepQ,
}
"""A workload's name to the module class, built from the workload's configuration."""
