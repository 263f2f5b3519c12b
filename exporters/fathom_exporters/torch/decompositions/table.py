"""The one table of decompositions that a recording uses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch._decomp import get_decompositions
from torch._ops import OpOverload

from .elementwise import ELEMENTWISE
from .indexing import INDEXING
from .linear_algebra import LINEAR_ALGEBRA
from .listed import DECOMPOSITIONS
from .losses import LOSSES
from .quantisation import QUANTISATION
from .reductions import REDUCTIONS
from .scalars import of_scalars
from .types import in_types_of_onnx
from .views import VIEWS

__all__ = ["decomposition_table"]

_aten = torch.ops.aten

_IN_ANY_CASE = [
    "addr",
    "aminmax",
    "baddbmm",
    "glu_backward",
    "logit",
    "logit_backward",
    "logsumexp",
    "mse_loss",
    "roll",
    "sinc",
    "logaddexp",
    "logaddexp2",
    "xlogy",
    "nan_to_num",
    "select_scatter",
    "addmv",
    "isin",
    "std",
    "std_mean",
]
"""Operations that PyTorch's exporter translates wrongly or not for all their uses, and whose decomposition is right."""


def _known(names: Iterable[str]) -> dict[OpOverload[..., Any], Callable[..., Any]]:
    """PyTorch's decompositions of operations."""
    found: dict[Any, Callable[..., Any]] = {}
    for name in names:
        try:
            found |= get_decompositions([getattr(_aten, name)])
        except RuntimeError as error:
            raise ValueError(f"PyTorch has no decomposition of '{name}'") from error
    return {o: function for o, function in found.items() if isinstance(o, OpOverload)}


@functools.cache
def decomposition_table(translated: Iterable[Callable[..., Any]]) -> dict[OpOverload[..., Any], Callable[..., Any]]:
    """The decompositions of a recording: ours, and PyTorch's of every operation that has no translation.

    A decomposition may return ``NotImplemented``; the operation is then recorded as it is.

    Args:
        translated: The operations that have one, as a frozen set.
    """
    known = frozenset(translated)
    theirs = {**torch._decomp.decomposition_table, **torch.export.default_decompositions()}
    table = {
        **{o: function for o, function in theirs.items() if isinstance(o, OpOverload) and o not in known},
        **_known(_IN_ANY_CASE),
        **DECOMPOSITIONS,
        **ELEMENTWISE,
        **LOSSES,
        **REDUCTIONS,
        **VIEWS,
        **INDEXING,
        **LINEAR_ALGEBRA,
        **QUANTISATION,
    }
    table |= of_scalars(table)
    return table | in_types_of_onnx(table)
