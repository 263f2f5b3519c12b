"""Weights and activations rounded as if they were whole numbers, as training for quantised inference has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

__all__ = ["QUANTISATION"]


def _rounded(x: Tensor, scale: float, zero: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    """The nearest of the values that whole numbers from ``low`` to ``high`` stand for; where ``x`` is among them."""
    level = torch.round(x * (1 / scale)) + zero
    inside = (level >= low) & (level <= high)
    return (level.clamp(low, high) - zero) * scale, inside


QUANTISATION: dict[OpOverload[..., Any], Callable[..., Any]] = {
    torch.ops.aten.fake_quantize_per_tensor_affine_cachemask.default: _rounded
}
"""Operation to its decomposition."""
