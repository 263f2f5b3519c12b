"""Conversions to ONNX again: initializers, compute only, another batch; what they compute is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.convert import find_converter
from fathom_onnx.convert.converter import Conversion
from fathom_onnx.convert.onnx_files.onnx_file import KEY
from fathom_onnx.convert.write import ConversionJob, convert_file
from fathom_onnx.errors import DataError, GraphError, UsageError
from fathom_onnx.graph import Graph, from_model, load
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.workloads.contract import Initialiser, Variable
from support.graphs.small_models import FLOAT, cnn, control_flow, line_inference, line_training, model, op
from support.paths import GRAPHS


def converted(name: str, graph: Graph, **options: Any) -> Conversion:
    converter = find_converter(name)
    return converter.convert(graph, converter.request("out", options))


def written(conversion: Conversion, folder: Path) -> Path:
    for suffix, content in conversion.files.items():
        with (folder / f"out{suffix}").open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
    return folder / "out.onnx"


def run(source: Path | Graph, feeds: dict[str, Any]) -> dict[str, Any]:
    data = str(source) if isinstance(source, Path) else source.model.SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, feeds), strict=True))


def said(path: Path) -> dict[str, Any]:
    (text,) = [p.value for p in onnx.load(path, load_external_data=False).metadata_props if p.key == KEY]
    found: dict[str, Any] = json.loads(text)
    return found


# initializers


def test_initializers_of_inference(tmp_path: Path) -> None:
    graph = line_inference()
    path = written(converted("initializers", graph, values="seed", seed=5), tmp_path)
    values = variable_values(graph, 5)
    made = onnx.load(path)
    assert [i.name for i in made.graph.input] == ["x"]
    assert {t.name: numpy_helper.to_array(t).tolist() for t in made.graph.initializer} == {
        name: value.tolist() for name, value in values.items()
    }
    onnx.checker.check_model(str(path), full_check=True)
    x = np.array([[1, -2, 3]], np.float32)
    expected = np.maximum(x @ values["line.w"].T + values["line.b"], 0)
    np.testing.assert_allclose(run(path, {"x": x})["y"], expected, rtol=1e-6)
    assert load(path).batch_inputs == load(path).inputs
    assert said(path)["format"] == "initializers"


def test_a_zero_file_is_a_hole_of_the_right_size(tmp_path: Path) -> None:
    path = written(converted("initializers", line_inference(width=100_000, outputs=20)), tmp_path)
    data = tmp_path / "out.onnx.data"
    first, second = onnx.load(path, load_external_data=False).graph.initializer
    places = [{e.key: e.value for e in t.external_data} for t in (first, second)]
    assert places == [
        {"location": "out.onnx.data", "offset": "0", "length": "8000000"},
        {"location": "out.onnx.data", "offset": "8003584", "length": "80"},  # the next whole page
    ]
    assert data.stat().st_size == 8003584 + 80
    assert data.stat().st_blocks * 512 < 100_000
    assert not numpy_helper.to_array(onnx.load(path).graph.initializer[0]).any()


def test_initializers_of_a_training_step_are_inputs_too(tmp_path: Path) -> None:
    path = written(converted("initializers", line_training(), values="seed"), tmp_path)
    made = load(path)
    assert [t.name for t in made.model.graph.initializer if t.name == "line.w"] == ["line.w"]
    assert [i.name for i in made.model.graph.input] == ["x", "line.w", "step"]
    feeds = {"x": np.array([1, 2, 3], np.float32), "step": np.array(4, np.float32)}
    left = run(path, feeds)
    assert left["loss"] == pytest.approx(36)  # the weights start as ones
    given = run(path, {**feeds, "line.w": np.array([1, 0, 0], np.float32)})
    assert given["loss"] == pytest.approx(1)
    assert left["step.next"] == 5
    assert made.training


def test_initializers_from_a_file(tmp_path: Path) -> None:
    graph = line_inference()
    arrays = {"line.w": np.arange(6, dtype=np.float64).reshape(2, 3), "line.b": np.ones(2, np.float32)}
    np.savez(tmp_path / "values.npz", **arrays)
    path = written(converted("initializers", graph, values=str(tmp_path / "values.npz")), tmp_path)
    assert run(path, {"x": np.ones((1, 3), np.float32)})["y"].tolist() == [[4, 13]]
    np.savez(tmp_path / "values.npz", **{**arrays, "line.w": np.zeros((3, 2), np.float32)})
    with pytest.raises(DataError, match=r"'line.w' in .* is float32 \[3, 2\], not float32 \[2, 3\]"):
        written(converted("initializers", graph, values=str(tmp_path / "values.npz")), tmp_path)
    np.savez(tmp_path / "values.npz", **{"line.w": arrays["line.w"]})
    with pytest.raises(DataError, match=r"has no array 'line.b'"):
        converted("initializers", graph, values=str(tmp_path / "values.npz"))
    (tmp_path / "text").write_text("no arrays")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "values.npz").read_bytes()[:100])
    for name in ("text", "cut.npz", "none.npz"):
        with pytest.raises(DataError, match="cannot read values"):
            converted("initializers", graph, values=str(tmp_path / name))


def test_axes_among_the_parameters_stand_in_the_model(tmp_path: Path) -> None:
    """onnxruntime infers shapes from the values in the model alone; in the oldest format these had to be inputs."""
    made = model(
        [op("ReduceSum", "x a", "y", keepdims=0)],
        {"x": (FLOAT, (2, 3)), "a": (onnx.TensorProto.INT64, (1,))},
        {"y": (FLOAT, (2,))},
        infer=False,
    )
    made.ir_version = 3
    metadata = line_inference().metadata
    assert metadata is not None
    axes = Variable("a", (1,), Initialiser.constant(1), "int64")
    replace(metadata, variables=(axes,), parameters=("a",)).write(made)
    path = written(converted("initializers", from_model(made, "sum"), values="seed"), tmp_path)
    assert [t.name for t in load(path).inputs] == ["x"]
    assert run(path, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})["y"].tolist() == [3, 12]


def test_initializers_need_parameters(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="does not say which inputs are its parameters"):
        converted("initializers", cnn())
    path = written(converted("initializers", line_inference()), tmp_path)
    with pytest.raises(GraphError, match="has no parameters as inputs"):
        converted("initializers", load(path))


# compute-only


def test_compute_only() -> None:
    graph = cnn()
    conversion = converted("compute-only", graph)
    content = conversion.files[".onnx"]
    assert isinstance(content, bytes)
    made = from_model(onnx.load_from_string(content), "compute")
    assert [n.op_type for n in made.model.graph.node] == ["Conv", "Conv", "Conv", "Gemm"]
    assert [t.name for t in made.inputs] == ["x", "r1", "p", "f"]
    assert [(t.name, t.shape) for t in made.outputs] == [
        ("c1", (2, 12, 16, 16)),
        ("c2", (2, 12, 16, 16)),
        ("c3", (2, 12, 8, 8)),
        ("h", (2, 10)),
    ]
    assert set(made.initializers) == {"w1", "w2", "w3", "fw", "fb"}
    assert all(any(a.name == "kernel_shape" for a in n.attribute) for n in made.model.graph.node[:3])
    macs = sum(cost.macs or 0 for cost in graph_costs(made))
    assert macs == conversion.kept.macs == conversion.total.macs
    assert said_in(made)["macs_kept"] == 1.0
    onnx.checker.check_model(made.model, full_check=True)


def said_in(graph: Graph) -> dict[str, Any]:
    (text,) = [p.value for p in graph.model.metadata_props if p.key == KEY]
    found: dict[str, Any] = json.loads(text)
    return found


def test_compute_only_keeps_what_flows_between_products(tmp_path: Path) -> None:
    nodes = [op("MatMul", "x w", "a"), op("MatMul", "a w", "b"), op("Relu", "b", "c"), op("Det", "c", "y")]
    made = from_model(model(nodes, {"x": (FLOAT, (3, 3)), "w": (FLOAT, (3, 3))}, {"y": (FLOAT, ())}), "chain")
    conversion = converted("compute-only", made)
    path = written(conversion, tmp_path)
    result = load(path)
    assert [t.name for t in result.inputs] == ["x", "w"]
    assert [t.name for t in result.outputs] == ["b"]
    assert [n.name for n in result.model.graph.node] == ["MatMul_0", "MatMul_1"]
    assert (conversion.kept.macs, conversion.total.macs) == (54, 54 + 3 * 2 * 5 // 6)
    assert [(r.op, r.macs) for r in conversion.left_out] == [("Det", 5), ("Relu", 0)]
    x, w = np.ones((3, 3), np.float32), np.eye(3, dtype=np.float32)
    assert run(path, {"x": x, "w": w})["b"].tolist() == x.tolist()


def test_compute_only_writes_the_products_within_other_ops(tmp_path: Path) -> None:
    nodes = [op("MatMul", "x w", "a", "fc"), op("Einsum", "a v", "y", "score", equation="bqd,bkd->bqk")]
    shapes = {"x": (2, 3, 4), "w": (4, 4), "v": (2, 5, 4)}
    made = from_model(model(nodes, {n: (FLOAT, s) for n, s in shapes.items()}, {"y": (FLOAT, (2, 3, 5))}), "scores")
    conversion = converted("compute-only", made)
    result = load(written(conversion, tmp_path))
    assert [(n.op_type, n.name) for n in result.model.graph.node] == [("MatMul", "fc"), ("MatMul", "score")]
    assert {t.name: t.shape for t in result.inputs} == {
        "x": (2, 3, 4),
        "w": (4, 4),
        "y:left": (2, 3, 4),
        "y:right": (2, 4, 5),
    }
    assert {t.name: t.shape for t in result.outputs} == {"a": (2, 3, 4), "y:product": (2, 3, 5)}
    assert conversion.kept.macs == conversion.total.macs == 2 * 3 * 4 * 4 + 2 * 3 * 5 * 4
    said = "1 nodes of other ops or forms are the matrix products within them, on tensors of their own."
    assert conversion.notes[1] == said


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"group": 4, "strides": [2], "dilations": [3], "pads": [2, 5]},
        {"auto_pad": "SAME_UPPER", "strides": [2], "kernel_shape": [3]},
    ],
)
def test_compute_only_writes_a_convolution_along_one_axis_along_two(attributes: dict[str, Any], tmp_path: Path) -> None:
    group = attributes.get("group", 1)
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 4, 17), (8, 4 // group, 3), (8,)))
    nodes = [op("Conv", "x w b", "a", "wide", **attributes), op("Relu", "a", "y")]
    fed = {"x": (FLOAT, x.shape), "b": (FLOAT, b.shape)}
    made = from_model(model(nodes, fed, {"y": (FLOAT, None)}, {"w": w}), "wide")
    conversion = converted("compute-only", made)
    path = written(conversion, tmp_path)
    result = load(path)
    (node,) = result.model.graph.node
    assert (node.op_type, node.name) == ("Conv", "wide")
    assert [t.name for t in result.inputs] == ["a:image", "a:filters", "b"]
    macs = sum(cost.macs or 0 for cost in graph_costs(result))
    assert macs == conversion.kept.macs == conversion.total.macs > 0
    assert conversion.notes[1] == "1 convolutions along one axis are written along two, on tensors of their own."
    (wanted,) = run(made, {"x": x, "b": b}).values()
    found = run(path, {"a:image": x[:, :, None], "a:filters": w[:, :, None], "b": b})["a:result"]
    np.testing.assert_allclose(np.maximum(found[:, :, 0], 0), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("left", "right", "result", "products"),
    [
        ((5, 7), (3, 7, 2), (3, 5, 2), ((5, 7), (7, 6))),
        ((2, 1, 5, 7), (2, 3, 7, 2), (2, 3, 5, 2), ((2, 5, 7), (2, 7, 6))),
        ((7,), (7, 2), (2,), ((1, 7), (7, 2))),
        ((1, 2, 3, 5, 7), (1, 2, 3, 7, 2), (1, 2, 3, 5, 2), ((6, 5, 7), (6, 7, 2))),
    ],
)
def test_compute_only_writes_a_product_that_simulators_do_not_read_as_one_that_they_do(
    left: tuple[int, ...], right: tuple[int, ...], result: tuple[int, ...], products: tuple[tuple[int, ...], ...]
) -> None:
    made = from_model(
        model([op("MatMul", "x w", "y", "m")], {"x": (FLOAT, left), "w": (FLOAT, right)}, {"y": (FLOAT, result)}), "m"
    )
    conversion = converted("compute-only", made)
    alone = from_model(onnx.load_from_string(conversion.files[".onnx"]), "alone")
    assert tuple(t.shape for t in alone.inputs) == products
    assert sum(cost.macs or 0 for cost in graph_costs(alone)) == conversion.total.macs == conversion.kept.macs


def test_compute_only_of_a_training_step_of_ours() -> None:
    graph = load(GRAPHS / "tensorflow" / "deepq-train.onnx")
    conversion = converted("compute-only", graph)
    made = from_model(onnx.load_from_string(conversion.files[".onnx"]), "compute")
    assert made.metadata is None
    assert sum(cost.macs or 0 for cost in graph_costs(made)) == conversion.kept.macs
    assert conversion.kept.macs == sum(cost.macs or 0 for cost in graph_costs(graph))
    assert {n.name for n in made.model.graph.node} <= {n.name for n in graph.model.graph.node}
    assert len(conversion.notes) == 1  # nothing in it that ZigZag would ignore


@pytest.mark.parametrize("group", [1, 2])
def test_compute_only_with_a_transposed_convolution_as_a_product(group: int, tmp_path: Path) -> None:
    nodes = [op("ConvTranspose", "x w", "a", "up", strides=[2, 2], group=group), op("Conv", "a v", "y", "next")]
    shapes = {"x": (2, 4, 5, 5), "w": (4, 3, 3, 3), "v": (2, 3 * group, 1, 1)}
    made = from_model(model(nodes, {n: (FLOAT, s) for n, s in shapes.items()}, {"y": (FLOAT, None)}), "up")
    conversion = converted("compute-only", made, transposed="product")
    result = load(written(conversion, tmp_path))
    said = f"1 nodes of {50 * 27 * 4} MACs are ConvTranspose, which ZigZag ignores."
    assert converted("compute-only", made).notes[1] == said
    macs = sum(cost.macs or 0 for cost in graph_costs(result))
    assert macs == conversion.total.macs == 50 * 27 * 4 + 2 * 2 * 3 * group * 11 * 11
    first = result.model.graph.node[0]
    if group == 1:
        assert (first.op_type, first.name) == ("MatMul", "up")
        shapes_of = {t.name: t.shape for t in (*result.inputs, *result.outputs)}
        assert shapes_of["x:positions"] == (50, 4)
        assert shapes_of["w:columns"] == (4, 27)
        assert shapes_of["a:products"] == (50, 27)
        assert shapes_of["a"] == (2, 3, 11, 11)  # what the next convolution takes is an input now
    else:
        assert first.op_type == "ConvTranspose"


def test_compute_only_of_nothing() -> None:
    with pytest.raises(GraphError, match="no convolution or matrix product"):
        converted("compute-only", control_flow())


# batch


def test_batch_of_ours_is_the_same_by_sample(tiny: Callable[..., Graph], tmp_path: Path) -> None:
    graph = tiny("deepq", "torch", "inference")
    assert graph.metadata is not None
    old, new = graph.metadata.config["batch"], 5
    path = written(converted("batch", graph, batch=new), tmp_path)
    made = load(path)
    assert made.metadata is not None
    assert made.metadata.config == {**graph.metadata.config, "batch": new}
    values = variable_values(graph, 0)
    (fed,) = graph.batch_inputs
    assert fed.shape is not None
    x = np.random.default_rng(0).normal(size=(old, *fed.shape[1:])).astype(np.float32)
    rows = np.arange(new) % old
    before = run(graph, {**values, fed.name: x})
    after = run(path, {**values, fed.name: x[rows]})
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value[rows], rtol=1e-4, atol=1e-5)
    assert "became 5" in said(path)["notes"][0]


def images(shape: list[int], batch: int = 2, tail: list[onnx.NodeProto] | None = None) -> Graph:
    """A convolution, then a Reshape to a constant shape, then a product with a matrix of 36 rows."""
    nodes = [
        op("Conv", "x w", "a", "conv"),
        op("Reshape", "a shape", "b", "flatten"),
        *(tail or [op("MatMul", "b m", "y", "fc")]),
    ]
    rng = np.random.default_rng(1)
    constants = {
        "w": rng.normal(size=(4, 1, 2, 2)).astype(np.float32),
        "m": rng.normal(size=(36, 3)).astype(np.float32),
        "shape": np.array(shape),
        "row": np.array([[1], [2]], np.float32),
        "half": np.float32(0.5),
        "neg": np.float32(-1),
        "axis": np.array([0]),
        "m9": np.ones((9, 2), np.float32),
        "back": np.array([2, 8]),
    }
    return from_model(model(nodes, {"x": (FLOAT, (batch, 1, 4, 4))}, {"y": (FLOAT, None)}, constants), "images")


@pytest.mark.parametrize("shape", [[2, 36], [2, -1], [-1, 36], [0, -1]])
@pytest.mark.parametrize("new", [1, 2, 7])
def test_batch_of_any_other_graph(shape: list[int], new: int, tmp_path: Path) -> None:
    graph = images(shape)
    path = written(converted("batch", graph, batch=new), tmp_path)
    made = load(path)
    assert [t.shape for t in (*made.inputs, *made.outputs)] == [(new, 1, 4, 4), (new, 3)]
    assert made.tensors["b"].shape == (new, 36)
    x = np.random.default_rng(2).normal(size=(max(new, 2), 1, 4, 4)).astype(np.float32)
    before = run(graph, {"x": x[:2]})["y"]
    after = run(path, {"x": x[:new]})["y"]
    count = min(new, 2)
    np.testing.assert_allclose(after[:count], before[:count], rtol=1e-5, atol=1e-6)


def test_batch_of_a_graph_in_the_oldest_format(tmp_path: Path) -> None:
    """There every initializer has to be an input as well."""
    old = images([2, 36]).model
    old.ir_version = 3
    old.opset_import[0].version = 7
    for tensor in old.graph.initializer:
        old.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    graph = from_model(old, "old")
    path = written(converted("batch", graph, batch=3), tmp_path)
    made = load(path)
    assert made.model.ir_version == 3
    assert [t.shape for t in (*made.inputs, *made.outputs)] == [(3, 1, 4, 4), (3, 3)]
    x = np.random.default_rng(2).normal(size=(3, 1, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(path, {"x": x})["y"][:2], run(graph, {"x": x[:2]})["y"], rtol=1e-5, atol=1e-6)


def test_batch_that_a_reshape_joins_with_another_axis(tmp_path: Path) -> None:
    tail = [op("MatMul", "b m9", "c", "fc"), op("Reshape", "c back", "y", "split")]
    graph = images([8, 9], tail=tail)
    conversion = converted("batch", graph, batch=3)
    made = load(written(conversion, tmp_path))
    assert (made.tensors["b"].shape, made.outputs[0].shape) == ((12, 9), (3, 8))
    assert "Compared with the original in onnxruntime, sample by sample: y." in conversion.notes


def recurrent(start: np.ndarray, expanded: bool) -> Graph:
    """An LSTM over [batch 2, 5, 3] that starts from a constant."""
    nodes = [op("Transpose", "x", "t", perm=[1, 0, 2]), op("LSTM", "t w r", "y", hidden_size=4)]
    nodes[1].input[:] = ["t", "w", "r", "", "", "s" if expanded else "start"]
    if expanded:
        nodes.insert(0, op("Expand", "start shape", "s"))
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.normal(size=(1, 16, 3)).astype(np.float32),
        "r": rng.normal(size=(1, 16, 4)).astype(np.float32),
        "start": start.astype(np.float32),
        "shape": np.array([1, 2, 4]),
    }
    return from_model(model(nodes, {"x": (FLOAT, (2, 5, 3))}, {"y": (FLOAT, None)}, constants), "lstm")


@pytest.mark.parametrize("expanded", [False, True])
def test_batch_of_a_recurrent_layer(expanded: bool, tmp_path: Path) -> None:
    graph = recurrent(np.tile(np.arange(4), (1, 2, 1)), expanded)
    conversion = converted("batch", graph, batch=3)
    assert "Compared with the original in onnxruntime, sample by sample: y." in conversion.notes
    path = written(conversion, tmp_path)
    x = np.random.default_rng(4).normal(size=(3, 5, 3)).astype(np.float32)
    after = run(path, {"x": x})["y"]
    assert after.shape == (5, 1, 3, 4)
    np.testing.assert_allclose(after[:, :, :2], run(graph, {"x": x[:2]})["y"], rtol=1e-5, atol=1e-6)


def test_batch_of_a_recurrent_layer_that_starts_otherwise_for_each_sample() -> None:
    with pytest.raises(GraphError, match=r"cannot be run at batch 2 and then 3 .* export the model"):
        converted("batch", recurrent(np.arange(8).reshape(1, 2, 4), False), batch=3)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        # a table with a row a sample
        (images([2, 36], tail=[op("Add", "b row", "y", "table")]), "node name: table"),
        # in the right place only by its size
        (images([4, 2, 9], tail=[op("ReduceSum", "b axis", "y", "sum", keepdims=0)]), "output 'y'"),
        (images([4, 2, 2, 9], 2, [op("Relu", "b", "y")]), r"node 'flatten' \(Reshape\) has the shape \[4, 2, 2, 9\]"),
        # samples that depend on each other
        (
            images(
                [2, 36],
                tail=[
                    op("ReduceSum", "b axis", "s", "sum"),
                    op("Mul", "s half", "mean", "mean"),
                    op("Sub", "b mean", "y", "centre"),
                ],
            ),
            "output 'y' of graph 'images' differs from the original's",
        ),
    ],
)
def test_batch_that_cannot_be_rewritten(graph: Graph, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        converted("batch", graph, batch=3)


def test_batch_without_running() -> None:
    tail = [op("ReduceSum", "b axis", "s", "sum"), op("Sub", "b s", "y", "centre")]
    conversion = converted("batch", images([2, 36], tail=tail), batch=3, check="shapes")
    assert "Shapes were checked; the graph was not run." in conversion.notes


def test_batch_says_what_was_not_compared() -> None:
    tail = [op("ReduceSum", "b", "y", "sum", keepdims=0)]
    conversion = converted("batch", images([2, 36], tail=tail), batch=3)
    assert "Not compared, since they have no row a sample: y." in conversion.notes


def test_batch_of_inputs_that_differ() -> None:
    made = model([op("MatMul", "a b", "y")], {"a": (FLOAT, (2, 3)), "b": (FLOAT, (3, 4))}, {"y": (FLOAT, (2, 4))})
    with pytest.raises(GraphError, match=r"different first dimensions \('a' 2, 'b' 3\)"):
        converted("batch", from_model(made, "two"), batch=4)
    with pytest.raises(UsageError, match="needs the option 'batch'"):
        converted("batch", cnn())
    with pytest.raises(UsageError, match="batch size cannot be 0"):
        converted("batch", cnn(), batch=0)


def test_batch_of_a_graph_with_weights_does_not_lose_them(tmp_path: Path) -> None:
    path = written(converted("initializers", line_inference(), values="seed"), tmp_path)
    made = load(path)
    assert made.metadata is not None
    made.metadata = replace(made.metadata, config={"batch": 1})
    with pytest.raises(GraphError, match="has its parameters as initializers"):
        converted("batch", made, batch=4)


def test_batch_of_a_graph_that_is_never_finite() -> None:
    nan = [op("Sqrt", "neg", "s", "root"), op("Mul", "b s", "y", "never")]
    with pytest.raises(GraphError, match="output 'y' of graph 'images' is not finite on random inputs"):
        converted("batch", images([2, 36], tail=nan), batch=3)


def test_batch_that_it_has_already() -> None:
    conversion = converted("batch", cnn(), batch=2)
    assert conversion.notes == ("The batch was 2 already.",)


def test_a_graph_with_weights_in_a_file_of_their_own_becomes_one_file(tmp_path: Path) -> None:
    weights = np.arange(400, dtype=np.float32).reshape(20, 20)
    made = model([op("MatMul", "x w", "y")], {"x": (FLOAT, [2, 20])}, {"y": (FLOAT, [2, 20])}, {"w": weights})
    source = tmp_path / "source"
    source.mkdir()
    onnx.save(made, source / "m.onnx", save_as_external_data=True, location="m.data")
    converter = find_converter("batch")
    convert_file(ConversionJob(source / "m.onnx", tmp_path, "b", ".onnx"), converter, {"batch": 6})
    alone = onnx.load(tmp_path / "b.onnx")
    assert onnx.numpy_helper.to_array(alone.graph.initializer[0]).tolist() == weights.tolist()
    assert alone.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 6


def test_weights_that_one_file_cannot_hold_are_said(tmp_path: Path) -> None:
    made = model([op("MatMul", "x w", "y")], {"x": (FLOAT, [2, 20])}, {"y": (FLOAT, [2, 20])}, {})
    weight = onnx.TensorProto(name="w", dims=[20, 2**26], data_type=FLOAT, data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", "m.data"), ("offset", "0"), ("length", str(20 * 2**28))):
        weight.external_data.add(key=key, value=value)
    made.graph.initializer.append(weight)
    del made.graph.output[0].type.tensor_type.shape.dim[:]
    onnx.save(made, tmp_path / "m.onnx")
    with (tmp_path / "m.data").open("wb") as file:
        file.truncate(20 * 2**28)  # a hole: no disk is used
    with pytest.raises(GraphError, match=r"5\.4 GB of external weights, and one file cannot hold more than 2 GB"):
        load(tmp_path / "m.onnx").with_weights()
