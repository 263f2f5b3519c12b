"""What no graph may be, whoever wrote it: texts that are no text, number types that nobody knows, sizes without end.

A file comes from anywhere. What is refused here would otherwise end somewhere further on, in an error that does not
say what is wrong, or in all of the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from fathom_onnx.errors import GraphError
from fathom_onnx.graph.bodies import all_graphs, all_nodes
from fathom_onnx.graph.tensors import declared_tensor, initializer_tensor

__all__ = [
    "LARGEST_NODES",
    "LARGEST_TENSOR",
    "refuse_endless",
    "refuse_gigantic",
    "refuse_long_slices",
    "refuse_unreadable",
]

LARGEST_NODES = 200_000
"""Nodes that the calls of a model's functions may stand for; a few kB of functions that call each other are more."""

LARGEST_TENSOR = 2**47
"""Bytes of a tensor: what a process can address at all."""

_MOST_AXES = 2**16
"""Axes that a Slice may name; onnx's inference of shapes makes a list of as many, whatever the rank."""

_VERSIONS = 2**31
"""Versions of a domain are below this."""

_TYPES = frozenset(onnx.TensorProto.DataType.values())


def refuse_unreadable(model: onnx.ModelProto, name: str) -> None:
    """Refuse texts that are not UTF-8, and element types and versions that ONNX does not have, anywhere in a model.

    So are attributes that stand for those of a function, outside of one.

    A size below zero is what some exporters write for one that is open, as onnxruntime reads it: it is made one.

    Args:
        model: The model as it was parsed.
        name: What to call it in the error.

    Raises:
        GraphError: There is one.
    """
    for message in _messages(model):
        if isinstance(message, onnx.TensorShapeProto.Dimension):
            if message.dim_value < 0:
                message.ClearField("dim_value")
        elif isinstance(message, onnx.TensorProto):
            _known(message.data_type, name)
        elif isinstance(message, onnx.TypeProto.Tensor | onnx.TypeProto.SparseTensor):
            _known(message.elem_type, name)
        elif isinstance(message, onnx.OperatorSetIdProto) and not 0 <= message.version < _VERSIONS:
            raise GraphError(
                f"'{name}' asks for version {message.version} of domain '{message.domain or 'ai.onnx'}', which is none",
                "export it again",
            )
        for field, value in _texts(message):
            if isinstance(value, bytes):
                raise GraphError(
                    f"'{name}' is damaged: {message.DESCRIPTOR.name}.{field} is no UTF-8 text ({value[:40]!r})",
                    "export or fetch it again",
                )
    for node in all_nodes(model.graph.node):
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                raise GraphError(
                    f"attribute '{attribute.name}' of node '{node.name or node.op_type}' in '{name}' is that of a "
                    f"function, and the node is in none",
                    "export it again",
                )


def _known(element_type: int, name: str) -> None:
    if element_type not in _TYPES:
        raise GraphError(
            f"'{name}' has tensors of element type {element_type}, which ONNX does not have",
            "export it again, or install a newer onnx",
        )


def _messages(root: Message) -> Iterator[Message]:
    """A message and all in it. The values of a tensor are not touched: they may be gigabytes."""
    pending = [root]
    while pending:
        message = pending.pop()
        yield message
        if isinstance(message, onnx.TensorProto):
            pending += message.external_data
            continue
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                pending += value if field.is_repeated else [value]


def _texts(message: Message) -> Iterator[tuple[str, str | bytes]]:
    """The texts that stand in a message itself, save its description; one that is not UTF-8 is read as bytes."""
    if isinstance(message, onnx.TensorProto):
        yield "name", message.name
        return
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING and field.name != "doc_string":
            yield from ((field.name, text) for text in (value if field.is_repeated else [value]))


def refuse_endless(model: onnx.ModelProto, name: str) -> None:
    """Refuse functions that call each other so often that what they stand for has no end, or none that can be reached.

    Args:
        model: The model.
        name: What to call it in the error.

    Raises:
        GraphError: Its functions call themselves, or stand for more than :data:`LARGEST_NODES` nodes.
    """
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    calls = {
        key: [call for node in all_nodes(f.node) if (call := (node.domain, node.op_type, node.overload)) in functions]
        for key, f in functions.items()
    }
    size: dict[tuple[str, str, str], int] = {}
    try:
        for key in TopologicalSorter({key: set(called) for key, called in calls.items()}).static_order():
            size[key] = sum(1 for _ in all_nodes(functions[key].node)) + sum(size[call] for call in calls[key])
    except CycleError as error:
        raise GraphError(
            f"function '{error.args[1][0][1]}' of '{name}' calls itself",
            "export the model again, or inline its functions",
        ) from error
    nodes = all_nodes(model.graph.node)
    total = sum(size.get((node.domain, node.op_type, node.overload), 0) for node in nodes) if functions else 0
    if total > LARGEST_NODES:
        raise GraphError(
            f"the functions that '{name}' calls stand for {total:,} nodes, more than {LARGEST_NODES:,}",
            "export it without functions, or in parts",
        )


def refuse_long_slices(model: onnx.ModelProto, name: str) -> None:
    """Refuse a Slice whose operands are declared to be so long that inferring its shape would take all of the memory.

    Args:
        model: The model.
        name: What to call it in the error.

    Raises:
        GraphError: There is one.
    """
    for graph in all_graphs(model.graph):
        declared = [declared_tensor(v) for v in [*graph.input, *graph.value_info]]
        long = {
            tensor.name
            for tensor in [*declared, *(initializer_tensor(t) for t in graph.initializer)]
            if tensor.shape is not None and len(tensor.shape) == 1 and tensor.shape[0] > _MOST_AXES
        }
        for node in graph.node:
            operands = long.intersection(node.input[1:]) if node.op_type == "Slice" else None
            if operands:
                raise GraphError(
                    f"node '{node.name or node.op_type}' of '{name}' slices more than {_MOST_AXES:,} axes, as "
                    f"'{min(operands)}' is declared",
                    "check its shape",
                )


def refuse_gigantic(model: onnx.ModelProto, name: str) -> None:
    """Refuse a tensor that no process can hold.

    Args:
        model: The model, its shapes inferred.
        name: What to call it in the error.

    Raises:
        GraphError: There is one.
    """
    for graph in all_graphs(model.graph):
        values = (declared_tensor(v) for v in [*graph.input, *graph.output, *graph.value_info])
        for tensor in [*values, *(initializer_tensor(t) for t in graph.initializer)]:
            if (tensor.size_bytes or 0) > LARGEST_TENSOR:
                raise GraphError(
                    f"tensor '{tensor.name}' of '{name}' has {tensor.size_bytes:,} bytes, more than a process can "
                    f"address",
                    "make the sizes smaller (--dim, --batch), or check its shape",
                )
