"""The table of CUDA kernels, and that what is exported has one for every node."""

from __future__ import annotations

import functools
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from fathom_onnx.compat import CONSUMERS, Facts, judge
from fathom_onnx.compat.cuda_kernels import KERNELS, UNLESS, has_kernel, kernel_version
from fathom_onnx.exporting import ExportRequest, Purpose, find_exporter, purpose_for
from fathom_onnx.graph import Graph, from_model, load
from fathom_onnx.workloads import definition
from support.graphs.small_models import FLOAT, INT64, control_flow, model, op
from support.paths import GRAPHS as FOLDER

GRAPHS = sorted(FOLDER.rglob("*.onnx"))
CUDA = next(c for c in CONSUMERS if c.name == "onnxruntime CUDA")


def without_kernel(graph: Graph) -> list[str]:
    types = {name: tensor.dtype for name, tensor in graph.tensors.items()}
    return [f"{n.name} ({n.op_type})" for n in graph.model.graph.node if not has_kernel(n, types)]


def test_the_table_is_sound() -> None:
    assert len(KERNELS) == 133
    assert KERNELS["And"] == ({"T": frozenset({"bool"}), "T1": frozenset({"bool"})},)
    for name, rows in KERNELS.items():
        schema = onnx.defs.get_schema(name, 18)
        labels = {p.name for p in (*schema.inputs, *schema.outputs)} | {
            c.type_param_str for c in schema.type_constraints
        }
        assert rows, name
        assert all(types for row in rows for types in row.values()), name
        # a name that only newer or older versions of the op have constrains nothing here
        assert all(set(row) & labels or not row for row in rows), name
    assert set(UNLESS) <= set(KERNELS)


@pytest.mark.parametrize(
    ("node", "types", "found"),
    [
        (op("Add", "a b", "y", "n"), {"a": "float32", "b": "float32", "y": "float32"}, True),
        (op("Add", "a b", "y", "n"), {"a": "bool", "b": "bool", "y": "bool"}, False),
        (op("Add", "a b", "y", "n"), {}, True),
        (op("Det", "a", "y", "n"), {"a": "float32", "y": "float32"}, False),
        (op("OneHot", "i d v", "y", "n"), {"i": "int64", "d": "int64", "v": "float32", "y": "float32"}, True),
        # a constraint for each input, but not every combination of them
        (op("OneHot", "i d v", "y", "n"), {"i": "int32", "d": "int64", "v": "float32", "y": "float32"}, False),
        (op("ArgMax", "a", "y", "n"), {"a": "float32", "y": "int64"}, True),
        (op("ArgMax", "a", "y", "n", select_last_index=1), {"a": "float32", "y": "int64"}, False),
        (op("ArgMax", "a", "y", "n"), {"a": "int64", "y": "int64"}, False),
        (op("ConvTranspose", "a w", "y", "n", pads=[1, 1, 1, 1], output_padding=[1, 1], strides=[2, 2]), {}, True),
        (op("ConvTranspose", "a w", "y", "n", pads=[1, 1, 0, 0]), {}, False),
        (op("ConvTranspose", "a w", "y", "n", auto_pad="SAME_UPPER"), {}, False),
        (op("MaxPool", "a", "y i", "n", kernel_shape=[2]), {"a": "float32", "y": "float32", "i": "int64"}, True),
        (op("GatherND", "a i", "y", "n"), {"a": "float32", "i": "int64", "y": "float32"}, True),
        (op("GatherND", "a i", "y", "n"), {"a": "int32", "i": "int64", "y": "int32"}, False),
        (op("Pad", "a p", "y", "n"), {"a": "int64", "p": "int64", "y": "int64"}, False),
        (op("Concat", "a b c", "y", "n", axis=0), {"a": "int64", "b": "int64", "c": "int64", "y": "int64"}, True),
    ],
)
def test_who_has_a_kernel(node: onnx.NodeProto, types: dict[str, str], found: bool) -> None:
    assert has_kernel(node, types) is found


def test_versions_of_ops() -> None:
    assert kernel_version("Relu", 18)
    assert kernel_version("Relu", 21)
    assert not kernel_version("Reshape", 21)
    assert not kernel_version("Relu", 6)
    assert not kernel_version("Gelu", 20)


@pytest.mark.parametrize("path", GRAPHS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_node_of_the_graphs_has_a_kernel(path: Path) -> None:
    assert without_kernel(load(path)) == []


@functools.cache
def training(name: str, framework: str, purpose: Purpose) -> Graph:
    request = ExportRequest(definition(name).configure("tiny", {}), "training", purpose=purpose)
    return from_model(find_exporter(framework).export(request), name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "framework"), [("residual", "torch"), ("alexnet", "torch"), ("deepq", "tensorflow")])
def test_every_node_of_the_set_for_cuda_has_a_kernel(name: str, framework: str) -> None:
    graph = training(name, framework, "cuda")
    assert graph.metadata is not None
    assert graph.metadata.purpose == "cuda"
    assert without_kernel(graph) == []


@pytest.mark.slow
def test_the_set_for_cpus_has_transposed_convolutions_without_kernels() -> None:
    assert without_kernel(training("residual", "torch", "onnxruntime")) == [
        f"backward/layer{i}.0.conv1/Conv2DBackInput (ConvTranspose)"
        for i in (3, 2)  # that of layer4 is a product over patches
    ]
    kinds = {
        purpose: {
            n.op_type for n in training("residual", "torch", purpose).model.graph.node if "Conv2DBackInput" in n.name
        }
        for purpose in ("onnxruntime", "cuda")
    }
    assert kinds["cuda"] == {"ConvTranspose"}
    assert {"Conv", "ConvTranspose"} <= kinds["onnxruntime"]


def test_graphs_are_made_for_the_provider_they_run_on() -> None:
    assert [purpose_for(ep) for ep in ("cpu", "cuda", "other")] == ["onnxruntime", "cuda", "onnxruntime"]


def said(graph: Graph) -> list[str]:
    return [reason.text for reason in judge(Facts(graph, graph.model), CUDA).reasons]


def test_the_consumer() -> None:
    nodes = [op("Shape", "x", "s", "shape"), op("Det", "x", "y", "det"), op("Reshape", "x s", "z", "reshape")]
    made = model(nodes, {"x": (FLOAT, (3, 2, 2))}, {"y": (FLOAT, (3,)), "z": (FLOAT, (3, 2, 2))})
    assert said(from_model(made, "det")) == ["Det has no CUDA kernel for float32"]
    # arithmetic of shapes may be on the CPU: ReduceProd has no kernel for integers
    nodes = [
        op("Shape", "x", "s", "shape"),
        op("ReduceProd", "s", "n", "product"),
        op("Reshape", "x n", "z", "reshape"),
    ]
    shapes = model(nodes, {"x": (FLOAT, (3, 2))}, {"z": (FLOAT, (6,))})
    assert said(from_model(shapes, "shapes")) == []
    assert not has_kernel(shapes.graph.node[1], {"s": "int64", "n": "int64"})
    fused = op("FusedMatMul", "x x", "y", "m", domain="com.microsoft")
    other = model([fused], {"x": (FLOAT, (2, 2))}, {"y": (FLOAT, (2, 2))}, infer=False)
    other.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    assert said(Graph(other, "fused")) == [
        "FusedMatMul is of the domain com.microsoft, whose kernels are not in the table"
    ]
    newer = onnx.ModelProto()
    newer.CopyFrom(shapes)
    newer.opset_import[0].version = 21
    assert said(from_model(newer, "newer")) == ["Reshape of opset 21 is not in the table of kernels"]
    assert said(control_flow()) == []
    text = model(
        [op("Cast", "i", "t", "c", to=TensorProto.STRING)], {"i": (INT64, (2,))}, {"t": (TensorProto.STRING, (2,))}
    )
    assert said(from_model(text, "text")) == []


def test_a_constant_needs_no_kernel() -> None:
    held = op("Constant", "", "c", "c", value_floats=[1.0, 2.0])
    made = model([held, op("Add", "x c", "y", "a")], {"x": (FLOAT, (2,))}, {"y": (FLOAT, (2,))})
    assert said(from_model(made, "constant")) == []
