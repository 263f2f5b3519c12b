"""Files that no honest exporter writes, by name: each is refused in one line, or read as what it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["HOSTILE", "NAMES", "external", "function_bomb", "named", "plain"]

_VERSIONS = [helper.make_opsetid("", 18)]


def _value(name: str, shape: object = (2, 2), kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def plain(
    *nodes: onnx.NodeProto,
    shape: object = (2, 2),
    weights: dict[str, np.ndarray] | None = None,
    name: str = "g",
) -> onnx.ModelProto:
    """A graph from ``x`` to ``y`` of these nodes, or of one Relu."""
    made = nodes or (helper.make_node("Relu", ["x"], ["y"], name="relu"),)
    held = [numpy_helper.from_array(value, key) for key, value in (weights or {}).items()]
    graph = helper.make_graph(made, name, [_value("x", shape)], [_value("y", None)], held)
    return helper.make_model(graph, opset_imports=_VERSIONS, ir_version=10)


def function_bomb(depth: int, *, ends: bool = True) -> onnx.ModelProto:
    """Functions of two calls each: ``depth`` of them stand for 2^depth nodes; or the first calls the last."""
    imports = [*_VERSIONS, helper.make_opsetid("own", 1)]
    functions = []
    for level in range(depth):
        called, domain = (f"f{level - 1}", "own") if level else (("Relu", "") if ends else (f"f{depth - 1}", "own"))
        body = [helper.make_node(called, [a], [b], domain=domain) for a, b in (("a", "t"), ("t", "b"))]
        functions.append(helper.make_function("own", f"f{level}", ["a"], ["b"], body, imports))
    call = helper.make_node(f"f{depth - 1}", ["x"], ["y"], domain="own", name="call")
    graph = helper.make_graph([call], "g", [_value("x")], [_value("y")])
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=10)


def external(location: str | None, offset: str = "0", length: str | None = "16") -> onnx.ModelProto:
    """A graph whose weight of four numbers is in a file."""
    model = plain(helper.make_node("Add", ["x", "w"], ["y"]), weights={"w": np.zeros((2, 2), np.float32)})
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            weight.external_data.add(key=key, value=value)
    return model


def named(name: str) -> onnx.ModelProto:
    """A graph in which everything that can have this name has it."""
    nodes = [
        helper.make_node("MatMul", ["x", f"{name}w"], [f"{name}t"], name=name),
        helper.make_node("Relu", [f"{name}t"], ["y"], name=f"{name}2"),
    ]
    model = plain(*nodes, shape=(name, 2), weights={f"{name}w": np.eye(2, dtype=np.float32)}, name=name)
    model.producer_name = name
    model.metadata_props.add(key=name, value=name)
    return model


NAMES = {
    "quotes": "a'b\"c`$(id)",
    "lines": "a\nb\r\nc",
    "control": "\x1b[31mred\x1b[0m\x07\x00",
    "eight-bit control": "\x9b31m",
    "direction": "a\u202egpj\u202c\u2066\u200b",
    "html": "<script>alert(1)</script>&",
    "path": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "formula": "=cmd|' /C calc'!A0",
    "markup": "[bold red]x[/]",
    "format": "%s%n{0}",
    "long": "n" * 100_000,
}
"""Names that could do something to a terminal, a page, a spreadsheet, a shell or a file system."""


def _changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = plain(
        helper.make_node("Add", ["x", "w"], ["z"]),
        helper.make_node("Relu", ["z"], ["y"], name="QQQQ"),
        weights={"w": np.zeros((2, 2), np.float32)},
    )
    model.graph.value_info.append(_value("z"))
    change(model)
    return model


def _not_utf8(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString().replace(b"QQQQ", b"\xff\xfe\xfd\xfc")


def _unknown_type(model: onnx.ModelProto, part: str) -> None:
    if part == "initializer":
        model.graph.initializer[0].data_type = 999
    else:
        getattr(model.graph, part)[0].type.tensor_type.elem_type = 999


def _relu(name: str, x: str, y: str) -> onnx.NodeProto:
    return helper.make_node("Relu", [x], [y], name=name)


HOSTILE: dict[str, tuple[onnx.ModelProto | bytes, str]] = {
    "function bomb": (function_bomb(40), "stand for 2,199,023,255,550 nodes, more than 200,000"),
    "endless function": (function_bomb(3, ends=False), "calls itself"),
    **{
        f"unknown type, {part}": (
            _changed(lambda m, p=part: _unknown_type(m, p)),
            "element type 999, which",
        )
        for part in ("input", "output", "value_info", "initializer")
    },
    "node name": (_not_utf8(_changed(lambda m: None)), "NodeProto.name is no UTF-8 text (b'\\xff\\xfe\\xfd\\xfc')"),
    "op type": (_not_utf8(plain(helper.make_node("QQQQ", ["x"], ["y"]))), "NodeProto.op_type is no UTF-8 text"),
    "producer": (_not_utf8(_changed(lambda m: setattr(m, "producer_name", "QQQQ"))), "ModelProto.producer_name is no"),
    "dimension": (_not_utf8(plain(shape=("QQQQ", 2))), "Dimension.dim_param is no UTF-8 text"),
    "gigantic input": (
        plain(shape=(2**31, 2**31)),
        "18,446,744,073,709,551,616 bytes, more",
    ),
    "gigantic result": (
        plain(helper.make_node("Tile", ["x", "n"], ["y"]), weights={"n": np.array([2**31, 2**31])}),
        "more than a process can address",
    ),
    "gigantic weight": (
        _changed(lambda m: m.graph.initializer[0].dims.__setitem__(0, 2**40)),
        "too small for the declared shape",
    ),
    "negative weight": (_changed(lambda m: m.graph.initializer[0].dims.__setitem__(0, -2)), "Negative dimension"),
    "cycle": (plain(_relu("a", "z", "y"), _relu("b", "y", "z")), "not output of any previous nodes"),
    "node of itself": (plain(_relu("a", "y", "y")), "not output of any previous nodes"),
    "two makers": (plain(_relu("a", "x", "y"), _relu("b", "x", "y")), "single static assignment"),
    "no maker": (plain(_relu("a", "q", "y")), "not output of any previous nodes"),
    "no opset": (_changed(lambda m: m.ClearField("opset_import")), "must specify opset_import"),
    "opset beyond any": (
        _changed(lambda m: setattr(m.opset_import[0], "version", 2**62)),
        "asks for version 4611686018427387904 of domain 'ai.onnx', which is none",
    ),
    "opset below any": (_changed(lambda m: setattr(m.opset_import[0], "version", -3)), "version -3 of domain"),
    "attribute of no function": (
        _changed(lambda m: m.graph.node[0].attribute.add(name="axis", ref_attr_name="axis", type=2)),
        "attribute 'axis' of node 'Add' in 'given' is that of a function, and the node is in none",
    ),
    "future IR": (_changed(lambda m: setattr(m, "ir_version", 9999)), "ir_version 9999 is higher"),
    "short values": (
        _changed(lambda m: setattr(m.graph.initializer[0], "raw_data", b"abc")),
        "too small for the declared",
    ),
    "no values": (b"", "has no nodes"),
    "text": (b"hello, I am no graph\n" * 10, "is not an ONNX file or is cut short"),
    "cut": (plain().SerializeToString()[:-7], "is not an ONNX file or is cut short"),
}
"""Files that must be refused, whatever is asked of them, with a part of what is said."""
