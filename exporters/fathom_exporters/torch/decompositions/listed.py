"""aten operations that PyTorch's own decompositions replace by simpler ones while a step is recorded.

Only those whose parts each have a canonical op, and for which neither a canonical gradient op nor a translation of the
exporter exists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import get_decompositions
from torch._ops import OpOverload

__all__ = ["DECOMPOSITIONS"]

_aten = torch.ops.aten

DECOMPOSITIONS: dict[OpOverload[..., Any], Callable[..., Any]] = {
    operation: decomposition
    for operation, decomposition in get_decompositions(
        [
            _aten.binary_cross_entropy,
            _aten.binary_cross_entropy_backward,
            _aten.binary_cross_entropy_with_logits,
            _aten.huber_loss,
            _aten.huber_loss_backward,
            _aten.mse_loss_backward,
            _aten.nll_loss_backward,
            _aten.nll_loss_forward,
            _aten.rsub,
            _aten.smooth_l1_loss_backward,
        ]
    ).items()
    if isinstance(operation, OpOverload)
}
"""aten operation to its decomposition."""
