"""Open dimensions: dimensions of a graph's inputs that have a name, or nothing, in the place of a size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import onnx

__all__ = ["OpenDimension", "open_dimensions"]


class OpenDimension(NamedTuple):
    """A dimension without a size: its label for ``--dim``, the input, the axis, and the dimension in the model."""

    label: str
    input: str
    axis: int
    dimension: onnx.TensorShapeProto.Dimension


def open_dimensions(graph: onnx.GraphProto) -> Iterator[OpenDimension]:
    """The open dimensions of the inputs that a run must feed (not those with an initializer).

    A dimension with a symbolic name is labelled by it, any other as ``input.axis``.
    """
    initialized = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.name in initialized:
            continue
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if not dimension.HasField("dim_value"):
                label = dimension.dim_param or f"{value.name}.{axis}"
                yield OpenDimension(label, value.name, axis, dimension)
