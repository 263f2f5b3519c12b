"""Checks by value that PyTorch makes while it computes: no part of a step, and not to be recorded."""

from __future__ import annotations

import contextlib
import unittest.mock
from collections.abc import Iterator
from typing import Any

import torch
from torch._higher_order_ops import effects
from torch.nn.utils import clip_grad

__all__ = ["without_checks"]

_CHECK = torch.ops.aten._linalg_check_errors.default


@contextlib.contextmanager
def without_checks() -> Iterator[None]:
    """While entered, nothing looks whether arguments of distributions, norms of gradients and matrices are valid.

    A table of decompositions takes the check of a factorisation away, once it is no effect that is to be kept.
    """
    own_norm, own_effects = clip_grad._get_total_norm, effects.has_effects

    def norm(
        tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
    ) -> Any:
        return own_norm(tensors, norm_type, False, foreach)

    def has_effects(operation: Any) -> bool:
        return operation is not _CHECK and own_effects(operation)

    with (
        unittest.mock.patch.object(torch.distributions.Distribution, "_validate_args", False),
        unittest.mock.patch.object(clip_grad, "_get_total_norm", norm),
        unittest.mock.patch.object(effects, "has_effects", has_effects),
    ):
        yield
