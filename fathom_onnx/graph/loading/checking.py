"""What is wrong with a model that no runtime would take.

onnx's checker also refuses what onnxruntime runs: operators of the default domain that only onnxruntime registers (its
own optimizer writes them), types without a shape. The checker gets a model that differs in these, so that a model is
refused only for what is wrong with it.
"""

from __future__ import annotations

import onnx
import onnx.defs
from onnx.external_data_helper import uses_external_data

from fathom_onnx.graph.bodies import all_graphs, all_nodes

__all__ = ["check"]

_ELSEWHERE = "operators.that.onnx.does.not.have"
"""Domain in which the checker finds no operator, and so asks nothing of it."""


def check(model: onnx.ModelProto) -> None:
    """Check a model.

    Raises:
        onnx.checker.ValidationError: It is not valid.
        ValueError: It cannot be checked.
    """
    onnx.checker.check_model(_checkable(model))


def _checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that differs in what the checker refuses and onnxruntime takes.

    External initializers are empty, for the checker looks for their files.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    graphs = list(all_graphs(plain.graph))
    for part in graphs:
        for tensor in part.initializer:
            if uses_external_data(tensor):
                tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[0], raw_data=b""))
        for value in [*part.input, *part.output, *part.value_info]:
            _give_shape(value.type)
    foreign = False
    for nodes in [plain.graph.node, *(function.node for function in plain.functions)]:
        for node in all_nodes(nodes):
            if node.domain in ("", "ai.onnx") and not _registered(node.op_type, version):
                node.domain = _ELSEWHERE
                foreign = True
    if foreign:
        for container in [plain, *plain.functions]:
            container.opset_import.append(onnx.helper.make_opsetid(_ELSEWHERE, 1))
    return plain


def _registered(op_type: str, version: int) -> bool:
    try:
        onnx.defs.get_schema(op_type, version, "")
    except onnx.defs.SchemaError:
        return False
    return True


def _give_shape(kind: onnx.TypeProto) -> None:
    """Give a type what the checker asks for: a tensor, an element type, a shape."""
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        _give_shape(kind.sequence_type.elem_type)
    elif which == "optional_type":
        _give_shape(kind.optional_type.elem_type)
    elif which in (None, "tensor_type"):
        tensor = kind.tensor_type
        if tensor.elem_type == onnx.TensorProto.UNDEFINED:
            tensor.elem_type = onnx.TensorProto.FLOAT
        if not tensor.HasField("shape"):
            tensor.shape.SetInParent()
