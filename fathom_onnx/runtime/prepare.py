"""Preparation: from a graph and values to the model and feeds that a session is built from.

For inference the parameter inputs become initializers, so that onnxruntime folds and fuses as it would in
deployment. Initializers above a kilobyte are not put into the protobuf, which cannot exceed 2 GB: the model only
declares them, and the values are handed over beside it. Those that a file keeps in files of its own stay there, and
onnxruntime maps these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import inputs_of
from fathom_onnx.graph.dimensions import reopen
from fathom_onnx.graph.static.values import array_of
from fathom_onnx.workloads.contract import Array

__all__ = ["INLINE_BYTES", "Prepared", "prepare"]

INLINE_BYTES = 1024
"""Initializers up to this size stand in the protobuf."""

_PLACE = "values-are-given-at-run-time"


@dataclass(frozen=True)
class Prepared:
    """A model with its large initializers beside it.

    Attributes:
        model: The model; initializers in ``values`` are declared as external data.
        values: Large initializers by name.
        state: (output, input) pairs that live over steps; none for inference.
        initial: Starting values of the state inputs.
        seed: Seed of the graph's own random ops.
        folder: Folder of the files of its external weights; None where it has none.
    """

    model: onnx.ModelProto
    values: dict[str, Array]
    state: tuple[tuple[str, str], ...]
    initial: dict[str, Array]
    seed: int = 0
    folder: Path | None = None


def _declare(name: str, value: Array, element_type: int) -> onnx.TensorProto:
    """An initializer whose data lies elsewhere."""
    declared = onnx.TensorProto(
        name=name, dims=value.shape, data_type=element_type, data_location=onnx.TensorProto.EXTERNAL
    )
    for key, text in (("location", _PLACE), ("offset", "0"), ("length", str(value.nbytes))):
        entry = declared.external_data.add()
        entry.key, entry.value = key, text
    return declared


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the initializers that nothing uses: onnxruntime does too, and then has no place for their values."""
    used = {name for node in graph.node for name in inputs_of(node)} | {value.name for value in graph.output}
    unused = {tensor.name for tensor in graph.initializer} - used
    for values in (graph.initializer, graph.input):
        kept = [value for value in values if value.name not in unused]
        if len(kept) < len(values):
            del values[:]
            values.extend(kept)


def _detach(graph: onnx.GraphProto) -> dict[str, Array]:
    """Take the large initializers out of a graph, leaving declarations."""
    values: dict[str, Array] = {}
    for position, tensor in enumerate(graph.initializer):
        if uses_external_data(tensor):
            continue
        if tensor.ByteSize() <= INLINE_BYTES or tensor.data_type == onnx.TensorProto.STRING:
            continue
        value = array_of(tensor)
        if value is None or value.dtype.isbuiltin != 1 or value.nbytes <= INLINE_BYTES:
            continue  # element types numpy lacks stay in the model, and data that onnxruntime will not take
        graph.initializer[position].CopyFrom(_declare(tensor.name, value, tensor.data_type))
        values[tensor.name] = value
    return values


def prepare(
    graph: Graph,
    values: Mapping[str, Array] | None = None,
    seed: int = 0,
    *,
    keep_dynamic: bool = False,
    fed: Collection[str] = (),
) -> Prepared:
    """What a session of ``graph`` is built from.

    Args:
        graph: Any graph.
        values: Values of its variables (see :func:`fathom_onnx.runtime.weights.variable_values`), by name.
        seed: Seed of the graph's own random ops.
        keep_dynamic: Whether dimensions that the file leaves open stay open, though they were given a size to feed.
        fed: Variables that no step changes and that stay inputs: what is fed may be another value in every step.

    Raises:
        GraphError: A variable has no value, or one of another shape.
    """
    variables = graph.metadata.variables if graph.metadata else ()
    given = dict(values or {})
    for variable in variables:
        value = given.get(variable.name)
        if value is None or value.shape != variable.shape:
            actual = "no value" if value is None else f"a value of shape {value.shape}"
            raise GraphError(f"variable '{variable.name}' {variable.shape} has {actual}", "give one value a variable")
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    if keep_dynamic:
        reopen(model.graph, graph.given_sizes)
    state = graph.metadata.state if graph.metadata else ()
    carried = {name for _, name in state}
    initial = {name: np.asarray(given[name], order="C") for _, name in state}
    # what no step changes is constant: parameters in inference, a frozen network in training
    fixed = [v for v in variables if v.name not in carried and v.name not in fed]
    names = {v.name for v in fixed}
    kept = [i for i in model.graph.input if i.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    large: dict[str, Array] = {}
    for variable in fixed:
        value = np.asarray(given[variable.name], order="C")
        if value.nbytes <= INLINE_BYTES:
            model.graph.initializer.append(numpy_helper.from_array(value, variable.name))
        else:
            element_type = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            model.graph.initializer.append(_declare(variable.name, value, element_type))
            large[variable.name] = value
    _drop_unused(model.graph)
    used = {tensor.name for tensor in model.graph.initializer}
    values = {name: value for name, value in {**_detach(model.graph), **large}.items() if name in used}
    return Prepared(model, values, state, initial, seed, graph.weights_folder)
