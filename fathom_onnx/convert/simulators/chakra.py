"""Execution traces in the MLCommons Chakra schema, which ASTRA-sim reads.

A trace is a stream of protobuf messages, each preceded by its length as a varint: one ``GlobalMetadata``, then a
``Node`` for every node of the graph, in the graph's (topological) order, with the producers of its inputs as data
dependencies. The costs of a node are attributes, whose types matter: ASTRA-sim reads ``is_cpu_op`` as bool, ``num_ops``
as int64 and ``tensor_size`` as uint64, and ignores other types.

Schema: https://github.com/mlcommons/chakra, ``schema/protobuf/et_def.proto``; the messages below are the part of it
that is written, with the same field numbers.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import onnx
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, proto

from fathom_onnx.analysis.cost.node_costs import NodeCost
from fathom_onnx.convert.account import account, costs_of
from fathom_onnx.convert.converter import Content, Conversion, ConversionRequest
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Address, Graph
from fathom_onnx.graph.bodies import bodies, inputs_of, outputs_of

__all__ = ["convert", "message_classes"]

PACKAGE = "ChakraProtoMsg"
VERSION = "1.0.0"
COMP_NODE = 4
_LARGEST = 2**63 - 1

_KINDS = {"string": 9, "int64": 3, "uint64": 4, "bool": 8, "enum": 14, "message": 11}
"""Protobuf's numbers of field types."""

_MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "AttributeProto": (
        ("name", 1, "string", False),
        ("int64_val", 9, "int64", False),
        ("uint64_val", 13, "uint64", False),
        ("bool_val", 27, "bool", False),
        ("string_val", 29, "string", False),
    ),
    "GlobalMetadata": (("version", 1, "string", False), ("attr", 2, "AttributeProto", True)),
    "Node": (
        ("id", 1, "uint64", False),
        ("name", 2, "string", False),
        ("type", 3, "NodeType", False),
        ("data_deps", 5, "uint64", True),
        ("attr", 10, "AttributeProto", True),
    ),
}
"""Message to fields: name, number, type, repeated."""

_NODE_TYPES = {"INVALID_NODE": 0, "COMP_NODE": COMP_NODE}
_ONEOF = "value"
"""The oneof of an attribute's values: the one that is set is written even where it is false or zero."""


@functools.cache
def message_classes() -> dict[str, Any]:
    """The schema's messages by name, as protobuf classes."""
    file = descriptor_pb2.FileDescriptorProto(name="chakra_trace.proto", package=PACKAGE, syntax="proto3")
    kinds = file.enum_type.add(name="NodeType")
    for name, number in _NODE_TYPES.items():
        kinds.value.add(name=name, number=number)
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind, repeated in fields:
            field = message.field.add(name=name, number=number, label=3 if repeated else 1)
            if kind in _KINDS:
                field.type = _KINDS[kind]
            else:
                field.type = _KINDS["enum" if kind == "NodeType" else "message"]
                field.type_name = f".{PACKAGE}.{kind}"
            if message_name == "AttributeProto" and name != "name":
                field.oneof_index = 0
        if message_name == "AttributeProto":
            message.oneof_decl.add(name=_ONEOF)
    # a separate pool, since an installed chakra may define the same names
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _MESSAGES
    }


def _describe(message: Any, node: onnx.NodeProto, cost: NodeCost) -> None:
    """Add the attributes of a node; unknown costs have none."""
    message.attr.add(name="is_cpu_op", bool_val=False)
    if cost.flops is not None:
        # a roofline gives a node that only moves data the time of its bytes for any number of operations except 0,
        # for which ASTRA-sim divides 0 by 0
        message.attr.add(name="num_ops", int64_val=max(cost.flops, 1) if cost.bytes_moved else cost.flops)
        message.attr.add(name="flops", int64_val=cost.flops)
    if cost.macs is not None:
        message.attr.add(name="macs", int64_val=cost.macs)
    if cost.bytes_moved is not None:
        message.attr.add(name="tensor_size", uint64_val=cost.bytes_moved)
    message.attr.add(name="op_type", string_val=node.op_type)
    address = Address.parse(node.name)
    if address is not None:
        for name, text in (("phase", address.phase), ("layer", address.layer), ("op", address.op)):
            message.attr.add(name=name, string_val=text)


def _unknown(cost: NodeCost) -> str:
    missing = [name for name, value in (("num_ops", cost.flops), ("tensor_size", cost.bytes_moved)) if value is None]
    return f"in the trace without {' and '.join(missing)}, not known" if missing else ""


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """A graph as the execution trace of a processing unit, once for each of the option ``ranks``.

    Every rank runs the whole graph on a batch of its own; nothing is sent between them.

    Raises:
        GraphError: Its costs are numbers that a trace cannot hold.
    """
    classes = message_classes()
    nodes, costs = graph.model.graph.node, costs_of(graph)
    for what in ("flops", "macs", "bytes_moved"):
        total = sum(getattr(cost, what) or 0 for cost in costs)
        if total > _LARGEST:
            raise GraphError(
                f"graph '{graph.name}' has {total:,} {what.replace('_', ' ')}, more than the 64 bits of a trace hold",
                "check its shapes",
            )
    unknown = {index: reason for index, cost in enumerate(costs) if (reason := _unknown(cost))}
    sums = account(graph, unknown)
    head = classes["GlobalMetadata"](version=VERSION)
    for what, part in (("kept", sums.kept), ("total", sums.total)):
        for name, number in ((f"macs_{what}", part.macs), (f"bytes_{what}", part.bytes_moved)):
            if number is not None:
                head.attr.add(name=name, int64_val=number)
    head.attr.add(name="graph", string_val=graph.name)
    head.attr.add(name="graph_sha256", string_val=graph.sha256)
    stream = io.BytesIO()
    proto.serialize_length_prefixed(head, stream)
    producer = {name: index for index, node in enumerate(nodes) for name in outputs_of(node)}
    for index, (node, cost) in enumerate(zip(nodes, costs, strict=True)):
        dependencies = sorted({producer[name] for name in inputs_of(node) if name in producer})
        name = node.name or f"{node.op_type}_{index}"
        message = classes["Node"](id=index, name=name, type=COMP_NODE, data_deps=dependencies)
        _describe(message, node, cost)
        proto.serialize_length_prefixed(message, stream)
    moving = sum(cost.flops == 0 and bool(cost.bytes_moved) for cost in costs)
    ranks = int(request.options["ranks"] or 1)
    notes = ["ASTRA-sim takes the path without '.0.et' and needs the roofline model: a trace holds no times."]
    if ranks == 1:
        notes.append("ASTRA-sim wants two ranks or more: write them with --ranks 2.")
    else:
        notes.append(f"Each of the {ranks} ranks runs the whole graph; nothing is sent between them.")
    if moving:
        notes.append(f"num_ops is 1 for {moving} nodes that only move data; their flops attribute is 0.")
    if any(True for node in nodes for _ in bodies(node)):
        notes.append("A control-flow node is one node of the trace, with its bodies.")
    files: dict[str, Content] = {f".{rank}.et": stream.getvalue() for rank in range(ranks)}
    return Conversion(files, sums.kept, sums.total, sums.left_out, tuple(notes))
