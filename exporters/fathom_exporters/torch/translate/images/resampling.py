"""Resampling of images with one, two or three sides, and rearranged pixels, forward and backward: aten to ONNX.

A resampling acts on each side by itself (:mod:`.separable`). Forward it is a Resize where ONNX's describes it: nearest
neighbours by whole factors, and linear and cubic interpolation whose distances follow from the sizes. Otherwise, and
for the gradient, it is a Gather or a product with a constant matrix along each side.

Which neighbour is nearest is decided in float64. PyTorch's float32 kernels decide otherwise where a position is within
rounding of the middle, for 71 of the 6,942 pairs of sizes up to 39 and 89.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from fathom_exporters.lowering.values import static_shape
from fathom_exporters.torch.translate.emit import ints, op, reshaped

from .separable import Matrix, block_sums, each_side, matrix_of

__all__ = ["RESAMPLING"]

_aten = torch.ops.aten
_EXACT = 1e-12
"""Largest difference between elements of two matrices that are the same one."""

_Along = Callable[[torch.Tensor, int, bool, "float | None"], torch.Tensor]
"""Resampling of lines [N, 1, size]: the lines, the new size, whether corners are aligned, and the scale if given."""

_ALONG: dict[str, _Along] = {
    "nearest": lambda x, out, corners, scale: _aten.upsample_nearest1d(x, [out], scale),
    "nearest_exact": lambda x, out, corners, scale: _aten._upsample_nearest_exact1d(x, [out], scale),
    "linear": lambda x, out, corners, scale: _aten.upsample_linear1d(x, [out], corners, scale),
    "cubic": lambda x, out, corners, scale: _aten.upsample_bicubic2d(x[:, :, None], [1, out], corners, None, scale),
    "linear_aa": lambda x, out, corners, scale: _aten._upsample_bilinear2d_aa(
        x[:, :, None], [1, out], corners, None, scale
    ),
    "cubic_aa": lambda x, out, corners, scale: _aten._upsample_bicubic2d_aa(
        x[:, :, None], [1, out], corners, None, scale
    ),
}
"""Kind of resampling to PyTorch's own along one side."""


@dataclass(frozen=True)
class _Resampling:
    """One aten resampling: its kind and what it was called with.

    Attributes:
        kind: A key of the table of kinds.
        size: Of the image, along each side.
        out: Of the result, along each side.
        corners: Whether corners are aligned.
        scales: By which distances are computed; None where the sizes say it.
    """

    kind: str
    size: Sequence[int]
    out: Sequence[int]
    corners: bool
    scales: Sequence[float | None]

    def matrices(self, scales: Sequence[float | None]) -> list[Matrix]:
        """The matrix of each side."""
        along, corners = _ALONG[self.kind], self.corners
        return [
            matrix_of(lambda lines, n=n, s=s: along(lines, n, corners, s), size)  # type: ignore[misc]
            for size, n, s in zip(self.size, self.out, scales, strict=True)
        ]

    @property
    def by_scales(self) -> list[Matrix]:
        """The matrices by the scales that are given."""
        return self.matrices(self.scales)

    def follows_from_sizes(self) -> bool:
        """Whether the scales that are given say nothing that the sizes do not."""
        by_sizes = self.matrices([None] * len(self.size))
        return all(np.abs(a - b).max() < _EXACT for a, b in zip(self.by_scales, by_sizes, strict=True))

    def factors(self) -> list[int] | None:
        """How often each element is repeated along each side, if that is all."""
        if not self.kind.startswith("nearest") or any(n % m for n, m in zip(self.out, self.size, strict=True)):
            return None
        factors = [n // m for n, m in zip(self.out, self.size, strict=True)]
        repeated = (np.repeat(np.eye(m), f, axis=0) for m, f in zip(self.size, factors, strict=True))
        same = all((a == b).all() for a, b in zip(self.by_scales, repeated, strict=True))
        return factors if same else None


def _nearest(x: ir.Value, resampling: _Resampling) -> ir.Value:
    factors = resampling.factors()
    if factors is not None:
        scales = op.Constant(value=ir.tensor(np.array([1, 1, *factors], np.float32)))
        return op.Resize(
            x, None, scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
    for side, matrix in enumerate(resampling.by_scales):
        if not (matrix.shape[0] == matrix.shape[1] and (matrix == np.eye(len(matrix))).all()):
            x = op.Gather(x, ints(*matrix.argmax(axis=1).tolist()), axis=2 + side)
    return x


_MODES: dict[str, dict[str, Any]] = {"linear": {"mode": "linear"}, "cubic": {"mode": "cubic", "cubic_coeff_a": -0.75}}
"""Kind of resampling to the attributes of the Resize that does it."""


def _interpolated(x: ir.Value, resampling: _Resampling) -> ir.Value:
    mode = _MODES.get(resampling.kind)
    if mode is None or not resampling.follows_from_sizes():
        return each_side(x, resampling.by_scales)
    sizes = ints(*static_shape(x)[:2], *resampling.out)
    position = "align_corners" if resampling.corners else "pytorch_half_pixel"
    return op.Resize(x, None, None, sizes, coordinate_transformation_mode=position, **mode)


def _upsample(kind: str) -> Callable[..., ir.Value]:
    """A resampling -> Resize, Gather or products with constant matrices."""
    aligns = not kind.startswith("nearest")

    def upsample(x: ir.Value, output_size: Sequence[int], *rest: Any) -> ir.Value:
        size = static_shape(x)[2:]
        corners, scales = (bool(rest[0]), rest[1:]) if aligns else (False, rest)
        resampling = _Resampling(kind, size, output_size, corners, _scales(scales, len(size)))
        return (_interpolated if aligns else _nearest)(x, resampling)

    return upsample


def _upsample_backward(kind: str) -> Callable[..., ir.Value]:
    """The gradient of a resampling -> sums of blocks, or products with constant matrices."""
    aligns = not kind.startswith("nearest")

    def upsample_backward(dy: ir.Value, output_size: Sequence[int], input_size: Sequence[int], *rest: Any) -> ir.Value:
        size = input_size[2:]
        corners, scales = (bool(rest[0]), rest[1:]) if aligns else (False, rest)
        resampling = _Resampling(kind, size, output_size, corners, _scales(scales, len(size)))
        factors = resampling.factors()
        if factors is not None:
            return block_sums(dy, factors)
        return each_side(dy, [matrix.T for matrix in resampling.by_scales])

    return upsample_backward


def _scales(given: Sequence[float | None], sides: int) -> list[float | None]:
    return [*given, *[None] * (sides - len(given))]


def pixel_shuffle(x: ir.Value, factor: int) -> ir.Value:
    """pixel_shuffle -> Reshape, Transpose, Reshape; [.., C * f * f, H, W] to [.., C, H * f, W * f]."""
    *head, channels, height, width = static_shape(x)
    rest, n = channels // factor**2, len(head)
    apart = reshaped(x, [*head, rest, factor, factor, height, width])
    moved = op.Transpose(apart, perm=[*range(n), n, n + 3, n + 1, n + 4, n + 2])
    return op.Reshape(moved, ints(*head, rest, height * factor, width * factor))


def pixel_unshuffle(x: ir.Value, factor: int) -> ir.Value:
    """pixel_unshuffle -> Reshape, Transpose, Reshape; [.., C, H * f, W * f] to [.., C * f * f, H, W]."""
    *head, channels, height, width = static_shape(x)
    down, across, n = height // factor, width // factor, len(head)
    apart = reshaped(x, [*head, channels, down, factor, across, factor])
    moved = op.Transpose(apart, perm=[*range(n), n, n + 2, n + 4, n + 1, n + 3])
    return op.Reshape(moved, ints(*head, channels * factor**2, down, across))


def channel_shuffle(x: ir.Value, groups: int) -> ir.Value:
    """channel_shuffle -> Reshape, Transpose, Reshape."""
    batch, channels, *size = static_shape(x)
    apart = reshaped(x, [batch, groups, channels // groups, *size])
    return op.Reshape(op.Transpose(apart, perm=[0, 2, 1, *range(3, 3 + len(size))]), ints(batch, channels, *size))


_KINDS = {
    "upsample_nearest1d": "nearest",
    "upsample_nearest2d": "nearest",
    "upsample_nearest3d": "nearest",
    "_upsample_nearest_exact1d": "nearest_exact",
    "_upsample_nearest_exact2d": "nearest_exact",
    "_upsample_nearest_exact3d": "nearest_exact",
    "upsample_linear1d": "linear",
    "upsample_bilinear2d": "linear",
    "upsample_trilinear3d": "linear",
    "upsample_bicubic2d": "cubic",
    "_upsample_bilinear2d_aa": "linear_aa",
    "_upsample_bicubic2d_aa": "cubic_aa",
}

RESAMPLING: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    **{getattr(_aten, name).default: _upsample(kind) for name, kind in _KINDS.items()},
    **{getattr(_aten, f"{name}_backward").default: _upsample_backward(kind) for name, kind in _KINDS.items()},
    _aten.pixel_shuffle.default: pixel_shuffle,
    _aten.pixel_unshuffle.default: pixel_unshuffle,
    _aten.channel_shuffle.default: channel_shuffle,
}
"""aten operation of resampling to the function that writes it in ONNX."""
