"""Gradients of losses and activations of which PyTorch has no decomposition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from fathom_onnx.errors import ExportError

__all__ = ["LOSSES"]

_aten = torch.ops.aten
_MEAN = 1


def _shared(dy: Tensor, rows: int, reduction: int) -> Tensor:
    """The gradient of a loss for each row [N, 1]."""
    if reduction == 0:
        return dy.reshape(-1, 1)
    return (dy / rows if reduction == _MEAN else dy).reshape(1, 1)


def _multi_margin_backward(
    dy: Tensor, x: Tensor, target: Tensor, p: float, margin: float, weight: Tensor | None = None, reduction: int = _MEAN
) -> Tensor:
    rows, labels = x.reshape(-1, x.shape[-1]), target.reshape(-1, 1)
    own = torch.arange(rows.shape[1]) == labels
    gap = margin - rows.gather(1, labels) + rows
    slope = torch.where((gap > 0) & ~own, torch.ones_like(gap) if p == 1 else 2 * gap, 0.0) / rows.shape[1]
    if weight is not None:
        slope = slope * weight.index_select(0, labels.reshape(-1)).unsqueeze(1)
    dx = slope - torch.where(own, slope.sum(1, keepdim=True), 0.0)
    return (dx * _shared(dy, rows.shape[0], reduction)).reshape(x.shape)


def _multilabel_margin_forward(x: Tensor, target: Tensor, reduction: int) -> tuple[Tensor, Tensor]:
    rows, labels, valid, is_target = _labels(x, target)
    loss = _violations(rows, labels, valid, is_target).clamp(min=0).sum((1, 2)) / rows.shape[1]
    loss = loss.mean() if reduction == _MEAN else loss.sum() if reduction == 2 else loss.reshape(x.shape[:-1])
    return loss, is_target.to(x.dtype).reshape(x.shape)


def _labels(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows, labels, which of them count (those before the first -1), and which classes are among them."""
    rows, labels = x.reshape(-1, x.shape[-1]), target.reshape(-1, x.shape[-1])
    valid = (labels < 0).long().cumsum(1) == 0
    labels = labels.clamp(min=0)
    hit = (labels.unsqueeze(2) == torch.arange(rows.shape[1])) & valid.unsqueeze(2)
    return rows, labels, valid, hit.long().sum(1) > 0


def _violations(rows: Tensor, labels: Tensor, valid: Tensor, is_target: Tensor) -> Tensor:
    """``1 - x[label] + x[other]``, -1 where it does not count, [N, labels, others]."""
    gap = 1 - rows.gather(1, labels).unsqueeze(2) + rows.unsqueeze(1)
    return torch.where(valid.unsqueeze(2) & ~is_target.unsqueeze(1), gap, -1.0)


def _multilabel_margin_backward(dy: Tensor, x: Tensor, target: Tensor, reduction: int, is_target: Tensor) -> Tensor:
    rows, labels, valid, member = _labels(x, target)
    active = (_violations(rows, labels, valid, member) > 0).to(x.dtype) / rows.shape[1]
    dx = active.sum(1).scatter_add(1, labels, -active.sum(2))
    return (dx * _shared(dy, rows.shape[0], reduction)).reshape(x.shape)


def _softshrink_backward(dy: Tensor, x: Tensor, lambd: float) -> Tensor:
    return torch.where((x >= -lambd) & (x <= lambd), 0.0, dy)


def _soft_margin_backward(dy: Tensor, x: Tensor, target: Tensor, reduction: int) -> Tensor:
    dx = -target * torch.sigmoid(-target * x) * dy
    return dx / x.numel() if reduction == _MEAN else dx


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    first, second = x.chunk(2, dim)
    return first * torch.sigmoid(second)


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    return torch.where(x > 0, x, weight * x)


def _prelu_backward(dy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(x > 0, dy, weight * dy), torch.where(x > 0, 0.0, x * dy)


def _rrelu(
    x: Tensor, noise: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: Any = None
) -> Tensor:
    if training:
        raise ExportError("'rrelu' cannot be drawn in a graph", "use leaky_relu, or draw the slopes with torch.rand")
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2)


def _rrelu_functional(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
    return _rrelu(*arguments, **options), arguments[1]


def _rrelu_backward(
    dy: Tensor, x: Tensor, noise: Tensor, lower: float, upper: float, training: bool, from_result: bool
) -> Tensor:
    return torch.where(x > 0, dy, dy * ((lower + upper) / 2))


LOSSES: dict[OpOverload[..., Any], Callable[..., Any]] = {
    _aten._prelu_kernel.default: _prelu,
    _aten._prelu_kernel_backward.default: _prelu_backward,
    _aten.glu.default: _glu,
    _aten.multi_margin_loss_backward.default: _multi_margin_backward,
    _aten.multilabel_margin_loss_backward.default: _multilabel_margin_backward,
    _aten.multilabel_margin_loss_forward.default: _multilabel_margin_forward,
    _aten.rrelu_with_noise.default: _rrelu,
    _aten.rrelu_with_noise_backward.default: _rrelu_backward,
    _aten.rrelu_with_noise_functional.default: _rrelu_functional,
    _aten.soft_margin_loss_backward.default: _soft_margin_backward,
    _aten.softshrink_backward.default: _softshrink_backward,
}
"""Operation to its decomposition."""
