"""Gathering, scattering and padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fathom_onnx.workloads.contract import Array

from .define import operator

__all__ = ["OPERATORS"]

_AT: dict[str, Callable[[Array, Any, Array], None]] = {
    "add": np.add.at,
    "mul": np.multiply.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


def _scatter(data: Array, places: tuple[Array, ...], updates: Array, reduction: str | None) -> Array:
    made = data.copy()
    if reduction in (None, "none"):
        made[places] = updates  # the last of several updates of an element stays
    else:
        _AT[reduction](made, places, updates)  # all of them count
    return made


def _grid(indices: Array, axis: int) -> tuple[Array, ...]:
    """The places that indices along an axis name: their own positions along the others."""
    places = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    places[axis] = indices
    return tuple(places)


def _gather_elements(data: Array, indices: Array, *, axis: int | None = 0, **_: Any) -> Array:
    found: Array = data[_grid(indices, axis or 0)]
    return found


def _scatter_elements(
    data: Array, indices: Array, updates: Array, *, axis: int | None = 0, reduction: str | None = None, **_: Any
) -> Array:
    return _scatter(data, _grid(indices, axis or 0), updates, reduction)


def _split_index(indices: Array) -> tuple[Array, ...]:
    return tuple(indices[..., i] for i in range(indices.shape[-1]))


def _scatter_nd(data: Array, indices: Array, updates: Array, *, reduction: str | None = None, **_: Any) -> Array:
    return _scatter(data, _split_index(indices), updates, reduction)


def _gather_nd(data: Array, indices: Array, *, batch_dims: int | None = 0, **_: Any) -> Array:
    batch = batch_dims or 0
    rest = indices.ndim - 1 - batch
    own = [
        np.arange(n).reshape([-1 if j == i else 1 for j in range(batch)] + [1] * rest)
        for i, n in enumerate(indices.shape[:batch])
    ]
    found: Array = data[(*own, *_split_index(indices))]
    return found


def _pad(
    data: Array,
    pads: Array,
    value: Array | None = None,
    axes: Array | None = None,
    *,
    mode: str | None = "constant",
    **_: Any,
) -> Array:
    named = range(data.ndim) if axes is None else [int(a) % data.ndim for a in axes]
    half = len(pads) // 2
    sides = [(0, 0)] * data.ndim
    for i, axis in enumerate(named):
        sides[axis] = (int(pads[i]), int(pads[half + i]))
    cropped = data[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(data.shape, sides, strict=True))]
    grown = [(max(a, 0), max(b, 0)) for a, b in sides]
    if mode in (None, "constant"):
        fill = 0 if value is None or not value.size else value.reshape(-1)[0]
        return np.pad(cropped, grown, constant_values=fill)
    return np.pad(cropped, grown, mode=mode)  # type: ignore[call-overload,no-any-return]  # edge, reflect, wrap alike


def _one_hot(indices: Array, depth: Array, values: Array, *, axis: int | None = -1, **_: Any) -> Array:
    size = int(np.asarray(depth).reshape(-1)[0])
    place = np.asarray(indices).astype(np.int64)
    rank = place.ndim + 1
    where = (-1 if axis is None else axis) % rank
    shape = [1] * rank
    shape[where] = size
    wrapped = np.where(place < 0, place + size, place)
    hit = np.expand_dims(wrapped, where) == np.arange(size).reshape(shape)
    made: Array = np.where(hit, values[1], values[0])
    return made


OPERATORS = (
    operator("GatherElements", _gather_elements),
    operator("GatherND", _gather_nd),
    operator("ScatterElements", _scatter_elements),
    operator("ScatterND", _scatter_nd),
    operator("Pad", _pad),
    operator("OneHot", _one_hot),
)
"""The evaluator's take no indices smaller than the data, no negative pads, and are slow."""
