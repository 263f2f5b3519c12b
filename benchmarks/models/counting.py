"""Multiply-accumulates of an eager step of PyTorch, forward and backward, by the formulas of PyTorch's own counter."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["eager_loss", "eager_macs"]

_NOT_COUNTED = (
    "mv",
    "addmv",
    "dot",
    "vdot",
    "addr",
    "_cdist_forward",
    "_cdist_backward",
    "_euclidean_dist",
    "mkldnn_rnn_layer",
    "_trilinear",
    "_fft_r2c",
    "_fft_c2r",
    "_fft_c2c",
    "linalg_lu_solve",
    "linalg_solve_triangular",
    "_linalg_slogdet",
    "_linalg_solve_ex",
    "grid_sampler_2d",
)
"""Operations that multiply and add, and that the counter leaves out."""


class _Products(TorchDispatchMode):
    """Adds up operations by the counter's formulas; notes those that it has none for.

    ``FlopCounterMode`` itself follows modules through the backward pass and fails where a loss takes a gradient.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counted = self.rest = 0
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry:
            self.counted += flop_registry[packet](*args, **(kwargs or {}), out_val=out) // 2
            if packet.__name__ == "convolution_backward":
                self.counted -= _too_many(*args)
        elif packet.__name__ in _NOT_COUNTED:
            self.names[packet.__name__] += 1
            if packet.__name__ in ("mv", "dot", "vdot"):
                self.rest += args[0].numel()
            elif packet.__name__ == "addmv":
                self.rest += args[1].numel()
        return out


def _too_many(
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    mask: tuple[bool, bool, bool],
) -> int:
    """MACs that the counter's formula has too many for the gradient of a grouped convolution's weights.

    It takes every channel of the input with every channel of the output; only those of the same group meet.
    """
    if groups == 1 or not mask[1]:
        return 0
    positions = x if transposed else grad
    exact = weight.numel() * positions.shape[0] * math.prod(positions.shape[2:])
    return exact * (groups - 1)


def eager_loss(model: nn.Module, batch: Mapping[str, Any], loss: Callable[..., Any] | None) -> torch.Tensor:
    """The loss of a recipe whose batch is a dictionary: the model takes those entries that its ``forward`` names."""
    taken = inspect.signature(model.forward).parameters
    every = any(p.kind is p.VAR_KEYWORD for p in taken.values()) and not any(name in taken for name in batch)
    outputs = model(**{name: value for name, value in batch.items() if every or name in taken})
    return outputs.loss if loss is None else loss(outputs, batch)


def eager_macs(
    model: nn.Module, batch: Mapping[str, Any], loss: Callable[..., Any] | None
) -> tuple[int, int, dict[str, int]]:
    """Count one forward and backward pass; a multiply-accumulate is two of PyTorch's FLOPs.

    Recurrences and attention run as the plain products that they are made of, so that the counter sees them.

    Returns:
        What the counter counts; what it leaves out where the size is plain (products of a matrix and a vector); the
        names of all that it leaves out, and how often.
    """
    products = _Products()
    with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH), products:
        eager_loss(model, batch, loss).backward()
    return products.counted, products.rest, dict(products.names)
