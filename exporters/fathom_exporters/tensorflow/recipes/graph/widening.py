"""A graph of TensorFlow in double precision: every float32 tensor of it, and of its functions, becomes float64.

A model made for float32 says so in many places (its variables, constants, casts), which no setting reaches. In the
graph that TensorFlow traces all of them are attributes. Constants keep the values that they have in float32: the wide
graph is the function that the model computes, without its rounding.

That matters with Adam, whose step divides each element of a gradient by its own size. MobileNetV2 (32x32, batch 8)
made anew in float64 has a batch-norm epsilon of 0.001 and not of float32(0.001), 4.7e-8 away: its gradients differ by
7.5e-7 of each tensor's largest and Adam's steps by 1.5e-2. With the same epsilon they agree to 1.6e-13 and 3.9e-8.
Seventeen of its parameters (beta of a normalisation before another one) have gradients of rounding alone, which Adam
turns into whole steps of either sign in any precision: such tensors are judged by the update on given gradients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from .volumes import POOLS, pool_function

__all__ = ["widen"]

_FLOAT, _DOUBLE = tf.float32.as_datatype_enum, tf.float64.as_datatype_enum
_SUFFIX = "__wide"
_TYPE = {"MaxPool3D": "T", "MaxPool3DGrad": "TInput"}
_RANDOM = ("StatelessRandom", "StatelessTruncated", "Random")
"""Draws from a fixed seed are other numbers in another type."""


class _Wide:
    """Widens the nodes of one graph or function.

    Attributes:
        nodes: The new nodes.
        renamed: A tensor that stays narrow to the tensor that is its wide copy.
        made: Functions in the place of operations that TensorFlow lacks in float64.
    """

    def __init__(self, functions: set[str], reference: Callable[[str, str, int, int], str]) -> None:
        self._functions = functions
        self._reference = reference
        self.nodes: list[Any] = []
        self.renamed: dict[str, str] = {}
        self.made: list[Any] = []

    def add(self, node: Any) -> None:
        """Add a node, with casts where it takes or makes float32 whatever its attributes say."""
        node = _copy(node)
        if node.op in self._functions:
            node.op += _SUFFIX
        definition = op_def_registry.get(node.op)
        if node.op in POOLS and node.attr[_TYPE[node.op]].type == _FLOAT:
            self._call(node)
            return
        narrow = _narrow(node, definition)
        for key, value in node.attr.items():
            _widen_attribute(value, self._functions, types=key not in narrow)
        if node.op == "Const":
            _widen_tensor(node.attr["value"].tensor)
        if definition is not None:
            data = [name for name in node.input if not name.startswith("^")]
            for position in _positions(node, definition.input_arg, narrow):
                node.input[position] = self._cast(f"{node.name}/narrow_{position}", data[position], _DOUBLE, _FLOAT)
        self.nodes.append(node)
        if definition is not None:
            index = 0
            for arg in definition.output_arg:
                for offset in range(_count(node, arg)):
                    if _is_narrow(node, arg, narrow, offset):
                        tensor = self._reference(node.name, arg.name, offset, index)
                        self.renamed[tensor] = self._cast(f"{node.name}/wide_{index}", tensor, _FLOAT, _DOUBLE)
                    index += 1

    def _call(self, node: Any) -> None:
        """A function of float64 in the place of an operation that has no such type."""
        function = pool_function(node, f"{node.op}_{hashlib.sha256(_key(node)).hexdigest()[:16]}{_SUFFIX}")
        self.made.append(function)
        node.op = function.signature.name
        for key in list(node.attr):
            del node.attr[key]
        self.nodes.append(node)

    def _cast(self, name: str, tensor: str, source: int, target: int) -> str:
        node = tf.compat.v1.NodeDef(op="Cast", name=name, input=[tensor])
        node.attr["SrcT"].type, node.attr["DstT"].type = source, target
        self.nodes.append(node)
        return self._reference(name, "y", 0, 0)

    def finish(self) -> list[Any]:
        """The nodes, reading wide copies where there are any."""
        for node in self.nodes:
            if "/wide_" not in node.name:
                node.input[:] = [self.renamed.get(_whole(name), name) for name in node.input]
        return self.nodes


def _key(node: Any) -> bytes:
    """What makes the function in the place of an operation another one."""
    alone = _copy(node)
    alone.name = ""
    del alone.input[:]
    key: bytes = alone.SerializeToString(deterministic=True)
    return key


def _whole(tensor: str) -> str:
    """A graph's first output with its index."""
    return tensor if ":" in tensor or tensor.startswith("^") else f"{tensor}:0"


def _copy(node: Any) -> Any:
    copied = tf.compat.v1.NodeDef()
    copied.CopyFrom(node)
    return copied


def _count(node: Any, arg: Any) -> int:
    if arg.number_attr:
        return int(node.attr[arg.number_attr].i)
    return len(node.attr[arg.type_list_attr].list.type) if arg.type_list_attr else 1


def _narrow(node: Any, definition: Any) -> set[str]:
    """The attributes of element type that cannot be float64."""
    if definition is None:
        return set()
    if node.op == "Bitcast":  # to as many numbers as there are
        return {"T", "type"}
    if node.op.startswith(_RANDOM):
        return {attribute.name for attribute in definition.attr if attribute.type == "type"}
    allowed = {a.name: a.allowed_values.list.type for a in definition.attr if a.type in ("type", "list(type)")}
    return {name for name, types in allowed.items() if types and _DOUBLE not in types}


def _is_narrow(node: Any, arg: Any, narrow: set[str], offset: int) -> bool:
    if arg.type_list_attr:
        return arg.type_list_attr in narrow and node.attr[arg.type_list_attr].list.type[offset] == _FLOAT
    if arg.type_attr:
        return arg.type_attr in narrow and node.attr[arg.type_attr].type == _FLOAT
    return bool(arg.type == _FLOAT)


def _positions(node: Any, args: Iterable[Any], narrow: set[str]) -> list[int]:
    """Positions of the inputs that stay float32."""
    flags = [_is_narrow(node, arg, narrow, offset) for arg in args for offset in range(_count(node, arg))]
    return [position for position, flag in enumerate(flags) if flag]


def _widen_tensor(tensor: Any) -> None:
    if tensor.dtype == _FLOAT:
        values = tf.make_ndarray(tensor)
        tensor.CopyFrom(tf.make_tensor_proto(values.astype("float64"), shape=values.shape))


def _widen_attribute(value: Any, functions: set[str], types: bool) -> None:
    kind = value.WhichOneof("value")
    if kind == "type" and types and value.type == _FLOAT:
        value.type = _DOUBLE
    elif kind == "list":
        if types:
            value.list.type[:] = [_DOUBLE if t == _FLOAT else t for t in value.list.type]
        for function in value.list.func:
            function.name += _SUFFIX if function.name in functions else ""
    elif kind == "func" and value.func.name in functions:
        value.func.name += _SUFFIX


def _in_graph(node: str, arg: str, offset: int, index: int) -> str:
    return f"{node}:{index}"


def _in_function(node: str, arg: str, offset: int, index: int) -> str:
    return f"{node}:{arg}:{offset}"


def _widen_nodes(nodes: Sequence[Any], functions: set[str], reference: Callable[[str, str, int, int], str]) -> _Wide:
    wide = _Wide(functions, reference)
    for node in nodes:
        wide.add(node)
    return wide


def _widen_function(definition: Any, functions: set[str]) -> list[Any]:
    """The function in float64, and those that it calls in the place of operations."""
    wide = tf.compat.v1.GraphDef().library.function.add()
    wide.CopyFrom(definition)
    wide.signature.name += _SUFFIX
    for arg in (*wide.signature.input_arg, *wide.signature.output_arg):
        if arg.type == _FLOAT:
            arg.type = _DOUBLE
    for name in ("forward_function_name", "backward_function_name"):
        wide.attr.pop(name, None)
    nodes = _widen_nodes(definition.node_def, functions, _in_function)
    del wide.node_def[:]
    wide.node_def.extend(nodes.finish())
    for name, tensor in wide.ret.items():
        wide.ret[name] = nodes.renamed.get(tensor, tensor)
    return [wide, *nodes.made]


def widen(graph_def: tf.compat.v1.GraphDef) -> tuple[tf.compat.v1.GraphDef, dict[str, str]]:
    """A graph in float64, its functions renamed; and for tensors that stay float32 the wide tensors of their values."""
    functions = {f.signature.name for f in graph_def.library.function}
    wide = tf.compat.v1.GraphDef(versions=graph_def.versions)
    nodes = _widen_nodes(graph_def.node, functions, _in_graph)
    wide.node.extend(nodes.finish())
    made = [*nodes.made, *(f for own in graph_def.library.function for f in _widen_function(own, functions))]
    wide.library.function.extend({f.signature.name: f for f in made}.values())
    return wide, nodes.renamed
