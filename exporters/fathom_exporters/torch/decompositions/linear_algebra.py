"""Products, distances and weight normalisation whose decomposition is written here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

__all__ = ["LINEAR_ALGEBRA"]

_aten = torch.ops.aten


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    rest = [a for a in range(v.dim()) if a != dim]
    norm = v.square().sum(rest, keepdim=True).sqrt()
    return v * (g / norm), norm


def _weight_norm_backward(dw: Tensor, v: Tensor, g: Tensor, norms: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    rest = [a for a in range(v.dim()) if a != dim]
    along = (dw * v).sum(rest, keepdim=True)
    return g / norms * (dw - v * along / (norms * norms)), along / norms


def _addmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    """Of integers by a product: onnxruntime has no Gemm of them."""
    return NotImplemented if x.is_floating_point() else beta * x + alpha * torch.mm(a, b)


def _mv(a: Tensor, v: Tensor) -> Tensor:
    """As a product of matrices, which ONNX calls so; PyTorch's own decomposition multiplies and adds."""
    return torch.mm(a, v.unsqueeze(1)).squeeze(1) if a.is_floating_point() else (a * v).sum(1)


def _dot(v: Tensor, w: Tensor) -> Tensor:
    """As a product of matrices, as that of a matrix and a vector."""
    return torch.mm(v.unsqueeze(0), w.unsqueeze(1)).reshape(()) if v.is_floating_point() else (v * w).sum()


def _addbmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return beta * x + alpha * torch.bmm(a, b).sum(0)


def _trilinear(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Tensor:
    for axis in sorted(expand1):
        a = a.unsqueeze(axis)
    for axis in sorted(expand2):
        b = b.unsqueeze(axis)
    for axis in sorted(expand3):
        c = c.unsqueeze(axis)
    return (a * b * c).sum(list(sumdim))


def _differences(a: Tensor, b: Tensor) -> Tensor:
    return a.unsqueeze(-2) - b.unsqueeze(-3)


def _cdist(a: Tensor, b: Tensor, p: float, compute_mode: int | None) -> Tensor:
    distance: Tensor = torch.linalg.vector_norm(_differences(a, b), p, -1)
    return distance


def _cdist_backward(dy: Tensor, a: Tensor, b: Tensor, p: float, distance: Tensor) -> Tensor:
    """By the differences of all pairs; where two points are one, the gradient is zero."""
    apart, far, dy = _differences(a, b), distance.unsqueeze(-1), dy.unsqueeze(-1)
    if p == 0:
        return torch.zeros_like(a)
    if p == 1:
        share = torch.sign(apart)
    elif p == float("inf"):
        share = torch.sign(apart) * (apart.abs() == far).to(apart.dtype)
    else:
        safe = torch.where(far == 0, 1.0, far)
        share = (
            torch.where(far == 0, 0.0, apart * apart.abs() ** (p - 2) / safe ** (p - 1))
            if p != 2
            else torch.where(far == 0, 0.0, apart / safe)
        )
    return (dy * share).sum(-2)


def _pdist(x: Tensor, p: float = 2) -> Tensor:
    rows, columns = torch.triu_indices(x.shape[0], x.shape[0], 1)
    distance: Tensor = torch.linalg.vector_norm(x.index_select(0, rows) - x.index_select(0, columns), p, -1)
    return distance


def _pdist_backward(dy: Tensor, x: Tensor, p: float, distance: Tensor) -> Tensor:
    rows, columns = torch.triu_indices(x.shape[0], x.shape[0], 1)
    count = x.shape[0]
    square = torch.zeros(count * count, dtype=dy.dtype)
    full = [square.scatter(0, rows * count + columns, v).reshape(count, count) for v in (dy, distance)]
    both = [m + m.t() for m in full]
    return _cdist_backward(both[0], x, x, p, both[1])


def _safe_softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """A row whose every element is masked out gives zeros."""
    x = x if dtype is None else x.to(dtype)
    nothing = x.amax(dim, keepdim=True) == float("-inf")
    return torch.where(nothing, 0.0, torch.softmax(torch.where(nothing, 0.0, x), dim))


LINEAR_ALGEBRA: dict[OpOverload[..., Any], Callable[..., Any]] = {
    _aten._linalg_check_errors.default: lambda *_, **__: None,
    _aten._cdist_backward.default: _cdist_backward,
    _aten._cdist_forward.default: _cdist,
    _aten._pdist_backward.default: _pdist_backward,
    _aten._pdist_forward.default: _pdist,
    _aten._safe_softmax.default: _safe_softmax,
    _aten._trilinear.default: _trilinear,
    _aten._weight_norm_interface.default: _weight_norm,
    _aten._weight_norm_interface_backward.default: _weight_norm_backward,
    _aten.addbmm.default: _addbmm,
    _aten.addmm.default: _addmm,
    _aten.dot.default: _dot,
    _aten.mv.default: _mv,
}
"""Operation to its decomposition."""
