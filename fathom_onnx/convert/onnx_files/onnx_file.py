"""The last step of a conversion to ONNX: the statement is added to the metadata, the model checked and serialised."""

from __future__ import annotations

import json
from dataclasses import replace

import onnx

from fathom_onnx.convert.account import statement
from fathom_onnx.convert.converter import ONNX_SUFFIX, Content, Conversion, ConversionRequest
from fathom_onnx.errors import GraphError, one_line
from fathom_onnx.graph import Graph, GraphMetadata
from fathom_onnx.graph.loading.checking import check
from fathom_onnx.graph.loading.inference import inferred
from fathom_onnx.graph.loading.reading import LARGEST_BYTES
from fathom_onnx.graph.loading.values import VALUES_FILE, pack_values

__all__ = ["INITIALIZERS_ALONE", "KEY", "copy_of", "dense", "finish"]

KEY = "fathom_onnx.conversion"
"""The key of the statement in a converted model's metadata."""


INITIALIZERS_ALONE = 4
"""The first version of the file format in which an initializer need not be an input as well."""


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model, to be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def finish(
    model: onnx.ModelProto, graph: Graph, format_name: str, request: ConversionRequest, conversion: Conversion
) -> Conversion:
    """The conversion with the model as its ``.onnx`` file; the statement is added to the model's metadata.

    Stored values that the model still takes go into a file beside it.

    Raises:
        GraphError: The model is not valid, or too large for one file.
    """
    files = _stored(model, graph, request.stem)
    kept = [(p.key, p.value) for p in model.metadata_props if p.key != KEY]
    del model.metadata_props[:]
    text = json.dumps(statement(graph, format_name, request, conversion), separators=(",", ":"), sort_keys=True)
    for key, value in [*kept, (KEY, text)]:
        model.metadata_props.add(key=key, value=value)
    if model.ByteSize() > LARGEST_BYTES:
        raise GraphError(
            f"graph '{graph.name}' is {model.ByteSize() / 1e9:.1f} GB with its weights and cannot be one file",
            "give it without them: parameters as inputs",
        )
    try:
        plain = dense(model)
        check(plain)
        inferred(plain, strict=True, follow=False)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise GraphError(f"graph '{graph.name}' cannot be converted to {format_name} ({one_line(error)})") from error
    return replace(
        conversion, files={ONNX_SUFFIX: model.SerializeToString(deterministic=True), **conversion.files, **files}
    )


def _stored(model: onnx.ModelProto, graph: Graph, stem: str) -> dict[str, Content]:
    """The file of the stored values among a model's inputs, by its suffix; the model's metadata then name it."""
    metadata = GraphMetadata.read(model)
    if metadata is None or not graph.stored_values:
        return {}
    needed = {value.name for value in model.graph.input}
    values = {name: value for name, value in graph.stored_values.items() if name in needed}
    name = f"{stem}.{VALUES_FILE}"
    content, digest = pack_values(f"{stem}{ONNX_SUFFIX}", values)
    replace(metadata, values=name if values else "", values_sha256=digest if values else "").write(model)
    return {f".{VALUES_FILE}": content} if values else {}


def dense(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with external and sparse tensors as inputs, of which only the shapes are known.

    The checker would look for the data of the former, and inference does not know the latter.
    """
    external = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    given = {t.name: (t.data_type, list(t.dims)) for t in external}
    given |= {t.values.name: (t.values.data_type, list(t.dims)) for t in model.graph.sparse_initializer}
    if not given:
        return model
    plain = copy_of(model)
    internal = [t for t in plain.graph.initializer if t.name not in given]
    del plain.graph.initializer[:], plain.graph.sparse_initializer[:]
    plain.graph.initializer.extend(internal)
    known = {i.name for i in plain.graph.input}
    plain.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, *kind) for name, kind in given.items() if name not in known
    )
    return plain
