"""Images with a border, of a constant or of their own elements, forward and backward: aten operation to ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from fathom_exporters.lowering.values import static_shape
from fathom_exporters.torch.translate.emit import array, ints, op

__all__ = ["BORDERS"]

_aten = torch.ops.aten
_LOWEST = -(2**31)
"""The end of a slice that goes backwards to the first element."""


def _sides(padding: Sequence[int]) -> list[tuple[int, int]]:
    """Start and end of each side, from aten's list that begins with the last side."""
    return list(zip(padding[-2::-2], padding[::-2], strict=True))


def constant_pad(x: ir.Value, padding: Sequence[int], value: float = 0.0) -> ir.Value:
    """constant_pad_nd -> Pad, or Slice where nothing but parts of the tensor are cut off."""
    sides = _sides(padding)
    first, size = len(static_shape(x)) - len(sides), static_shape(x)[-len(sides) :]
    if all(n <= 0 for n in padding):
        starts = [-start for start, _ in sides]
        ends = [n + end for n, (_, end) in zip(size, sides, strict=True)]
        return op.Slice(x, ints(*starts), ints(*ends), ints(*range(first, first + len(sides))))
    starts, ends = ([side[i] for side in sides] for i in (0, 1))
    return op.Pad(x, ints(*[0] * first, *starts, *[0] * first, *ends), array(np.array(value), x))


def _padded(mode: str) -> Callable[..., ir.Value]:
    def padded(x: ir.Value, padding: Sequence[int]) -> ir.Value:
        """reflection_pad2d or replication_pad2d -> Pad; less than nothing is cut off."""
        sides = _sides(padding)
        first, size = len(static_shape(x)) - len(sides), static_shape(x)[-len(sides) :]
        if any(n < 0 for side in sides for n in side):
            starts = [max(-start, 0) for start, _ in sides]
            ends = [n - max(-end, 0) for n, (_, end) in zip(size, sides, strict=True)]
            x = op.Slice(x, ints(*starts), ints(*ends), ints(*range(first, first + len(sides))))
        starts, ends = ([max(side[i], 0) for side in sides] for i in (0, 1))
        return op.Pad(x, ints(*[0] * first, *starts, *[0] * first, *ends), mode=mode)

    return padded


def _reflected_back(dy: ir.Value, axis: int, size: int, start: int, end: int) -> ir.Value:
    """The gradient along an axis: what the border mirrors is added to where it was taken from."""
    parts = [_part(dy, axis, start, start + size)]
    if start:
        mirrored = op.Slice(dy, ints(start - 1), ints(_LOWEST), ints(axis), ints(-1))
        parts.append(_placed(mirrored, axis, 1, size - 1 - start))
    if end:
        mirrored = op.Slice(dy, ints(-1), ints(start + size - 1), ints(axis), ints(-1))
        parts.append(_placed(mirrored, axis, size - 1 - end, 1))
    return op.Sum(*parts) if len(parts) > 1 else parts[0]


def _replicated_back(dy: ir.Value, axis: int, size: int, start: int, end: int) -> ir.Value:
    """The gradient along an axis: what the border repeats is added to the first and the last element."""
    parts = [_part(dy, axis, start, start + size)]
    if start:
        total = op.ReduceSum(_part(dy, axis, 0, start), ints(axis), keepdims=1)
        parts.append(_placed(total, axis, 0, size - 1))
    if end:
        total = op.ReduceSum(_part(dy, axis, start + size, start + size + end), ints(axis), keepdims=1)
        parts.append(_placed(total, axis, size - 1, 0))
    return op.Sum(*parts) if len(parts) > 1 else parts[0]


def _part(dy: ir.Value, axis: int, start: int, end: int) -> ir.Value:
    return op.Slice(dy, ints(start), ints(end), ints(axis))


def _placed(part: ir.Value, axis: int, before: int, after: int) -> ir.Value:
    """A part with zeros before and after it along an axis."""
    return op.Pad(part, ints(before, after), None, ints(axis))


def _padded_backward(along: Callable[[ir.Value, int, int, int, int], ir.Value]) -> Callable[..., ir.Value]:
    def padded_backward(dy: ir.Value, x: ir.Value, padding: Sequence[int]) -> ir.Value:
        """reflection_pad2d_backward or replication_pad2d_backward -> slices, zeros around them, and sums."""
        sides = _sides(padding)
        first, size = len(static_shape(x)) - len(sides), static_shape(x)[-len(sides) :]
        for axis, n, (start, end) in zip(range(first, first + len(sides)), size, sides, strict=True):
            before, after = max(-start, 0), max(-end, 0)  # of the image, cut off
            if start > 0 or end > 0:
                dy = along(dy, axis, n - before - after, max(start, 0), max(end, 0))
            if before or after:
                dy = _placed(dy, axis, before, after)
        return op.Identity(dy)

    return padded_backward


BORDERS: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten.constant_pad_nd.default: constant_pad,
    **{getattr(_aten, f"reflection_pad{n}d").default: _padded("reflect") for n in (1, 2, 3)},
    **{getattr(_aten, f"replication_pad{n}d").default: _padded("edge") for n in (1, 2, 3)},
    **{getattr(_aten, f"reflection_pad{n}d_backward").default: _padded_backward(_reflected_back) for n in (1, 2, 3)},
    **{getattr(_aten, f"replication_pad{n}d_backward").default: _padded_backward(_replicated_back) for n in (1, 2, 3)},
}
"""aten operation of borders to the function that writes it in ONNX."""
