"""Values that are known before a run: small constants, sizes of known shapes, and what is computed from these.

Numbers of iterations, sizes of splits and axes are often computed: a shape, an element of it, a product. Such nodes are
evaluated by onnx's reference implementation, tensor by tensor and only while they are small.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["Values", "computed_values", "constants_of", "opset_of"]

Values = Mapping[str, NDArray[np.generic]]
"""Tensors whose values are known before a run, by name."""

_LARGEST = 1024
"""Elements of the largest tensor that is read: counts, lengths and axes are small."""

_COMPUTED = frozenset(
    {"Abs", "Add", "And", "Cast", "Ceil", "Concat", "Div", "Equal", "Floor", "Gather", "Greater", "GreaterOrEqual"}
    | {"Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "ReduceMax", "ReduceMin"}
    | {"ReduceProd", "ReduceSum", "Reshape", "Slice", "Squeeze", "Sub", "Unsqueeze", "Where"}
)
"""Ops whose results are computed where all inputs are known: the arithmetic of sizes."""


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the default domain."""
    return next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), 1)


def constants_of(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """The values of a graph's small initializers and constants, by name."""
    constants = {}
    for tensor in graph.initializer:
        value = _array(tensor)
        if value is not None:
            constants[tensor.name] = value
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and node.attribute:
            attribute = node.attribute[0]
            value = _array(attribute.t) if attribute.type == onnx.AttributeProto.TENSOR else None
            if attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
                value = np.asarray(onnx.helper.get_attribute_value(attribute))
            if value is not None:
                constants[node.output[0]] = value
    return constants


def array_of(tensor: onnx.TensorProto) -> np.ndarray | None:
    """The values of a tensor; None for a type that numpy lacks, or data that are not there or of another size."""
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError):
        return None


def _array(tensor: onnx.TensorProto) -> np.ndarray | None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.data_type == onnx.TensorProto.STRING:
        return None
    if int(np.prod(tensor.dims, dtype=np.int64)) > _LARGEST:
        return None
    return array_of(tensor)


def computed_values(node: onnx.NodeProto, values: Values, opset: int) -> dict[str, NDArray[np.generic]]:
    """The results of a node whose inputs are all known; none where that is not so, or the op is not one of sizes.

    Args:
        node: The node.
        values: What is known.
        opset: Version of the default domain.
    """
    given = {name: np.asarray(values[name]) for name in node.input if name in values}
    if node.op_type not in _COMPUTED or node.domain not in ("", "ai.onnx") or len(given) < len(set(node.input) - {""}):
        return {}
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    graph = onnx.helper.make_graph([node], "one", inputs, [onnx.ValueInfoProto(name=n) for n in node.output if n])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        from onnx.reference import ReferenceEvaluator  # half a second that most graphs do not need

        results = ReferenceEvaluator(model).run(None, given)
    except (ArithmeticError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return {}  # what the reference cannot compute is as good as not known
    made = zip((n for n in node.output if n), results, strict=True)
    return {name: np.asarray(value) for name, value in made if np.size(value) <= _LARGEST}
