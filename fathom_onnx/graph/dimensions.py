"""Open dimensions: dimensions of a graph's inputs that have a name, or nothing, in the place of a size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import onnx

from fathom_onnx.errors import GraphError, UnknownNameError

from .bodies import all_graphs

__all__ = ["GivenSize", "OpenDimension", "fix_dimensions", "open_dimensions", "reopen"]


class OpenDimension(NamedTuple):
    """A dimension without a size: its label for ``--dim``, the input, the axis, and the dimension in the model."""

    label: str
    input: str
    axis: int
    dimension: onnx.TensorShapeProto.Dimension


class GivenSize(NamedTuple):
    """A dimension that a model leaves open and that was given a size: its label, the input, the axis and the size."""

    label: str
    input: str
    axis: int
    size: int


def reopen(graph: onnx.GraphProto, given: Iterable[GivenSize]) -> None:
    """Open dimensions of a graph's inputs that were given a size, in place; shapes that followed from them go."""
    inputs = {value.name: value for value in graph.input}
    for dimension in given:
        inputs[dimension.input].type.tensor_type.shape.dim[dimension.axis].dim_param = dimension.label
    for part in all_graphs(graph):
        del part.value_info[:]
        for value in part.output:
            if value.type.WhichOneof("value") == "tensor_type":
                value.type.tensor_type.ClearField("shape")


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


def fix_dimensions(model: onnx.ModelProto, dimensions: Mapping[str, int], name: str, *, all_of_them: bool) -> bool:
    """Give sizes to a model's open dimensions, in place.

    Args:
        model: The model.
        dimensions: Sizes by label.
        name: The graph's name, for errors.
        all_of_them: Whether every open dimension must get a size.

    Returns:
        Whether there were any to give.

    Raises:
        GraphError: An open dimension has no size, though all must have one.
        UnknownNameError: ``dimensions`` names one that the graph does not have.
    """
    dynamic = list(open_dimensions(model.graph))
    known = list(dict.fromkeys(dimension.label for dimension in dynamic))
    for label in dimensions:
        if label not in known:
            raise UnknownNameError("dynamic dimension", label, known)
    for label, tensor_name, _, dimension in dynamic:
        if label not in dimensions and not all_of_them:
            continue
        if label not in dimensions:
            raise GraphError(
                f"graph '{name}' has a dynamic dimension '{label}' of input '{tensor_name}' and no value for it",
                f"give one with --dim {label}=N",
            )
        dimension.dim_value = dimensions[label]
    return bool(dynamic) and (all_of_them or bool(dimensions))
