"""Shapes of the outputs of operators that only onnxruntime has: its own inference, asked by building a session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
from onnx.external_data_helper import uses_external_data

__all__ = ["shapes_by_onnxruntime"]

_SMALL_BYTES = 1024
_FOLDED_BYTES = "16777216"
"""Constants that onnxruntime computes may be so large and no larger: shapes depend on small ones."""

_FATAL_ONLY = 4


def shapes_by_onnxruntime(model: onnx.ModelProto, names: Iterable[str]) -> list[onnx.ValueInfoProto]:
    """Types and shapes of tensors of a model as onnxruntime infers them; nothing runs, and no weight is read.

    Args:
        model: The model; shapes that it declares for tensors between nodes would be believed in part.
        names: Tensors of the top-level graph.

    Returns:
        The tensors of which something is known, as ``value_info``; none where onnxruntime is not installed or refuses
        the model (for an operator of someone's own library). onnxruntime does not tell a scalar from a tensor
        of which nothing is known, so that scalars are not among them.
    """
    try:
        import onnxruntime
    except ImportError:
        return []
    options = onnxruntime.SessionOptions()
    # constants are folded, which shapes may depend on; every tensor asked for is an output and so stays
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", _FOLDED_BYTES)
    options.log_severity_level = _FATAL_ONLY
    try:
        data = _exposing(model, names).SerializeToString()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception:  # whatever is wrong with it is said when it is to run
        return []
    return [value for output in session.get_outputs() if (value := _value_info(output)) is not None]


def _exposing(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """The model with tensors as outputs, and with its weights as inputs, so that it needs no values of them."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    graph = exposed.graph
    large = [t for t in graph.initializer if uses_external_data(t) or t.ByteSize() > _SMALL_BYTES]
    moved = {tensor.name for tensor in large}
    inputs = {value.name for value in graph.input}
    weights = [
        onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large if t.name not in inputs
    ]
    kept = [tensor for tensor in graph.initializer if tensor.name not in moved]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.input.extend(weights)
    del graph.output[:]
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return exposed


def _value_info(output: Any) -> onnx.ValueInfoProto | None:
    """One of a session's outputs as ``value_info``; None where it is no tensor with a known number of dimensions."""
    kind = _ELEMENT_TYPES.get(output.type)
    if kind is None or not output.shape:
        return None
    return onnx.helper.make_tensor_value_info(output.name, kind, output.shape)


_ELEMENT_TYPES: dict[str, int] = {
    f"tensor({name.lower()})": kind for name, kind in onnx.TensorProto.DataType.items() if name != "UNDEFINED"
}
"""onnxruntime's name of a tensor's type to its element type."""
