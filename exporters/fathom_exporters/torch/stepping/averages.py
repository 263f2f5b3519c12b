"""Cumulative averages of batch statistics as a recording can follow them.

A batch normalisation with ``momentum=None`` gives the n-th batch the share 1/n. PyTorch's module reads n as a Python
number, which a recording would keep as the constant of one step. The reference of a verification runs the module as
it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

__all__ = ["COUNTER", "averages_by_tensor", "unread_counters"]

COUNTER = "num_batches_tracked"
"""The buffer in which a normalisation counts the batches of its running statistics."""


def unread_counters(model: nn.Module) -> set[str]:
    """Paths of the counters of batches that no result depends on: only a cumulative average reads its own.

    A normalisation with a forward pass of its own may read its counter, which is then no such one.
    """
    own = (_BatchNorm.forward, _InstanceNorm.forward)
    return {
        f"{path}.{COUNTER}" if path else COUNTER
        for path, module in model.named_modules()
        if isinstance(module, _NormBase)
        and type(module).forward in own
        and module.num_batches_tracked is not None
        and not (isinstance(module, _BatchNorm) and module.momentum is None)
    }


def _normalise(module: _BatchNorm, x: Tensor) -> Tensor:
    """``module(x)`` in training with a cumulative average, its share a tensor: ``old + (batch - old) / n``."""
    count, mean, variance = module.num_batches_tracked, module.running_mean, module.running_var
    if count is None or mean is None or variance is None:
        raise ValueError("a cumulative average needs its count, mean and variance")
    module._check_input_dim(x)
    batch_mean, batch_variance = torch.zeros_like(mean), torch.zeros_like(variance)
    y = F.batch_norm(x, batch_mean, batch_variance, module.weight, module.bias, True, 1.0, module.eps)
    count.add_(1)
    share = 1 / count.to(mean.dtype)
    mean.add_((batch_mean - mean) * share)
    variance.add_((batch_variance - variance) * share)
    return y


@contextlib.contextmanager
def averages_by_tensor() -> Iterator[None]:
    """While entered, cumulative averages of batch normalisations read their count as a tensor."""
    own = _BatchNorm.forward

    def forward(self: _BatchNorm, input: Tensor) -> Tensor:
        averaged = self.momentum is None and self.training and self.track_running_stats
        return _normalise(self, input) if averaged and self.num_batches_tracked is not None else own(self, input)

    _BatchNorm.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        _BatchNorm.forward = own  # type: ignore[method-assign]
