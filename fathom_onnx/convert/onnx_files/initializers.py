"""Conversion of parameters to initializers, with their values in a file beside the graph.

In an inference graph all variables (parameters, running statistics) become initializers and are no longer inputs. In a
training graph only the parameters become initializers, and they also stay inputs: an initializer is then the default of
an input, and a step can still be fed the parameters of the step before. Running statistics, optimizer state and frozen
copies stay inputs only.

What may be axes, sizes or scales stands in the model itself: integers of a kilobyte at most, and what resizes or
counts. onnxruntime's inference of shapes reads the values of these, and from there alone.

With ``values=zero`` the file is a hole of the right size, which takes no space on a file system with sparse files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import onnx
from onnx import numpy_helper

from fathom_onnx.convert.account import account
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph, GraphMetadata
from fathom_onnx.runtime.prepare import INLINE_BYTES
from fathom_onnx.runtime.value_files import ValueFile
from fathom_onnx.workloads.contract import Array, Variable

from .onnx_file import INITIALIZERS_ALONE, copy_of, finish

__all__ = ["convert"]

_ALIGNMENT = 4096
"""Offsets are multiples of a page, so that a runtime can map tensors into memory (advised by the ONNX format)."""

_OF_SHAPES = ("Resize", "Upsample", "Range")
"""Op types with inputs of floats, after the first, that say how large their outputs are."""

DATA_SUFFIX = ".onnx.data"

ValueSource = Callable[[Variable], Array | None]
"""From a variable to its values, or None for zeros."""


def _variables(graph: Graph) -> tuple[GraphMetadata, list[Variable]]:
    """The graph's metadata, and the variables that become initializers."""
    if graph.metadata is None:
        raise GraphError(
            f"graph '{graph.name}' does not say which inputs are its parameters",
            "give a graph of ours; other graphs have their parameters as initializers already",
        )
    inputs = {t.name for t in graph.inputs}
    names = set(graph.metadata.parameters) if graph.training else inputs
    chosen = [v for v in graph.metadata.variables if v.name in names and v.name in inputs]
    if not chosen:
        raise GraphError(f"graph '{graph.name}' has no parameters as inputs", "they are initializers already")
    return graph.metadata, chosen


def _source(graph: Graph, request: ConversionRequest, variables: list[Variable]) -> ValueSource:
    values, seed = str(request.options["values"]), int(request.options["seed"] or 0)
    if values == "zero":
        return lambda variable: None
    if values == "seed":
        stored = graph.stored_values
        return lambda v: stored[v.name] if v.name in stored else v.initial_value(seed)
    return ValueFile(Path(values), variables).read


def _external_tensor(variable: Variable, location: str, offset: int, length: int) -> onnx.TensorProto:
    tensor = onnx.TensorProto(
        name=variable.name,
        dims=variable.shape,
        data_type=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(variable.dtype)),
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, text in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=text)
    return tensor


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """A graph with its parameters as initializers.

    Raises:
        GraphError: The metadata does not say which inputs are parameters, or none is one.
        DataError: The given values do not fit the parameters.
    """
    metadata, variables = _variables(graph)
    source = _source(graph, request, variables)
    model = copy_of(graph.model)
    offsets: list[tuple[Variable, int]] = []
    end = 0
    of_shapes = {name for node in model.graph.node if node.op_type in _OF_SHAPES for name in node.input[1:]}
    for variable in variables:
        size = variable.elements * np.dtype(variable.dtype).itemsize
        if size <= INLINE_BYTES and (np.dtype(variable.dtype).kind in "iu" or variable.name in of_shapes):
            value = source(variable)
            value = np.zeros(variable.shape, variable.dtype) if value is None else value
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), variable.name))
            continue
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        model.graph.initializer.append(_external_tensor(variable, request.stem + DATA_SUFFIX, offset, size))
        offsets.append((variable, offset))
        end = offset + size
    if not graph.training:
        model.ir_version = max(model.ir_version, INITIALIZERS_ALONE)
        names = {v.name for v in variables}
        kept = [i for i in model.graph.input if i.name not in names]
        del model.graph.input[:]
        model.graph.input.extend(kept)
        replace(metadata, variables=tuple(v for v in metadata.variables if v.name not in names)).write(model)

    def write(file: IO[bytes]) -> None:
        for variable, offset in offsets:
            value = source(variable)
            if value is not None and value.any():  # a hole reads as zeros
                file.seek(offset)
                file.write(np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).data)
        file.truncate(end)

    sums = account(graph, {})
    elements = sum(v.elements for v in variables)
    what = "parameters" if graph.training else "parameters and running statistics"
    notes = [f"{len(variables)} {what} of {elements} elements are initializers."]
    if graph.training:
        notes.append("They are inputs as well; running statistics and optimizer state are inputs only.")
    if request.options["values"] == "zero":
        notes.append("Every value is zero: shapes and sizes are right, results are not.")
    conversion = Conversion({DATA_SUFFIX: write}, sums.kept, sums.total, sums.left_out, tuple(notes))
    return finish(model, graph, "initializers", request, conversion)
