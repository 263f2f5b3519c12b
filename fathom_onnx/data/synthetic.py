"""Synthetic data: values drawn from a distribution, for any input of any graph; they have no meaning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Draw

from .contract import Batch, BatchRequest, RequestedTensor, generator

__all__ = ["default_draw", "open_synthetic"]


def default_draw(dtype: str) -> Draw:
    """The distribution of an input of which only the type is known.

    Floating-point values are standard normal. Integers are 0 or 1, since they may be indices: every axis that a graph
    can index has a first element, and nearly every one a second. Booleans are drawn alike.

    Raises:
        DataError: The type is not numeric, such as a string.
    """
    try:
        kind = np.dtype(dtype).kind if dtype else "O"
    except TypeError:  # a type that numpy itself does not have
        kind = "O"
    if kind == "f":
        return Draw("normal")
    if kind in "iub":
        return Draw("integers", 0, 2)
    raise DataError(f"no values can be drawn for type '{dtype or 'unknown'}'", "give a graph with numeric inputs")


def _draw(request: BatchRequest, spec: RequestedTensor) -> Draw:
    return request.draws.get(spec.name) or default_draw(spec.dtype)


def open_synthetic(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of drawn values; each input has its own random number generator.

    Raises:
        DataError: An input is not of a numeric type.
    """
    streams = {spec.name: generator(request.seed, f"synthetic:{spec.name}") for spec in request.specs}
    drawn = [(spec, _draw(request, spec)) for spec in request.specs]
    while True:
        yield {spec.name: draw.sample(spec.shape, spec.dtype, streams[spec.name]) for spec, draw in drawn}
