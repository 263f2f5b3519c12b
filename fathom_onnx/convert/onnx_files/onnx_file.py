"""The last step of a conversion to ONNX: the statement is added to the metadata, the model checked and serialised."""

from __future__ import annotations

import json
from dataclasses import replace

import onnx

from fathom_onnx.convert.account import statement
from fathom_onnx.convert.converter import ONNX_SUFFIX, Conversion, ConversionRequest
from fathom_onnx.errors import GraphError, one_line
from fathom_onnx.graph import Graph

__all__ = ["KEY", "copy_of", "finish"]

KEY = "fathom_onnx.conversion"
"""The key of the statement in a converted model's metadata."""

_LARGEST = 2**31 - 1
"""Largest size of a protobuf message, in bytes."""


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model, to be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def finish(
    model: onnx.ModelProto, graph: Graph, format_name: str, request: ConversionRequest, conversion: Conversion
) -> Conversion:
    """The conversion with the model as its ``.onnx`` file; the statement is added to the model's metadata.

    Raises:
        GraphError: The model is not valid, or too large for one file.
    """
    kept = [(p.key, p.value) for p in model.metadata_props if p.key != KEY]
    del model.metadata_props[:]
    text = json.dumps(statement(graph, format_name, request, conversion), separators=(",", ":"), sort_keys=True)
    for key, value in [*kept, (KEY, text)]:
        model.metadata_props.add(key=key, value=value)
    if model.ByteSize() > _LARGEST:
        raise GraphError(
            f"graph '{graph.name}' is {model.ByteSize() / 1e9:.1f} GB with its weights and cannot be one file",
            "give it without them: parameters as inputs",
        )
    try:
        onnx.checker.check_model(_without_external_data(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise GraphError(f"graph '{graph.name}' cannot be converted to {format_name} ({one_line(error)})") from error
    return replace(conversion, files={ONNX_SUFFIX: model.SerializeToString(deterministic=True), **conversion.files})


def _without_external_data(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with external tensors as inputs, since the checker would look for their data."""
    external = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if not external:
        return model
    checked = copy_of(model)
    names = {t.name for t in external}
    internal = [t for t in checked.graph.initializer if t.name not in names]
    del checked.graph.initializer[:]
    checked.graph.initializer.extend(internal)
    known = {i.name for i in checked.graph.input}
    for tensor in external:
        if tensor.name not in known:
            checked.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return checked
