"""Integers, truth values and mixed element types: values and types of PyTorch's results."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from support.operations import Case, compare

FIRST = torch.tensor([[7, 3, 0, 5], [2, 1, 9, 4], [8, 6, 1, 3]])
SECOND = torch.tensor([[1, 2, 3, 2], [2, 3, 1, 1], [4, 2, 2, 5]])
TYPES = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
PLACES = SECOND[:, :2] - 1
Functions = dict[str, Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...]]]

OF_ALL: Functions = {
    "truth": lambda a, b: (a.any(), a.any(1), torch.any(a, (0, 1), keepdim=True), a.all(), a.all(1)),
    "running": lambda a, b: (*a.cummax(1), *a.cummin(0), a.cumsum(1), a.cumprod(1)),
    "extremes": lambda a, b: (a.amax(1), a.amin((0, 1)), a.max(), *a.max(1), *a.min(0), *torch.aminmax(a)),
    "sorted": lambda a, b: (
        *a.sort(dim=1, stable=True),
        a.argsort(dim=1, stable=True),
        a.kthvalue(2, 1).values,
        a.mode(1).values,
    ),
    "larger": lambda a, b: (torch.maximum(a, b), torch.fmin(a, b), a.clamp(min=b), torch.where(a > b, a, b)),
    "filled": lambda a, b: (a.masked_fill(b > 2, 1), a.tril(), torch.nn.functional.pad(a, (1, 2), value=1)),
    "written": lambda a, b: (a.scatter(1, PLACES, b), a.gather(1, PLACES), a.index_fill(0, PLACES[0], 1)),
    "joined": lambda a, b: (torch.stack([a, SECOND]), torch.stack([a, SECOND.float()], 1), torch.cat([a, SECOND])),
    "known": lambda a, b: (a.isnan(), a.isfinite(), a.isinf(), a.signbit(), a.logical_not()),
    "mixed with numbers": lambda a, b: (
        1.0 - a.long(),
        a + 0.5,
        a * 1.5,
        a / 2,
        a * SECOND.float(),
        (1 - a.int()) * -1e4,
    ),
}
OF_INTEGERS: Functions = {
    "arithmetic": lambda a, b: (-a, a + b, a * b, a - b, a // b, a % b, a / b, 2 - a, a.square(), a.relu()),
    "powers": lambda a, b: (a**2, a**b, 2**a, a**0.5, a ** SECOND.float(), a ** torch.tensor(2.0), b**a),
    "products": lambda a, b: (a @ b.t(), a[None] @ b.t()[None], torch.addmm(a[:, :3], a, b.t(), beta=2, alpha=3)),
    "bounds": lambda a, b: (a.clamp(1, 4), a.clamp(0.5, 4.5), a.clamp(max=SECOND.float()), a.clamp(min=2)),
    "bits": lambda a, b: (a << 1, a >> 1, a & b, a | b, a ^ b, ~a),
    "steps": lambda a, b: (torch.heaviside(a, b), a.sign(), a.scatter_add(1, PLACES, b), a.nanmedian(1).values),
}


@pytest.mark.parametrize("dtype", [*TYPES, torch.bool], ids=str)
@pytest.mark.parametrize("name", OF_ALL)
def test_an_operation_of_any_type_is_pytorchs(name: str, dtype: torch.dtype) -> None:
    a, b = (FIRST > 3, SECOND > 1) if dtype == torch.bool else (FIRST.to(dtype), SECOND.to(dtype))
    if name == "sorted" and dtype == torch.bool:
        pytest.skip("PyTorch has no kthvalue of truth values")
    compare(Case(name, OF_ALL[name], (a, b)))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", OF_INTEGERS)
def test_an_operation_of_integers_is_pytorchs(name: str, dtype: torch.dtype) -> None:
    compare(Case(name, OF_INTEGERS[name], (FIRST.to(dtype), SECOND.to(dtype))))
