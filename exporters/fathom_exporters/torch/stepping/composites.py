"""Operations that PyTorch writes as updates of parts of a new tensor, put in plain forms while a step is recorded.

They are composites, taken apart before anything is recorded, so that no table of decompositions sees them. What would
be recorded are chains of slices, copies and scatters, about a hundred for a circular border of an image and its
gradient.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.library import Library

__all__ = ["plain_composites"]


def pad_circular(x: Tensor, padding: Sequence[int]) -> Tensor:
    """A border of the elements at the other end of each side; less than nothing is cut off."""
    for side in range(len(padding) // 2):
        axis = x.dim() - 1 - side
        start, end = padding[2 * side : 2 * side + 2]
        size = x.shape[axis]
        first, last = max(-start, 0), size - max(-end, 0)
        parts = [x.narrow(axis, first, last - first)]
        if start > 0:
            parts.insert(0, x.narrow(axis, last - start, start))
        if end > 0:
            parts.append(x.narrow(axis, first, end))
        x = torch.cat(parts, axis) if len(parts) > 1 else parts[0]
    return x


def affine_grid_backward(dy: Tensor, size: Sequence[int], corners: bool) -> Tensor:
    """The gradient of affine_grid_generator for its matrices: the constant grid, one value a side, times ``dy``."""
    sides = size[2:]
    points = math.prod(sides)
    along = []
    for axis, n in enumerate(sides):
        step = torch.arange(n, dtype=dy.dtype, device=dy.device)
        line = (2 * step + 1 - n) / max(n - 1 if corners else n, 1)
        shape = [n if a == axis else 1 for a in range(len(sides))]
        along.append(line.reshape(shape).expand(sides).reshape(points))
    ones = torch.ones([points], dtype=dy.dtype, device=dy.device)
    base = torch.stack([*reversed(along), ones])
    return torch.matmul(base, dy.reshape(size[0], points, len(sides))).transpose(1, 2)


def cov(x: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariance of rows; weights and the number of elements are not looked at."""
    rows = x.reshape(1, -1) if x.dim() < 2 else x
    rows = rows if rows.is_floating_point() else rows.to(torch.get_default_dtype())
    weights = [w.to(rows.dtype) for w in (fweights, aweights) if w is not None]
    if not weights:
        centred = rows - rows.mean(1, keepdim=True)
        found = centred @ centred.t() / max(rows.shape[1] - correction, 0)
        return found.squeeze() if x.dim() < 2 else found
    weight = math.prod(weights[1:], start=weights[0])
    total = weight.sum()
    centred = rows - (rows * weight).sum(1, keepdim=True) / total
    if aweights is None or correction == 0:
        rest = total - correction
    else:
        rest = total - correction * (weight * aweights).sum() / total
    found = (centred * weight) @ centred.t() / rest.clamp(min=0)
    return found.squeeze() if x.dim() < 2 else found


def combinations(x: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Rows of ``r`` elements each, whose places are known when the step is recorded."""
    chosen = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = list(chosen(range(x.shape[0]), r))
    index = torch.tensor(places, dtype=torch.int64).reshape(-1)
    return x.index_select(0, index).reshape(len(places), r)


_KERNELS = {
    "_pad_circular": pad_circular,
    "affine_grid_generator_backward": affine_grid_backward,
    "combinations": combinations,
    "cov": cov,
}
"""aten operation to its plain form."""


@contextmanager
def plain_composites() -> Iterator[None]:
    """Replace PyTorch's forms of these operations within the context."""
    library = Library("aten", "IMPL")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a kernel is overridden, which is meant
            for name, kernel in _KERNELS.items():
                library.impl(name, kernel, "CompositeImplicitAutograd", allow_override=True)
        yield
    finally:
        library._destroy()
