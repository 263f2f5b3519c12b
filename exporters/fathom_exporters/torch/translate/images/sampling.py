"""Images sampled at the positions of a grid, forward and backward: aten operation to ONNX.

A position lies between two rows and two columns (or more sides). Each of the corners has a weight that is a product
over the sides. The value is the weighted sum of the corners' elements, the gradient for the image adds ``dy`` times the
weight at each corner, and the gradient for the grid is the weighted sum's derivative by the position.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from fathom_exporters.lowering.values import static_shape
from fathom_exporters.torch.translate.emit import array, element_type, ints, op

from .convolution import unrequested

__all__ = ["SAMPLING"]

_aten = torch.ops.aten
_MODES = ("bilinear", "nearest", "bicubic")
_BORDERS = ("zeros", "border", "reflection")


@dataclass(frozen=True)
class _Side:
    """Positions along one side of the image, all [N, 1, points].

    Attributes:
        position: In elements from the first one.
        slope: Its derivative by the grid's value; may be one number for all.
        low: The element before it, as a float.
        size: Elements of the side.
    """

    position: ir.Value
    slope: ir.Value
    low: ir.Value
    size: int


@dataclass(frozen=True)
class _Corner:
    """One neighbour of each position: where it is, its weights along the sides, and 1 or 0 for inside or outside.

    Attributes:
        upper: Of each side, whether it is the element after the position.
        place: Flat in the image, [N, 1, points], inside in any case.
        weights: Along each side, [N, 1, points].
        inside: [N, 1, points].
    """

    upper: tuple[bool, ...]
    place: ir.Value
    weights: list[ir.Value]
    inside: ir.Value


def _number(value: float, like: ir.Value) -> ir.Value:
    return array(np.array(value), like)


def _type(x: ir.Value) -> int:
    return int(ir.DataType.from_numpy(element_type(x)))


def _reflected(position: ir.Value, low: float, span: float) -> tuple[ir.Value, ir.Value]:
    """A position mirrored at ``low`` and ``low + span`` as often as it takes, and its derivative, 1 or -1."""
    one, two, zero = (_number(value, position) for value in (1.0, 2.0, 0.0))
    if span == 0:
        return op.Mul(position, zero), op.Mul(position, zero)
    length = _number(span, position)
    from_low = op.Sub(position, _number(low, position))
    distance = op.Abs(from_low)
    flips = op.Floor(op.Div(distance, length))
    rest = op.Sub(distance, op.Mul(flips, length))
    odd = op.Sub(flips, op.Mul(op.Floor(op.Div(flips, two)), two))
    direction = op.Sub(one, op.Mul(odd, two))
    mirrored = op.Add(op.Add(op.Mul(rest, direction), op.Mul(odd, length)), _number(low, position))
    before = op.Cast(op.Less(from_low, zero), to=_type(position))
    return mirrored, op.Mul(direction, op.Sub(one, op.Mul(before, two)))


def _side(values: ir.Value, size: int, border: str, corners: bool, nearest: bool) -> _Side:
    """The positions of grid values along a side."""
    factor, shift = ((size - 1) / 2, (size - 1) / 2) if corners else (size / 2, (size - 1) / 2)
    slope = _number(factor, values)
    position = op.Add(op.Mul(values, slope), _number(shift, values))
    position.type = values.type
    if border == "reflection":
        low, span = (0.0, size - 1.0) if corners else (-0.5, float(size))
        position, direction = _reflected(position, low, span)
        slope = op.Mul(slope, direction)
    if border != "zeros":
        first, last = _number(0.0, values), _number(size - 1.0, values)
        within = op.And(op.Greater(position, first), op.Less(position, last))
        slope = op.Mul(slope, op.Cast(within, to=_type(values)))
        position = op.Clip(position, first, last)
    return _Side(position, slope, op.Round(position) if nearest else op.Floor(position), size)


def _sides(x: ir.Value, grid: ir.Value, border: str, corners: bool, nearest: bool) -> list[_Side]:
    """The positions along each side of the image; the grid's last axis begins with the image's last side."""
    size = static_shape(x)[2:]
    batch, *out, _ = static_shape(grid)
    sides = []
    for side, n in enumerate(size):
        at = len(size) - 1 - side
        values = op.Slice(grid, ints(at), ints(at + 1), ints(1 + len(size)))
        line = op.Reshape(values, ints(batch, 1, math.prod(out)))
        line.type = grid.type
        sides.append(_side(line, n, border, corners, nearest))
    return sides


def _corners(sides: Sequence[_Side], like: ir.Value, nearest: bool) -> Iterator[_Corner]:
    """The neighbours of each position: the nearest one, or those at all corners."""
    one, zero = _number(1.0, like), _number(0.0, like)
    for upper in itertools.product((False,) if nearest else (False, True), repeat=len(sides)):
        place, inside, weights = None, None, []
        for side, after in zip(sides, upper, strict=True):
            at = op.Add(side.low, one) if after else side.low
            last = _number(side.size - 1.0, like)
            here = op.And(op.GreaterOrEqual(at, zero), op.LessOrEqual(at, last))
            inside = here if inside is None else op.And(inside, here)
            index = op.Cast(op.Clip(at, zero, last), to=ir.DataType.INT64)
            place = index if place is None else op.Add(op.Mul(place, op.Constant(value_int=side.size)), index)
            above = op.Sub(side.position, side.low)
            weights.append(above if after else op.Sub(one, above))
        assert place is not None
        assert inside is not None
        yield _Corner(upper, place, weights, op.Cast(inside, to=_type(like)))


def _product(values: Sequence[ir.Value]) -> ir.Value:
    result = values[0]
    for value in values[1:]:
        result = op.Mul(result, value)
    return result


def _sampler(sides: int) -> Callable[..., ir.Value]:
    def grid_sampler(x: ir.Value, grid: ir.Value, mode: int, border: int, corners: bool) -> ir.Value:
        """grid_sampler_2d -> GridSample; grid_sampler_3d, for which it has no word, -> gathered corners."""
        if sides == 2:
            return op.GridSample(x, grid, mode=_MODES[mode], padding_mode=_BORDERS[border], align_corners=int(corners))
        nearest = _MODES[mode] == "nearest"
        batch, channels, *size = static_shape(x)
        out = static_shape(grid)[1:-1]
        rows = op.Reshape(x, ints(batch, channels, math.prod(size)))
        parts = []
        for corner in _corners(_sides(x, grid, _BORDERS[border], corners, nearest), x, nearest):
            weight = corner.inside if nearest else op.Mul(corner.inside, _product(corner.weights))
            parts.append(op.Mul(_gathered(rows, corner, batch, channels, math.prod(out)), weight))
        total = op.Sum(*parts) if len(parts) > 1 else parts[0]
        return op.Reshape(total, ints(batch, channels, *out))

    return grid_sampler


def _gathered(rows: ir.Value, corner: _Corner, batch: int, channels: int, points: int) -> ir.Value:
    """The elements of a corner in every channel, [N, C, points]."""
    return op.GatherElements(rows, op.Expand(corner.place, ints(batch, channels, points)), axis=2)


def _sampler_backward(sides: int) -> Callable[..., tuple[ir.Value, ir.Value]]:
    def grid_sampler_backward(
        dy: ir.Value, x: ir.Value, grid: ir.Value, mode: int, border: int, corners: bool, output_mask: Sequence[bool]
    ) -> tuple[ir.Value, ir.Value]:
        """grid_sampler_2d_backward -> elements added at each corner, and the derivative by the positions."""
        if _MODES[mode] == "bicubic":
            raise ValueError("the gradient of a bicubic grid_sample has no form; use mode='bilinear'")
        nearest = _MODES[mode] == "nearest"
        batch, channels, *size = static_shape(x)
        out = static_shape(grid)[1:-1]
        points, plane = math.prod(out), math.prod(size)
        along = _sides(x, grid, _BORDERS[border], corners, nearest)
        rows, gradient = op.Reshape(x, ints(batch, channels, plane)), op.Reshape(dy, ints(batch, channels, points))
        dx = op.ConstantOfShape(ints(batch, channels, plane), value=ir.tensor(np.zeros(1, element_type(x))))
        slopes: list[list[ir.Value]] = [[] for _ in along]
        for corner in _corners(along, x, nearest):
            weight = corner.inside if nearest else op.Mul(corner.inside, _product(corner.weights))
            if output_mask[0]:
                where = op.Expand(corner.place, ints(batch, channels, points))
                dx = op.ScatterElements(dx, where, op.Mul(gradient, weight), axis=2, reduction="add")
            if output_mask[1] and not nearest:
                there = op.Mul(_gathered(rows, corner, batch, channels, points), gradient)
                total = op.Mul(op.ReduceSum(there, ints(1), keepdims=1), corner.inside)
                for side in range(sides):
                    others = [w for at, w in enumerate(corner.weights) if at != side]
                    slope = _product([total, *others])
                    slopes[side].append(slope if corner.upper[side] else op.Neg(slope))
        return (
            op.Reshape(dx, ints(*static_shape(x))) if output_mask[0] else unrequested(),
            _grid_gradient(grid, along, slopes) if output_mask[1] else unrequested(),
        )

    return grid_sampler_backward


def _grid_gradient(grid: ir.Value, along: Sequence[_Side], slopes: Sequence[Sequence[ir.Value]]) -> ir.Value:
    """The gradient for the grid from the derivatives by the positions, of which there are none for the nearest."""
    shape = static_shape(grid)
    if not any(slopes):
        return op.ConstantOfShape(ints(*shape), value=ir.tensor(np.zeros(1, element_type(grid))))
    parts = [
        op.Reshape(op.Mul(op.Sum(*of_side), side.slope), ints(*shape[:-1], 1))
        for side, of_side in zip(along, slopes, strict=True)
    ]
    return op.Concat(*reversed(parts), axis=len(shape) - 1)


def _base_grid(size: Sequence[int], corners: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The grid that samples each element of an image, with ones: [points, sides + 1], the last side first."""
    along = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in size]
    if not corners:
        along = [line * (n - 1) / n for line, n in zip(along, size, strict=True)]
    mesh = np.meshgrid(*along, indexing="ij")
    return np.stack([*(part.ravel() for part in reversed(mesh)), np.ones(math.prod(size))], axis=1)


def affine_grid(theta: ir.Value, size: Sequence[int], corners: bool) -> ir.Value:
    """affine_grid_generator -> a constant grid times ``theta`` transposed."""
    base = array(_base_grid(size[2:], corners), theta)
    grid = op.MatMul(base, op.Transpose(theta, perm=[0, 2, 1]))
    return op.Reshape(grid, ints(size[0], *size[2:], len(size) - 2))


SAMPLING: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten.grid_sampler_2d.default: _sampler(2),
    _aten.grid_sampler_3d.default: _sampler(3),
    _aten.grid_sampler_2d_backward.default: _sampler_backward(2),
    _aten.grid_sampler_3d_backward.default: _sampler_backward(3),
    _aten.affine_grid_generator.default: affine_grid,
}
"""aten operation of sampling to the function that writes it in ONNX."""
