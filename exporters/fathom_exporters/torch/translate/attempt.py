"""Which operations of a recorded step cannot be written in ONNX, all of them at once."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from torch import Tensor, fx
from torch.onnx._internal.exporter import _core

from fathom_exporters.lowering import OPSET, register_schemas
from fathom_onnx.errors import one_line

from .registry import registry

__all__ = ["refusals"]


def refusals(graph: fx.Graph) -> dict[str, str]:
    """Name of an operation to the reason why it has no translation; nothing for those that have one."""
    register_schemas()
    model = ir.Model(ir.Graph([], [], nodes=[], name="attempt", opset_imports={"": OPSET}), ir_version=10)
    values: dict[str, Any] = {}
    constants: dict[Any, ir.Value] = {}
    opset = _core._get_onnxscript_opset(OPSET)
    found: dict[str, str] = {}
    for node in graph.nodes:
        if node.op in ("placeholder", "get_attr"):
            values[node.name] = _value(node.name, node.meta["val"])
        elif node.op == "call_function":
            try:
                _core._handle_call_function_node_with_lowering(
                    model,
                    node,
                    values,
                    graph_like=model.graph,
                    constant_farm=constants,
                    registry=registry(),
                    opset=opset,
                    node_name_to_local_functions={},
                )
            except Exception as error:
                cause: BaseException = error
                while cause.__cause__ is not None:
                    cause = cause.__cause__
                untranslated = "No ONNX function found" in str(cause)
                found[node.name] = "a translation" if untranslated else one_line(cause, 160)
                values[node.name] = _stand_in(node)
    return found


def _value(name: str, tensor: Tensor) -> ir.Value:
    dtype = _core.torch_dtype_to_onnx_dtype(tensor.dtype)
    return ir.Value(name=name, shape=ir.Shape([int(size) for size in tensor.shape]), type=ir.TensorType(dtype))


def _stand_in(node: fx.Node) -> ir.Value | list[ir.Value]:
    value = node.meta.get("val")
    if isinstance(value, tuple | list):
        return [_value(f"{node.name}_{i}", v) for i, v in enumerate(value) if isinstance(v, Tensor)]
    return _value(node.name, value) if isinstance(value, Tensor) else ir.Value(name=node.name)
