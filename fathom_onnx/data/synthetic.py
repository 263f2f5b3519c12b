"""Drawn values: any input of any graph, without meaning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Draw

from .contract import Batch, BatchRequest, RequestedTensor, generator

__all__ = ["default_draw", "open_synthetic"]


def default_draw(dtype: str) -> Draw:
    """How an input is drawn that nothing is known of but its type.

    Floating-point values are standard normal. Whole numbers are 0 or 1: they may be indices, and every axis that a
    graph can index has a first element, nearly every one a second. So are booleans.

    Raises:
        DataError: A type that has no numbers, such as a string.
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
    """Endless batches of drawn values; each input has random numbers of its own.

    Raises:
        DataError: An input without a numeric type.
    """
    streams = {spec.name: generator(request.seed, f"synthetic:{spec.name}") for spec in request.specs}
    drawn = [(spec, _draw(request, spec)) for spec in request.specs]
    while True:
        yield {spec.name: draw.sample(spec.shape, spec.dtype, streams[spec.name]) for spec, draw in drawn}
