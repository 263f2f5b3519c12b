"""The original graph with the shapes of a run, where inference from the model alone knows none."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Mapping

import onnx

from fathom_onnx.graph import Graph, Tensor
from fathom_onnx.graph.bodies import all_graphs, all_nodes, outputs_of
from fathom_onnx.graph.loading.inference import inferred
from fathom_onnx.graph.tensors import declared_tensor

__all__ = ["with_recorded_shapes"]

_SMALL = 1024
"""Elements up to which the values of an initializer can matter to shapes and costs."""


def with_recorded_shapes(graph: Graph, recorded: Mapping[str, Tensor]) -> Graph:
    """A graph whose unknown shapes are those of a run, and what follows from these; for counting, not for running.

    Args:
        graph: The original graph; it is not changed.
        recorded: Tensors of the run by name; a tensor that kept its name holds what it holds in the original.
    """
    makers = Counter(name for node in all_nodes(graph.model.graph.node) for name in outputs_of(node))
    told = {name: tensor for name, tensor in recorded.items() if makers[name] == 1 and tensor.shape is not None}
    model = _without_weights(graph.model)
    for part in all_graphs(model.graph):
        made = [name for node in part.node for name in outputs_of(node) if name in told]
        declared = {info.name: info for info in [*part.value_info, *part.output]}
        for name in made:
            info = declared.get(name)
            if info is None:
                info = part.value_info.add(name=name)
            if info.type.WhichOneof("value") in (None, "tensor_type") and declared_tensor(info).shape is None:
                _set(info, told[name])
    # where inference finds a contradiction, what the trace tells stands without what would follow from it
    with contextlib.suppress(onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        model = inferred(model)
    return Graph(model, graph.name)


def _set(info: onnx.ValueInfoProto, tensor: Tensor) -> None:
    kind = info.type.tensor_type
    if not kind.elem_type:
        kind.elem_type = _onnx_type(tensor.dtype)
    kind.shape.Clear()
    kind.shape.SetInParent()
    for size in tensor.shape or ():
        kind.shape.dim.add().dim_value = size


def _onnx_type(dtype: str) -> int:
    """The ONNX number of an element type; undefined for a type that it does not have."""
    name = {"float32": "FLOAT", "float64": "DOUBLE", "object": "STRING"}.get(dtype, dtype.upper().replace("_", ""))
    return int(dict(onnx.TensorProto.DataType.items()).get(name, onnx.TensorProto.UNDEFINED))


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model without the values of its large initializers, so that it takes no memory."""
    copy = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    copy.metadata_props.extend(model.metadata_props)
    graph = copy.graph
    graph.name = model.graph.name
    for field in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(graph, field).extend(getattr(model.graph, field))
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL:
            graph.initializer.append(tensor)
        else:
            place = onnx.TensorProto.EXTERNAL
            graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, data_location=place)
    return copy
