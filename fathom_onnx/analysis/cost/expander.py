"""Model-local functions expanded for costs: each call as a graph of its own, with the shapes of the call.

:mod:`fathom_onnx.graph.functions` writes functions out for running, once for the whole model and without shapes. Here a
call is expanded alone, so that a model with open dimensions, or one that cannot run, still has the costs of its calls.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.inliner

from fathom_onnx.graph import Graph, Tensor
from fathom_onnx.graph.loading.inference import inferred
from fathom_onnx.graph.static.values import Values

__all__ = ["Expander"]

_IR_WITH_FUNCTIONS = 8


class Expander:
    """Expands the calls of a model's functions.

    Args:
        model: The model.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._names = {(f.domain, f.name) for f in model.functions}
        self._seen: dict[object, Graph | None] = {}

    def knows(self, node: onnx.NodeProto) -> bool:
        """Whether a node calls one of the model's functions."""
        return bool(self._names) and (node.domain, node.op_type) in self._names

    def expand(self, node: onnx.NodeProto, tensors: Mapping[str, Tensor], values: Values) -> Graph | None:
        """The function's nodes with the shapes and known values of a call, or None where they cannot be inferred.

        Calls with the same shapes, values and attributes give the same graph object.
        """
        given = [name for name in dict.fromkeys(node.input) if name]
        known = {name: np.asarray(values[name]) for name in given if name in values}
        key = (
            node.domain,
            node.op_type,
            tuple(sorted(a.SerializeToString(deterministic=True) for a in node.attribute)),
            tuple(given.index(name) if name else -1 for name in node.input),
            tuple((tensors[name].shape, tensors[name].dtype) if name in tensors else None for name in given),
            tuple(known[name].tobytes() if name in known else None for name in given),
        )
        if key not in self._seen:
            self._seen[key] = self._expanded(node, given, tensors, known)
        return self._seen[key]

    def _expanded(
        self, node: onnx.NodeProto, given: list[str], tensors: Mapping[str, Tensor], known: Values
    ) -> Graph | None:
        """The call alone as a graph without functions, or None where it cannot be inferred."""
        call = onnx.ModelProto(ir_version=max(self._model.ir_version, _IR_WITH_FUNCTIONS))
        call.opset_import.extend(self._model.opset_import)
        call.functions.extend(self._model.functions)
        call.graph.name = node.op_type
        call.graph.node.append(node)
        try:
            for name in given:
                if name in known:
                    call.graph.initializer.append(onnx.numpy_helper.from_array(known[name], name))
                    continue
                call.graph.input.append(_info(name, tensors.get(name)))
            call.graph.output.extend(_info(name, tensors.get(name)) for name in node.output if name)
            plain = onnx.inliner.inline_local_functions(call)
            plain = inferred(plain)
        except (RuntimeError, ValueError, KeyError, TypeError, onnx.shape_inference.InferenceError):
            return None
        left = {(n.domain, n.op_type) for n in plain.graph.node} & self._names
        return None if left else Graph(plain, node.op_type)


def _info(name: str, tensor: Tensor | None) -> onnx.ValueInfoProto:
    if tensor is None or not tensor.dtype:
        return onnx.ValueInfoProto(name=name)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return onnx.helper.make_tensor_value_info(name, kind, tensor.shape)
