"""aten operations that are taken apart while a step is recorded, by PyTorch's own decompositions.

Only those whose parts have a canonical name each and for which neither a canonical gradient op nor an exporter
translation exists.
"""

from __future__ import annotations

import torch
from torch._decomp import get_decompositions

__all__ = ["DECOMPOSITIONS"]

_aten = torch.ops.aten

DECOMPOSITIONS = get_decompositions(
    [
        _aten.binary_cross_entropy,
        _aten.binary_cross_entropy_backward,
        _aten.binary_cross_entropy_with_logits,
        _aten.elu_backward,
        _aten.gelu_backward,
        _aten.huber_loss,
        _aten.huber_loss_backward,
        _aten.leaky_relu_backward,
        _aten.mse_loss_backward,
        _aten.native_layer_norm_backward,
        _aten.nll_loss_backward,
        _aten.nll_loss_forward,
        _aten.silu_backward,
        _aten.smooth_l1_loss_backward,
    ]
)
