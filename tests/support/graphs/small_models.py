"""Small ONNX models for tests of running, attribution and conversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fathom_onnx.graph import Graph, GraphMetadata, from_model
from fathom_onnx.workloads.contract import Initialiser, Variable

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Sequence[int]]],
    outputs: Mapping[str, tuple[int, Sequence[int] | None]],
    constants: Mapping[str, Any] | None = None,
    infer: bool = True,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, t, list(s)) for n, (t, s) in inputs.items()],
        [helper.make_tensor_value_info(n, t, s) for n, (t, s) in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made) if infer else made


def op(kind: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), name=name, **attributes)


def cnn(channels: int = 12) -> Graph:
    """Conv, BatchNorm, Relu, a residual addition, a pool and a classifier; addresses for names."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (channels, 3, 3, 3), "w2": (channels, channels, 3, 3), "w3": (channels, channels, 3, 3)}
    constants = {n: (rng.normal(size=s) * 0.2).astype(np.float32) for n, s in shapes.items()}
    constants |= {"fw": rng.normal(size=(10, channels)).astype(np.float32), "fb": np.ones(10, np.float32)}
    for bn in ("n1", "n2"):
        constants |= {f"{bn}.{k}": rng.uniform(0.5, 1.5, channels).astype(np.float32) for k in ("s", "b", "m", "v")}
    nodes = [
        op("Conv", "x w1", "c1", "forward/c1/Conv2D", pads=[1] * 4),
        op("BatchNormalization", "c1 n1.s n1.b n1.m n1.v", "b1", "forward/n1/BatchNorm"),
        op("Relu", "b1", "r1", "forward/r1/Relu"),
        op("Conv", "r1 w2", "c2", "forward/c2/Conv2D", pads=[1] * 4),
        op("BatchNormalization", "c2 n2.s n2.b n2.m n2.v", "b2", "forward/n2/BatchNorm"),
        op("Add", "b2 r1", "a", "forward/add/Add"),
        op("Relu", "a", "r2", "forward/r2/Relu"),
        op("MaxPool", "r2", "p", "forward/pool/MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
        op("Conv", "p w3", "c3", "forward/c3/Conv2D", pads=[1] * 4),
        op("GlobalAveragePool", "c3", "g", "forward/gap/Mean"),
        op("Flatten", "g", "f", "forward/gap/Reshape"),
        op("Gemm", "f fw fb", "h", "forward/fc/MatMul", transB=1),
        op("Relu", "h", "y", "forward/r3/Relu"),
    ]
    made = model(nodes, {"x": (FLOAT, (2, 3, 16, 16))}, {"y": (FLOAT, (2, 10))}, constants)
    return from_model(made, "cnn")


def _metadata(mode: Any, variables: tuple[Variable, ...], state: tuple[tuple[str, str], ...]) -> GraphMetadata:
    return GraphMetadata(
        workload="line",
        preset="tiny",
        config={},
        mode=mode,
        framework="hand",
        framework_version="1",
        noise="graph",
        purpose="simulators",
        data="synthetic",
        variables=variables,
        parameters=("line.w",),
        state=state,
    )


def line_training(width: int = 3, rate_input: bool = False) -> Graph:
    """One step of gradient descent on loss = sum((x . w)^2), rate 0.01: w.next = w - 0.02 (x . w) x; a step counter.

    With ``rate_input`` the 0.02 is the starting value of an input ``learning_rate``.
    """
    rate = "learning_rate" if rate_input else "rate"
    nodes = [
        op("Mul", "x line.w", "xw", "forward/line/Mul"),
        op("ReduceSum", "xw", "d", "forward/line/Sum", keepdims=1),
        op("Mul", "d d", "dd", "loss/loss/Mul"),
        op("ReduceSum", "dd", "loss", "loss/loss/Sum", keepdims=0),
        op("Mul", "d x", "g", "backward/line/Mul"),
        op("Mul", f"g {rate}", "u", "optimizer/line.w/ApplyGradientDescent/Mul_1"),
        op("Sub", "line.w u", "line.w.next", "optimizer/line.w/ApplyGradientDescent/Sub_1"),
        op("Add", "step one", "step.next", "optimizer/step/ApplyGradientDescent/Add_1"),
    ]
    made = model(
        nodes,
        {
            "x": (FLOAT, (width,)),
            "line.w": (FLOAT, (width,)),
            "step": (FLOAT, ()),
            **({rate: (FLOAT, ())} if rate_input else {}),
        },
        {"loss": (FLOAT, ()), "line.w.next": (FLOAT, (width,)), "step.next": (FLOAT, ())},
        {"one": np.float32(1), **({} if rate_input else {rate: np.float32(0.02)})},
    )
    variables = (
        Variable("line.w", (width,), Initialiser.constant(1.0)),
        Variable("step", (), Initialiser.constant(0.0)),
        *([Variable(rate, (), Initialiser.constant(0.02))] if rate_input else []),
    )
    _metadata("training", variables, (("line.w.next", "line.w"), ("step.next", "step"))).write(made)
    return from_model(made, "line-train")


def line_inference(width: int = 3, outputs: int = 2) -> Graph:
    """y = relu(x W' + b), the parameters as inputs."""
    nodes = [
        op("Gemm", "x line.w line.b", "h", "forward/line/MatMul", transB=1),
        op("Relu", "h", "y", "forward/relu/Relu"),
    ]
    made = model(
        nodes,
        {"x": (FLOAT, (1, width)), "line.w": (FLOAT, (outputs, width)), "line.b": (FLOAT, (outputs,))},
        {"y": (FLOAT, (1, outputs))},
    )
    variables = (
        Variable("line.w", (outputs, width), Initialiser("uniform", 1.0)),
        Variable("line.b", (outputs,), Initialiser.constant(0.5)),
    )
    _metadata("inference", variables, ()).write(made)
    return from_model(made, "line")


def control_flow() -> Graph:
    """A Loop whose body holds a MatMul and an If with two branches; then an addition outside."""
    float_info = lambda name: helper.make_tensor_value_info(name, FLOAT, [8, 8])  # noqa: E731
    then = helper.make_graph([op("Tanh", "inner", "then_out", "/loop/if/Tanh")], "then", [], [float_info("then_out")])
    other = helper.make_graph([op("Relu", "inner", "else_out", "/loop/if/Relu")], "else", [], [float_info("else_out")])
    body = helper.make_graph(
        [
            op("MatMul", "state x", "inner", "/loop/MatMul"),
            op("ReduceSum", "inner", "total", "/loop/ReduceSum", keepdims=0),
            op("Greater", "total zero", "positive", "/loop/Greater"),
            op("If", "positive", "next", "/loop/If", then_branch=then, else_branch=other),
            op("Identity", "go", "go_on", "/loop/Identity"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("go", BOOL, []),
            float_info("state"),
        ],
        [helper.make_tensor_value_info("go_on", BOOL, []), float_info("next")],
    )
    nodes = [op("Loop", "trips yes x", "z", "/loop/Loop", body=body), op("Add", "z x", "y", "/out/Add")]
    made = model(
        nodes,
        {"x": (FLOAT, (8, 8))},
        {"y": (FLOAT, (8, 8))},
        {"trips": np.int64(5), "yes": np.bool_(True), "zero": np.float32(0)},
    )
    return from_model(made, "loop")


def data_dependent() -> Graph:
    """Two products of [2, 2] matrices; the shape of one's operand depends on the data."""
    nodes = [
        op("NonZero", "x", "i"),
        op("Cast", "i", "f", to=FLOAT),
        op("MatMul", "x f", "y", "unknown"),
        op("MatMul", "x x", "z", "known"),
    ]
    made = model(nodes, {"x": (FLOAT, (2, 2))}, {"y": (FLOAT, [2, None]), "z": (FLOAT, (2, 2))})
    return from_model(made, "dependent")
