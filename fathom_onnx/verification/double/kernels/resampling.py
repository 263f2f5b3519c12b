"""Resizing, along one axis after the other, and sampling on a grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from fathom_onnx.workloads.contract import Array

from ..numbers import unrounded
from .define import operator

__all__ = ["OPERATORS"]


def _positions(mode: str, scale: float, size: int, target: int, region: tuple[float, float]) -> Array:
    """Where in an axis of ``size`` each of ``target`` elements lies."""
    x = np.arange(target, dtype=np.float64)
    if mode == "align_corners":
        return x * (size - 1) / (target - 1) if target != 1 else 0 * x
    if mode == "asymmetric":
        return x / scale
    if mode == "tf_crop_and_resize":
        start, end = region
        if target == 1:
            return x + (start + end) * (size - 1) / 2
        return start * (size - 1) + x * (end - start) * (size - 1) / (target - 1)
    if mode == "pytorch_half_pixel" and target == 1:
        return 0 * x
    shift = size / 2 * (1 - target / (scale * size)) if mode == "half_pixel_symmetric" else 0.0
    return shift + (x + 0.5) / scale - 0.5


def _cubic(distance: Array, a: float) -> Array:
    """Keys' cubic kernel."""
    d = np.abs(distance)
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _round(x: Array, mode: str) -> Array:
    if mode == "floor":
        return np.floor(x)
    if mode == "ceil":
        return np.ceil(x)
    return np.floor(x + 0.5) if mode == "round_prefer_ceil" else np.ceil(x - 0.5)


def _matrix(x: Array, size: int, kind: str, scale: float, options: dict[str, Any]) -> Array:
    """Weights [target, size] of the elements of an axis for positions in it."""
    target = len(x)
    made = np.zeros((target, size))
    rows = np.arange(target)
    if kind == "nearest":
        made[rows, np.clip(_round(x, options["nearest_mode"]), 0, size - 1).astype(int)] = 1
        return made
    if kind == "linear" and not options["antialias"]:
        x = np.clip(x, 0, size - 1)
    stretch = max(1.0, 1 / scale) if options["antialias"] else 1.0
    reach = (1 if kind == "linear" else 2) * stretch
    taps = np.floor(x)[:, None] + np.arange(-int(np.ceil(reach)) + 1, int(np.ceil(reach)) + 1)
    distance = (taps - x[:, None]) / stretch
    a = options["cubic_coeff_a"]
    weights = np.maximum(1 - np.abs(distance), 0) if kind == "linear" else _cubic(distance, a)
    if options["exclude_outside"] or options["antialias"]:
        weights = np.where((taps >= 0) & (taps < size), weights, 0)
    if options["exclude_outside"] or options["antialias"]:
        weights = weights / weights.sum(1, keepdims=True)
    np.add.at(made, (rows[:, None], np.clip(taps, 0, size - 1).astype(int)), weights)
    return made


def _resize(
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
    *,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str | None = "half_pixel",
    keep_aspect_ratio_policy: str | None = "stretch",
    mode: str | None = "nearest",
    extrapolation_value: float | None = 0.0,
    **attributes: Any,
) -> Array:
    named = list(range(x.ndim)) if not axes else [a % x.ndim for a in axes]
    options = {
        "nearest_mode": attributes.get("nearest_mode") or "round_prefer_floor",
        "cubic_coeff_a": -0.75 if attributes.get("cubic_coeff_a") is None else attributes["cubic_coeff_a"],
        "exclude_outside": attributes.get("exclude_outside"),
        "antialias": attributes.get("antialias"),
    }
    if sizes is not None and sizes.size:
        targets = [int(n) for n in sizes]
        factors = [n / x.shape[a] for n, a in zip(targets, named, strict=True)]
        if keep_aspect_ratio_policy in ("not_larger", "not_smaller"):
            factor = (min if keep_aspect_ratio_policy == "not_larger" else max)(factors)
            factors = [factor] * len(named)
            targets = [int(np.floor(factor * x.shape[a] + 0.5)) for a in named]
    else:
        assert scales is not None
        factors = [unrounded(float(s)) for s in scales]
        # in float32, as onnxruntime multiplies: 0.7 * 10 must not be rounded down to 6
        targets = [int(np.floor(np.float32(s) * np.float32(x.shape[a]))) for s, a in zip(factors, named, strict=True)]
    region = coordinate_transformation_mode == "tf_crop_and_resize" and roi is not None and roi.size
    outside = np.zeros((1,) * x.ndim, bool)
    y = x
    for i, (axis, factor, target) in enumerate(zip(named, factors, targets, strict=True)):
        size = x.shape[axis]
        if target == size and factor == 1 and not region:
            continue
        part = (float(roi[i]), float(roi[len(named) + i])) if region and roi is not None else (0.0, 1.0)
        at = _positions(coordinate_transformation_mode or "half_pixel", factor, size, target, part)
        if region:
            shape = [1] * x.ndim
            shape[axis] = -1
            outside = outside | ((at < 0) | (at > size - 1)).reshape(shape)
        weights = _matrix(at, size, mode or "nearest", factor, options)
        y = np.moveaxis(np.tensordot(weights, y, (1, axis)), 0, axis)
    if outside.any():
        y = np.where(outside, extrapolation_value or 0.0, y)
    return y.astype(x.dtype)


def _reflect(x: Array, low: float, high: float) -> Array:
    """Positions mirrored at both ends until they lie between them."""
    length = high - low
    if length <= 0:
        return 0 * x
    folded = np.mod(x - low, 2 * length)
    return low + np.minimum(folded, 2 * length - folded)


def _within(x: Array, size: int, padding: str, corners: bool) -> Array:
    if padding == "border":
        return np.clip(x, 0, size - 1)
    if padding == "reflection":
        low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
        return np.clip(_reflect(x, low, high), 0, size - 1)
    return x


def _grid_sample(
    x: Array,
    grid: Array,
    *,
    align_corners: int | None = 0,
    mode: str | None = "linear",
    padding_mode: str | None = "zeros",
    **_: Any,
) -> Array:
    kind = {"bilinear": "linear", "bicubic": "cubic"}.get(mode or "linear", mode or "linear")
    padding, corners = padding_mode or "zeros", bool(align_corners)
    sizes = x.shape[2:]
    rank = len(sizes)
    places, factors = [], []
    for axis, size in enumerate(sizes):
        g = grid[..., rank - 1 - axis]  # the grid names the last axis first
        at = (g + 1) / 2 * (size - 1) if corners else ((g + 1) * size - 1) / 2
        if kind != "cubic":
            at = _within(at, size, padding, corners)
        if kind == "nearest":
            taps = np.rint(at)[None]
            weights = np.ones_like(taps)
        else:
            steps = np.arange(2) if kind == "linear" else np.arange(-1, 3)
            taps = np.floor(at)[None] + steps.reshape(-1, *[1] * at.ndim)
            weights = 1 - np.abs(taps - at) if kind == "linear" else _cubic(taps - at, -0.75)
        if padding == "zeros":
            weights = np.where((taps >= 0) & (taps < size), weights, 0)
            taps = np.clip(taps, 0, size - 1)
        places.append(_within(taps, size, padding, corners).round().astype(int).clip(0, size - 1))
        factors.append(weights)
    batch = np.arange(x.shape[0]).reshape(-1, *[1] * rank)
    y = np.zeros((x.shape[0], *grid.shape[1:-1], x.shape[1]), x.dtype)
    channels_last = np.moveaxis(x, 1, -1)
    for taps in itertools.product(*(range(len(p)) for p in places)):
        weight = np.prod([f[t] for f, t in zip(factors, taps, strict=True)], axis=0)
        picked = channels_last[(batch, *(p[t] for p, t in zip(places, taps, strict=True)))]
        y += weight[..., None] * picked
    return np.ascontiguousarray(np.moveaxis(y, -1, 1))


OPERATORS = (operator("Resize", _resize), operator("GridSample", _grid_sample))
"""The evaluator's GridSample knows the modes of opset 20 alone. Sizes from scales are rounded as onnxruntime does."""
