"""What no graph may be, whoever wrote it: texts that are no text, number types that nobody knows, sizes without end.

A file comes from anywhere. What is refused here would otherwise end somewhere further on, in an error that does not
say what is wrong, or in all of the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

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

LARGEST_WRITTEN_OUT = 2**28
"""Bytes of these nodes, with the names and metadata that they get from their calls."""

DEEPEST_CALLS = 100
"""Functions that may call one another in a row: onnx and onnxruntime go through them by recursion."""

LARGEST_TENSOR = 2**47
"""Bytes of a tensor: what a process can address at all."""

_MOST_AXES = 2**16
"""Axes that a Slice may name; onnx's inference of shapes makes a list of as many, whatever the rank."""

_VERSIONS = 2**31
"""Versions of a domain are below this."""

_TYPES = frozenset(onnx.TensorProto.DataType.values())

_Call = tuple[str, str, str]
"""Domain, name and overload of a function."""


class _Written(NamedTuple):
    """Some nodes and their bytes; those that the functions which they call stand for; and how deep these go."""

    own: int
    own_bytes: int
    called: int
    called_bytes: int
    depth: int


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
        GraphError: Its functions call themselves, or stand for more than :data:`LARGEST_NODES` nodes or
            :data:`LARGEST_WRITTEN_OUT` bytes of them, or call each other :data:`DEEPEST_CALLS` times in a row.
    """
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    calls = {key: {_call(node) for node in all_nodes(f.node)} & functions.keys() for key, f in functions.items()}
    written: dict[_Call, _Written] = {}
    try:
        for key in TopologicalSorter(calls).static_order():
            written[key] = _written(functions[key].node, written)
    except CycleError as error:
        raise GraphError(
            f"function '{error.args[1][0][1]}' of '{name}' calls itself",
            "export the model again, or inline its functions",
        ) from error
    whole = _written(model.graph.node, written)
    for found, most, what in (
        (whole.called, LARGEST_NODES, "stand for {:,} nodes"),
        (whole.called_bytes, LARGEST_WRITTEN_OUT, "stand for {:,} bytes of nodes"),
        (whole.depth, DEEPEST_CALLS, "call each other {:,} times in a row"),
    ):
        if found > most:
            raise GraphError(
                f"the functions that '{name}' calls {what.format(found)}, more than {most:,}",
                "export it without functions, or in parts",
            )


def _call(node: onnx.NodeProto) -> _Call:
    return node.domain, node.op_type, node.overload


def _written(nodes: Sequence[onnx.NodeProto], functions: Mapping[_Call, _Written]) -> _Written:
    """What nodes stand for when the functions that they call are written out, which is known of these."""
    own = called = called_bytes = depth = 0
    for node in all_nodes(nodes):
        own += 1
        if function := functions.get(_call(node)):
            inherited = len(node.name) + sum(entry.ByteSize() for entry in node.metadata_props)
            of_it = function.own + function.called
            called += of_it
            called_bytes += function.own_bytes + function.called_bytes + of_it * inherited
            depth = max(depth, function.depth + 1)
    return _Written(own, sum(node.ByteSize() for node in nodes), called, called_bytes, depth)


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
