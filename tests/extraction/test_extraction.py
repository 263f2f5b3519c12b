"""Nodes and layers cut out of a run: what is written computes what it computed there, by the same kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from fathom_onnx.analysis.runs import Run
from fathom_onnx.cli import main
from fathom_onnx.errors import GraphError, UnknownNameError, UsageError
from fathom_onnx.extraction import cut, find_subject, time_alone, time_in_run
from fathom_onnx.extraction.alone import settings_of
from fathom_onnx.extraction.subjects import Kind, Subject
from fathom_onnx.graph import Graph, load
from fathom_onnx.profiling import profile
from fathom_onnx.runtime.optimized import STRUCTURE
from fathom_onnx.trace_profiling import profile_from_trace
from support.graphs.small_models import FLOAT, INT64, cnn, control_flow, line_inference, model, op
from support.runs.small_runs import Executed, hand_run
from support.runs.traces import session_trace

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def profiled(graph: Graph, folder: Path, feeds: dict[str, np.ndarray] | None = None) -> Run:
    """Profile the file of a graph into ``folder / "run"``."""
    path = folder / "graph.onnx"
    onnx.save(graph.model, path)
    return profile(load(path), threads=1, warmup=1, steps=3, feeds=feeds, folder=folder / "run")


def run_model(made: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs of a model, run as it is."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results: list[np.ndarray] = session.run(None, feeds)
    return results


def linear() -> Graph:
    """A product with a bias, on a reshaped input, with a weight that is transposed before the run; then a table."""
    nodes = [
        op("Reshape", "x size", "flat", "/in/Reshape"),
        op("Transpose", "w", "wt", "/fc/Transpose", perm=[1, 0]),
        op("MatMul", "flat wt", "m", "/fc/MatMul"),
        op("Add", "m b", "a", "/fc/Add"),
        op("Gather", "a rows", "y", "/pick/Gather", axis=0),
    ]
    constants = {"size": np.array([4, 6]), "w": normal(50, 6), "b": normal(50), "rows": np.arange(400) % 4}
    made = model(nodes, {"x": (FLOAT, (2, 2, 6))}, {"y": (FLOAT, (400, 50))}, constants)
    return load_model(made)


def load_model(made: onnx.ModelProto) -> Graph:
    from fathom_onnx.graph import from_model

    return from_model(made, "linear")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Run]]:
    made = {}
    for name, graph in (("cnn", cnn()), ("loop", control_flow()), ("linear", linear())):
        folder = tmp_path_factory.mktemp(name)
        made[name] = (folder / "run", profiled(graph, folder))
    return made


def subject(runs: dict[str, tuple[Path, Run]], name: str, node: str, kind: Kind | None = None) -> Subject:
    folder, run = runs[name]
    return find_subject(folder, run, node, kind)


def test_a_run_folder_keeps_the_optimized_model_without_its_weights(runs: dict[str, tuple[Path, Run]]) -> None:
    folder, run = runs["linear"]
    kept = onnx.load(folder / STRUCTURE, load_external_data=False)
    assert [node.name for node in kept.graph.node] == list(run.nodes["name"])
    held = {t.name: t for t in kept.graph.initializer}
    weight = next(t for t in held.values() if tuple(t.dims) in ((50, 6), (6, 50)))
    assert weight.data_location == onnx.TensorProto.EXTERNAL
    assert not weight.raw_data
    # 3,200 bytes of indices decide what is gathered
    assert onnx.numpy_helper.to_array(held["rows"]).tolist() == [i % 4 for i in range(400)]


def test_an_executed_convolution_keeps_its_layout_its_residual_and_its_kernel(
    runs: dict[str, tuple[Path, Run]], tmp_path: Path
) -> None:
    _, run = runs["cnn"]
    found = subject(runs, "cnn", "b2_nchwc")
    part = cut(found)
    (node,) = part.model.graph.node
    assert (node.op_type, node.domain) == ("Conv", "com.microsoft.nchwc")
    assert len(part.inputs) == 2  # the data and, in blocks of channels, what is added
    assert list(part.inputs.values()) == [(2, 12, 16, 16), (2, 16, 16, 16)]
    assert (16, 12, 3, 3) in part.constants.values()
    onnx.save(part.model, tmp_path / "node.onnx")
    timing, alone = time_alone(tmp_path / "node.onnx", settings_of(run, found), steps=3)
    assert [(n, k) for n, k in zip(alone.nodes["name"], alone.nodes["op_type"], strict=True)] == [("b2_nchwc", "Conv")]
    assert timing.us > 0


def test_weights_that_the_run_kept_compute_what_they_did(runs: dict[str, tuple[Path, Run]]) -> None:
    part = cut(subject(runs, "cnn", "fused forward/fc/MatMul"))
    assert part.drawn == ()
    x = normal(2, 12)
    held = {t.name: onnx.numpy_helper.to_array(t) for t in cnn().model.graph.initializer}
    (result,) = run_model(part.model, {"f": x})
    np.testing.assert_allclose(result, np.maximum(x @ held["fw"].T + held["fb"], 0), rtol=1e-5, atol=1e-5)


def test_an_original_product_has_its_own_weight_though_it_was_transposed_before_the_run(
    runs: dict[str, tuple[Path, Run]],
) -> None:
    part = cut(subject(runs, "linear", "/fc/MatMul", "original"))
    assert part.inputs == {"flat": (4, 6)}
    assert part.constants == {"wt": (6, 50)}
    graph = onnx.load(runs["linear"][0].parent / "graph.onnx")
    weight = next(onnx.numpy_helper.to_array(t) for t in graph.graph.initializer if t.name == "w")
    x = normal(4, 6)
    np.testing.assert_allclose(run_model(part.model, {"flat": x})[0], x @ weight.T, rtol=1e-5)


def test_sizes_and_indices_keep_their_values(runs: dict[str, tuple[Path, Run]]) -> None:
    reshape = cut(subject(runs, "linear", "/in/Reshape"))
    assert run_model(reshape.model, {"x": normal(2, 2, 6)})[0].shape == (4, 6)
    gather = cut(subject(runs, "linear", "/pick/Gather"))
    assert gather.drawn == ()
    data = normal(4, 50)
    (taken,) = gather.inputs
    np.testing.assert_array_equal(run_model(gather.model, {taken: data})[0], data[np.arange(400) % 4])


@pytest.mark.parametrize("kind", ["executed", "original"])
def test_a_node_of_a_branch_of_an_if_stands_alone(kind: Kind, runs: dict[str, tuple[Path, Run]]) -> None:
    found = subject(runs, "loop", "/loop/if/Tanh", kind)
    part = cut(found)
    assert part.inputs == {"inner": (8, 8)}
    x = normal(8, 8)
    np.testing.assert_allclose(run_model(part.model, {"inner": x})[0], np.tanh(x), rtol=1e-5)


def test_what_a_body_takes_from_around_it_comes_along(runs: dict[str, tuple[Path, Run]]) -> None:
    part = cut(subject(runs, "loop", "/loop/Greater", "original"))
    assert (part.inputs, part.constants) == ({"total": ()}, {"zero": ()})
    assert run_model(part.model, {"total": np.array(3, np.float32)})[0] == np.True_
    loop = cut(subject(runs, "loop", "/loop/Loop"))
    assert loop.inputs == {"x": (8, 8)}
    x = normal(8, 8) * 0.3
    expected = x
    for _ in range(5):
        inner = expected @ x
        expected = np.tanh(inner) if inner.sum() > 0 else np.maximum(inner, 0)
    np.testing.assert_allclose(run_model(loop.model, {"x": x})[0], expected, rtol=1e-4, atol=1e-6)


def test_a_layer_is_its_nodes_without_what_was_computed_before_the_run(runs: dict[str, tuple[Path, Run]]) -> None:
    found = subject(runs, "linear", "fc", "layer")
    part = cut(found)
    assert [node.name for node in part.model.graph.node] == ["/fc/MatMul", "/fc/Add"]
    assert (part.inputs, set(part.constants)) == ({"flat": (4, 6)}, {"wt", "b"})
    assert [output.name for output in part.model.graph.output] == ["a"]


def test_parameters_that_are_inputs_of_our_graphs_are_constants_as_in_their_run(tmp_path: Path) -> None:
    run = profiled(line_inference(), tmp_path, {"x": normal(1, 3)})
    part = cut(find_subject(tmp_path / "run", run, "forward/line/MatMul", "original"))
    assert (set(part.inputs), set(part.constants)) == ({"x"}, {"line.w", "line.b"})
    assert part.drawn == ()


def test_the_time_in_the_run_is_that_of_one_execution() -> None:
    run = hand_run(
        [
            Executed("one", (10, 20, 30), {"a": 0.5, "b": 0.5}),
            Executed("two", (4, 8, 8), {"b": 1.0}, calls=4),
            Executed("moved", (100, 100, 100), {"b": 1.0}, kind="charged"),
        ],
        (1, 1, 1),
    )
    facts: dict[str, Any] = dict.fromkeys(("model", "scopes", "tensors", "values", "weights", "folder"))
    node = onnx.NodeProto()
    executed = time_in_run(run, Subject("two", "executed", nodes=(node,), rows=(1,), **facts))
    assert (executed.us, executed.q1_us, executed.q3_us, executed.steps, executed.calls) == (2, 1.5, 2, 3, 4)
    original = time_in_run(run, Subject("a", "original", nodes=(node,), originals=("a",), **facts))
    assert (original.us, original.calls) == (10, 1)
    # b runs 4 times: 5 + 4, 10 + 8 and 15 + 8 in the steps
    assert time_in_run(run, Subject("b", "original", nodes=(node,), originals=("b",), **facts)).us == 18 / 4


def test_a_trace_of_someone_else_gives_executed_nodes_with_its_optimized_model_only(tmp_path: Path) -> None:
    graph, trace, optimized = session_trace(cnn().model, tmp_path)
    run = profile_from_trace(graph, trace, optimized, folder=tmp_path / "run")
    part = cut(find_subject(tmp_path / "run", run, "b2_nchwc"))
    assert (2, 16, 16, 16) in part.inputs.values()
    bare = profile_from_trace(graph, trace, folder=tmp_path / "bare")
    with pytest.raises(UsageError, match=r"holds no optimized\.onnx; profile the trace again with --optimized"):
        find_subject(tmp_path / "bare", bare, "b2_nchwc")
    assert cut(find_subject(tmp_path / "bare", bare, "forward/c2/Conv2D", "original")).inputs == {"r1": (2, 12, 16, 16)}


def extract(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["extract", *map(str, arguments)])


def test_the_command_sets_the_time_alone_beside_that_in_the_run(
    runs: dict[str, tuple[Path, Run]], tmp_path: Path
) -> None:
    folder, run = runs["cnn"]
    output = tmp_path / "node.onnx"
    shown = extract(folder, "c2", "--layer", "-o", output, "--steps", 3)
    assert shown.exit_code == 0, shown.output
    assert "in the run" in shown.output
    assert "times its time in the run" in shown.output
    found = json.loads(extract(folder, "forward/c2/Conv2D", "-o", output, "--steps", 3, "--json").stdout)
    assert found["kind"] == "original"
    assert found["alone_nodes"][0] == "Conv"
    by_name = run.originals.set_index("name")["us"]
    assert found["in_run"]["us"] == pytest.approx(by_name["forward/c2/Conv2D"])
    written = extract(folder, "forward/c2/Conv2D", "-o", output, "--no-run", "--json")
    assert json.loads(written.stdout)["alone"] is None
    onnx.checker.check_model(str(output))


def test_what_cannot_be_cut_out_is_told(runs: dict[str, tuple[Path, Run]], tmp_path: Path) -> None:
    folder, run = runs["cnn"]
    with pytest.raises(UnknownNameError, match=r"did you mean 'forward/c2/Conv2D'"):
        find_subject(folder, run, "forward/c2/Conv2d")
    with pytest.raises(UnknownNameError, match="unknown layer 'nothing'"):
        find_subject(folder, run, "nothing", "layer")
    other = tmp_path / "other.onnx"
    onnx.save(control_flow().model, other)
    with pytest.raises(UsageError, match="not the graph of the run"):
        find_subject(folder, run, "c2", "layer", other)
    moved = Run(**{**run.__dict__, "manifest": {**run.manifest, "graph_file": str(tmp_path / "gone.onnx")}})
    with pytest.raises(GraphError, match="give it with --graph"):
        find_subject(folder, moved, "c2", "layer")
    assert find_subject(folder, moved, "c2", "layer", folder.parent / "graph.onnx").kind == "layer"
    refused = extract(folder, "c2", "--layer", "--original", "-o", other)
    assert refused.exit_code == 2
    with pytest.raises(UsageError, match="cannot be run on 'DmlExecutionProvider'"):
        provider = Run(**{**run.__dict__, "manifest": {**run.manifest, "provider": "DmlExecutionProvider"}})
        settings_of(provider, find_subject(folder, run, "b2_nchwc"))


def test_indices_that_are_fed_stay_inputs(tmp_path: Path) -> None:
    nodes = [op("Gather", "table ids", "e", "/emb/Gather"), op("Relu", "e", "y", "/r/Relu")]
    made = model(nodes, {"ids": (INT64, (3,))}, {"y": (FLOAT, (3, 300))}, {"table": normal(10, 300)})
    run = profiled(load_model(made), tmp_path)
    found = find_subject(tmp_path / "run", run, "/emb/Gather")
    part = cut(found)
    assert (part.inputs, part.drawn) == ({"ids": (3,)}, ("table",))
    onnx.save(part.model, tmp_path / "node.onnx")
    _, alone = time_alone(tmp_path / "node.onnx", settings_of(run, found), steps=2)
    assert list(alone.nodes["op_type"]) == ["Gather"]
