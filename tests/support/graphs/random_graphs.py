"""Random graphs of real ops for property tests: every tensor that nodes pass on is float32 [4, 4]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper

from fathom_onnx.graph import Graph, from_model
from support.graphs.small_models import BOOL, FLOAT, INT64, model

SIDE = [4, 4]
CONSTANTS: dict[str, Any] = {
    "w": (np.eye(4) * 0.5 + 0.1).astype(np.float32),
    "v": np.linspace(-1, 1, 16).reshape(4, 4).astype(np.float32),
    "bias": np.linspace(0, 1, 4).astype(np.float32),
    "gain": np.full(4, 1.5, np.float32),
    "half": np.float32(0.5),
    "kernel": np.linspace(-0.5, 0.5, 9).reshape(1, 1, 3, 3).astype(np.float32),
    "image": np.array([1, 1, 4, 4]),
    "flat": np.array([16]),
    "square": np.array(SIDE),
    "rows": np.array([3, 1, 0, 2]),
    "zero": np.array([0]),
    "two": np.array([2]),
    "four": np.array([4]),
    "scale": np.float32(0.05),
    "point": np.uint8(128),
    "trips": np.int64(3),
    "yes": np.bool_(True),
    "low": np.float32(-2),
    "high": np.float32(2),
}


class Builder:
    """Collects nodes; tensors and nodes get names by number."""

    def __init__(self, prefix: str = "") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.prefix = prefix

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; the name of its first output (the second is that with ``_1`` for ``_0``)."""
        number = len(self.nodes)
        made = [f"{self.prefix}t{number}_{i}" for i in range(outputs)]
        name = f"/{self.prefix}layer{number % 3}/{kind}{number}"
        self.nodes.append(helper.make_node(kind, list(inputs), made, name=name, **attributes))
        return made[0]


def _unary(kind: str, **attributes: Any) -> Callable[[Builder, str, str], str]:
    return lambda b, x, y: b.add(kind, x, **attributes)


def _binary(kind: str) -> Callable[[Builder, str, str], str]:
    return lambda b, x, y: b.add(kind, x, y)


def _reshaped(b: Builder, x: str, y: str) -> str:
    return b.add("Reshape", b.add("Sqrt", b.add("Abs", b.add("Reshape", x, "flat"))), "square")


def _convolved(b: Builder, x: str, y: str) -> str:
    convolved = b.add("Conv", b.add("Reshape", x, "image"), "kernel", pads=[1, 1, 1, 1])
    return b.add("Reshape", b.add("Relu", convolved), "square")


def _linear(b: Builder, x: str, y: str) -> str:
    return b.add("Relu", b.add("Add", b.add("MatMul", x, "w"), "bias"))


def _normed(b: Builder, x: str, y: str) -> str:
    return b.add("LayerNormalization", b.add("Add", x, y), "gain", "bias", axis=-1)


def _gelu(b: Builder, x: str, y: str) -> str:
    inner = b.add("Add", b.add("Erf", b.add("Div", x, "root")), "one")
    return b.add("Mul", b.add("Mul", x, inner), "half")


def _quantized(b: Builder, x: str, y: str) -> str:
    return b.add("DequantizeLinear", b.add("QuantizeLinear", x, "scale", "point"), "scale", "point")


def _quantized_product(b: Builder, x: str, y: str) -> str:
    return _quantized(b, b.add("MatMul", _quantized(b, x, y), _quantized(b, y, x)), "")


def _split(b: Builder, x: str, y: str) -> str:
    first = b.add("Split", x, outputs=2, axis=0, num_outputs=2)
    return b.add("Concat", f"{first[:-2]}_1", first, axis=0)


def _sliced(b: Builder, x: str, y: str) -> str:
    return b.add("Concat", b.add("Slice", x, "zero", "two"), b.add("Slice", y, "two", "four"), axis=0)


def _duplicates(b: Builder, x: str, y: str) -> str:
    return b.add("Mul", b.add("Sigmoid", x), b.add("Tanh", b.add("Sigmoid", x)))


def _constant(b: Builder, x: str, y: str) -> str:
    return b.add("Add", x, b.add("Exp", b.add("Transpose", "v", perm=[1, 0])))


def _shaped(b: Builder, x: str, y: str) -> str:
    return b.add("Reshape", b.add("Softplus", x), b.add("Shape", x))


def _reduced(b: Builder, x: str, y: str) -> str:
    return b.add("Sub", x, b.add("ReduceMean", y, keepdims=1))


def _random(b: Builder, x: str, y: str) -> str:
    return b.add("Add", x, b.add("RandomNormal", shape=SIDE, seed=1.0))


SIMPLE: tuple[Callable[[Builder, str, str], str], ...] = (
    *(_unary(kind) for kind in ("Relu", "Tanh", "Neg", "Identity", "Softmax", "Dropout", "Sigmoid")),
    _unary("Transpose", perm=[1, 0]),
    _unary("Cast", to=FLOAT),
    *(_binary(kind) for kind in ("Add", "Mul", "MatMul", "Max")),
    _reshaped,
    _convolved,
    _linear,
    _normed,
    _gelu,
    _quantized,
    _quantized_product,
    _split,
    _sliced,
    _duplicates,
    _constant,
    _shaped,
    _reduced,
    _random,
    lambda b, x, y: b.add("Gather", x, "rows", axis=0),
    lambda b, x, y: b.add("Clip", x, "low", "high"),
    lambda b, x, y: b.add("Where", b.add("Less", x, y), x, y),
    lambda b, x, y: b.add("Gemm", x, y, "bias", transB=1),
)
"""What a step of a random graph may be: from two tensors to one."""


def _info(name: str, kind: int = FLOAT, shape: list[int] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, SIDE if shape is None else shape)


def _body(draw: st.DrawFn, name: str, prefix: str, known: list[str], inputs: list[onnx.ValueInfoProto]) -> Any:
    b = Builder(prefix)
    last = draw(st.sampled_from(known))
    for _ in range(draw(st.integers(1, 3))):
        last = draw(st.sampled_from(SIMPLE))(b, last, draw(st.sampled_from(known)))
    last = b.add("Abs", last)  # a body gives what it made, not what it was given
    return b, last


def _branches(draw: st.DrawFn, b: Builder, known: list[str]) -> str:
    """An ``If``, its condition constant or not."""
    made = {}
    for name in ("then_branch", "else_branch"):
        prefix = f"{b.prefix}{name[:4]}{len(b.nodes)}_"
        inner, last = _body(draw, name, prefix, known, [])
        made[name] = helper.make_graph(inner.nodes, name, [], [_info(last)])
    if draw(st.booleans()):
        return b.add("If", "yes", **made)
    total = b.add("ReduceSum", draw(st.sampled_from(known)), keepdims=0)
    return b.add("If", b.add("Greater", total, "half"), **made)


def _loop(draw: st.DrawFn, b: Builder, known: list[str]) -> str:
    """A ``Loop`` of three iterations that carries one tensor and takes others from around it."""
    prefix = f"{b.prefix}loop{len(b.nodes)}_"
    inputs = [_info(f"{prefix}i", INT64, []), _info(f"{prefix}go", BOOL, []), _info(f"{prefix}x")]
    inner, last = _body(draw, "body", prefix, [*known, f"{prefix}x"], inputs)
    go = inner.add("Identity", f"{prefix}go")
    body = helper.make_graph(inner.nodes, "body", inputs, [_info(go, BOOL, []), _info(last)])
    return b.add("Loop", "trips", "yes", draw(st.sampled_from(known)), body=body)


@st.composite
def random_graphs(draw: st.DrawFn, steps: int = 8) -> Graph:
    """Graphs with movement, constants, duplicates, dead ends, what onnxruntime fuses, and bodies."""
    b = Builder()
    known = ["x", "z", "w"]
    for _ in range(draw(st.integers(1, steps))):
        kind = draw(st.integers(0, 9))
        if kind == 0:
            known.append(_branches(draw, b, known))
        elif kind == 1:
            known.append(_loop(draw, b, known))
        else:
            step = draw(st.sampled_from(SIMPLE))
            known.append(step(b, draw(st.sampled_from(known[-4:])), draw(st.sampled_from(known))))
    used = {name for node in b.nodes for name in node.input}
    ends = [n for n in known[3:] if n not in used] or [known[-1]]
    outputs: dict[str, Any] = dict.fromkeys(ends, (FLOAT, SIDE))
    constants = {**CONSTANTS, "root": np.float32(2**0.5), "one": np.float32(1)}
    made = model(b.nodes, {"x": (FLOAT, SIDE), "z": (FLOAT, SIDE)}, outputs, constants)
    return from_model(made, "random")
