"""Small graphs of canonical ops: built, lowered, run."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch

from fathom_exporters.lowering import DOMAIN, VERSION, Tag
from fathom_exporters.lowering.lower import LowerGradients

FLOAT = ir.TensorType(ir.DataType.FLOAT)


def value(name: str, array: np.ndarray) -> ir.Value:
    return ir.Value(name=name, type=FLOAT, shape=ir.Shape(array.shape))


def run(model: ir.Model, inputs: dict) -> list[np.ndarray]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(
        None, {n: array if array.dtype == np.int64 else array.astype(np.float32) for n, array in inputs.items()}
    )


def private_model(op: str, inputs: dict, shapes: list[tuple[int, ...]], **attributes) -> ir.Model:
    """A model of one private op between graph inputs and outputs."""
    values = [value(name, array) for name, array in inputs.items()]
    for one, array in zip(values, inputs.values(), strict=True):
        if array.dtype == np.int64:
            one.type = ir.TensorType(ir.DataType.INT64)
    node = ir.node(op, values, attributes, domain=DOMAIN, num_outputs=len(shapes))
    for index, (output, shape) in enumerate(zip(node.outputs, shapes, strict=True)):
        output.name, output.type, output.shape = f"out{index}", FLOAT, ir.Shape(shape)
    Tag("backward", "layer", op, "one").put(node)
    graph = ir.Graph(values, list(node.outputs), nodes=[node], opset_imports={"": 18, DOMAIN: VERSION}, name="g")
    return ir.Model(graph, ir_version=10)


def lowered(
    op: str, inputs: dict, shapes: list[tuple[int, ...]], form: str = "simulators", **attributes
) -> list[np.ndarray]:
    model = private_model(op, inputs, shapes, **attributes)
    LowerGradients(form)(model)
    assert not any(node.domain for node in model.graph)
    return run(model, inputs)


def close(got: np.ndarray, expected: torch.Tensor | np.ndarray, limit: float = 2e-6) -> None:
    expected = np.asarray(expected, dtype=np.float64)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= limit * max(np.abs(expected).max(), 1e-6)


def standard_model(nodes: list[ir.Node], inputs: list[ir.Value], outputs: list[ir.Value]) -> ir.Model:
    return ir.Model(ir.Graph(inputs, outputs, nodes=nodes, opset_imports={"": 18}, name="g"), ir_version=10)


def tagged(
    op_type: str, inputs: list[ir.Value], tag: tuple[str, str, str], shape: tuple[int, ...], **attributes
) -> ir.Node:
    node = ir.node(op_type, inputs, attributes or None)
    node.outputs[0].type, node.outputs[0].shape = FLOAT, ir.Shape(shape)
    Tag(*tag, origin="o").put(node)
    return node
