"""The open dimensions of a model, found and filled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import onnx

from fathom_onnx.errors import GraphError
from fathom_onnx.graph.bodies import all_graphs

from .sizes import command_line, solve_sizes

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

    A dimension with a name or an expression is labelled by that, any other as ``input.axis``.
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
        dimensions: Sizes by name, for whole expressions, or by ``input.axis`` where a dimension has no name.
        name: The graph's name, for errors.
        all_of_them: Whether every open dimension must get a size.

    Returns:
        Whether there were any to give.

    Raises:
        GraphError: An open dimension has no size, though all must have one.
        UnknownNameError: ``dimensions`` names one that the graph does not have.
        UsageError: A size cannot be, or contradicts another.
    """
    dynamic = list(open_dimensions(model.graph))
    sizes = solve_sizes([dimension.label for dimension in dynamic], dimensions)
    if all_of_them and sizes.missing:
        first = {dimension.label: dimension.input for dimension in reversed(dynamic)}
        raise _without_a_size(name, {label: first[label] for label in sizes.missing}, sizes.missing)
    for label, _, _, dimension in dynamic:
        if label in sizes.known:
            dimension.dim_value = sizes.known[label]
    return bool(sizes.known)


def _without_a_size(graph: str, inputs: Mapping[str, str], names: Mapping[str, tuple[str, ...]]) -> GraphError:
    """The error for open dimensions without a size: the first input of each, and the names that each needs."""
    asked = list(dict.fromkeys(name for needed in names.values() for name in needed))
    if len(inputs) == 1 and len(asked) == 1:
        ((label, tensor),) = inputs.items()
        return GraphError(
            f"graph '{graph}' has a dynamic dimension '{label}' of input '{tensor}' and no value for it",
            f"give one with {command_line(asked)}",
        )
    listed = ", ".join(f"'{label}' of input '{tensor}'" for label, tensor in inputs.items())
    return GraphError(
        f"graph '{graph}' has dynamic dimensions without a value: {listed}", f"give them with {command_line(asked)}"
    )
