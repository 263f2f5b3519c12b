"""The workloads of today in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .dlrm import RecommendationModel
from .gat import GraphAttentionNetwork
from .llama import Llama
from .mamba import Mamba
from .mixtral import Mixtral
from .ppo import Ppo
from .unet import Unet
from .vit import VisionTransformer

__all__ = ["SUITE_2026"]

SUITE_2026: dict[str, Callable[[Any], nn.Module]] = {
    "llama": Llama,
    "llama-decode": Llama,
    "mixtral": Mixtral,
    "vit": VisionTransformer,
    "unet": Unet,
    "dlrm": RecommendationModel,
    "gat": GraphAttentionNetwork,
    "mamba": Mamba,
    "ppo": Ppo,
}
"""A workload's name to the module class, built from the workload's configuration."""
