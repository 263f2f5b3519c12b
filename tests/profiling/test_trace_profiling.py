"""Run folders made of traces that other sessions wrote."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from fathom_onnx.analysis.comparison import compare, worse_than
from fathom_onnx.analysis.overlays import coverage, node_times, read_graph
from fathom_onnx.analysis.runs import Run
from fathom_onnx.cli import main
from fathom_onnx.errors import RunError, UsageError
from fathom_onnx.graph import from_model
from fathom_onnx.trace_profiling import profile_from_trace
from support.graphs.small_models import FLOAT, cnn, model, op
from support.runs.traces import Event, session_trace, write_trace


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["profile", *map(str, arguments)])


def chain(folder: Path, rows: int | str = 2) -> Path:
    nodes = [
        op("Exp", "x", "a", "/first/Exp"),
        op("MatMul", "a w", "b", "/second/MatMul"),
        op("Relu", "b", "y", "/r/Relu"),
    ]
    made = model(nodes, {"x": (FLOAT, (rows, 3))}, {"y": (FLOAT, None)}, {"w": np.eye(3, dtype=np.float32)})  # type: ignore[arg-type]
    path = folder / "chain.onnx"
    onnx.save(made, path)
    return path


def chain_run(exp: int, product: int, rest: int, provider: str = "CPUExecutionProvider", rows: int = 2) -> list[Event]:
    shapes: dict[str, Any] = {"outputs": [(rows, 3)], "provider": provider}
    return [
        Event("/first/Exp", "Exp", 0, exp, inputs=[(rows, 3)], **shapes),
        Event("/second/MatMul", "MatMul", 1, product, inputs=[(rows, 3)], **shapes),
        Event("/r/Relu", "Relu", 2, rest, inputs=[(rows, 3)], **shapes),
    ]


def test_an_ordinary_sessions_trace_gives_times_to_nodes_and_layers_without_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, trace, optimized = session_trace(cnn().model, tmp_path, runs=4)
    monkeypatch.setattr("onnxruntime.InferenceSession", None)  # nothing is run
    for model_of_session in (None, optimized):
        folder = tmp_path / "run"
        run = profile_from_trace(graph, trace, model_of_session, folder=folder)
        assert len(run.steps) == 3  # the first run is warm-up
        total = run.kind_us("attributed") + run.kind_us("charged") + run.kind_us("unattributed")
        assert total == pytest.approx(run.node_time_us)
        assert run.kind_us("unattributed") == 0
        assert (run.steps["run_us"] == run.steps["node_us"] + run.steps["outside_us"]).all()
        assert ("flops" in run.nodes.columns) == (model_of_session is not None)
        by_name = run.originals.set_index("name")
        assert (by_name["state"] == "ran").all()
        assert by_name.loc["forward/c2/Conv2D", "us"] > 0
        assert {"c1", "c2", "fc"} <= set(run.by_layer()["name"])
        loaded = Run.load(folder)
        assert loaded.summary() == run.summary()
        assert loaded.manifest["trace"]["optimized"] == (optimized.name if model_of_session else None)
        assert gzip.decompress((folder / "trace.json.gz").read_bytes()) == trace.read_bytes()
        assert b"forward/c2" in gzip.decompress((folder / "timeline.json.gz").read_bytes())


def test_times_are_those_of_the_trace_to_the_microsecond(tmp_path: Path) -> None:
    runs = [chain_run(900, 900, 900), chain_run(7, 20, 3), chain_run(9, 22, 3), chain_run(8, 21, 3)]
    run = profile_from_trace(chain(tmp_path), write_trace(tmp_path / "t.json", runs))
    assert dict(zip(run.originals["name"], run.originals["us"], strict=True)) == {
        "/first/Exp": 8,
        "/second/MatMul": 21,
        "/r/Relu": 3,
    }
    assert run.summary()["run_time_us"] == 32 + 10
    assert run.summary()["control_us"] is run.summary()["profiling_overhead_us"] is run.summary()["threads"] is None
    assert run.manifest["provider"] == "cpu"
    assert run.originals["macs"].tolist() == [0, 2 * 3 * 3, 0]


def test_a_single_run_is_counted(tmp_path: Path) -> None:
    run = profile_from_trace(chain(tmp_path), write_trace(tmp_path / "t.json", [chain_run(7, 20, 3)]))
    assert run.node_time_us == 30
    assert run.manifest["warmup"] == 0


def test_open_dimensions_have_the_sizes_of_the_trace(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "t.json", [chain_run(7, 20, 3, rows=5)])
    model_file = chain(tmp_path, "batch")
    assert profile_from_trace(model_file, trace).originals["macs"].tolist() == [0, 5 * 3 * 3, 0]
    with pytest.raises(UsageError, match=r"makes \[5, 3\], the graph's \[6, 3\]"):
        profile_from_trace(model_file, trace, dimensions={"batch": 6})


def test_the_provider_is_the_one_that_took_most_of_the_time(tmp_path: Path) -> None:
    events = chain_run(7, 20, 3, "DmlExecutionProvider")
    events[0] = Event("/first/Exp", "Exp", 0, 10, outputs=[(2, 3)])
    run = profile_from_trace(chain(tmp_path), write_trace(tmp_path / "t.json", [events]))
    assert run.manifest["provider"] == run.manifest["execution_provider"] == "DmlExecutionProvider"
    assert run.manifest["node_times"] == "host"
    assert run.manifest["node_shares"] == {"DmlExecutionProvider": 23 / 33, "CPUExecutionProvider": 10 / 33}
    cuda = write_trace(tmp_path / "c.json", [chain_run(7, 20, 3, "CUDAExecutionProvider")])
    assert profile_from_trace(chain(tmp_path), cuda).manifest["provider"] == "cuda"


def test_a_subgraph_of_tensorrt_shares_its_time_by_modelled_cost_and_is_marked(tmp_path: Path) -> None:
    name = "TRTKernel_graph_main_123_0"
    whole = [Event(name, name, 3, 100, outputs=[(2, 3)], provider="TensorrtExecutionProvider")]
    run = profile_from_trace(chain(tmp_path), write_trace(tmp_path / "t.json", [whole]))
    assert run.kind_us("attributed") == 100
    assert run.nodes["split"].tolist() == [True]
    assert run.nodes["originals"].tolist() == [("/first/Exp", "/second/MatMul", "/r/Relu")]


def test_a_run_of_a_trace_compares_and_overlays_like_any_other(tmp_path: Path) -> None:
    runs = [chain_run(7, 20, 3)] * 8
    slower = [chain_run(7, 40, 3)] * 8
    graph = chain(tmp_path)
    first = profile_from_trace(graph, write_trace(tmp_path / "a.json", runs))
    second = profile_from_trace(graph, write_trace(tmp_path / "b.json", slower))
    comparison = compare(first, second)
    assert "control" not in comparison.totals
    assert {row.name: row.difference_us for row in comparison.tables["node"]}["/second/MatMul"] == 20
    assert worse_than(comparison, 0.1)[0] == "unknown"
    times = node_times(first, read_graph(graph, first))
    assert [time.us for time in times] == [7, 20, 3]
    assert coverage(first, times).shown_share == 1


def test_the_command_says_what_a_trace_does_not_tell(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "t.json", [chain_run(7, 20, 3)] * 2)
    graph = chain(tmp_path)
    shown = command(graph, "--trace", trace, "-o", tmp_path / "run")
    assert shown.exit_code == 0, shown.output
    assert "nothing was run" in shown.output
    assert "SessionOptions.optimized_model_filepath" in shown.output
    assert "not in a trace: the unprofiled step" in shown.output
    found = json.loads(command(graph, "--trace", trace, "--json").stdout)
    assert found["node_time_us"] == 30
    assert found["trace"]["runs"] == 2


@pytest.mark.parametrize(
    "arguments",
    [["--ep", "cpu"], ["--threads", "1"], ["--steps", "10"], ["--optimization", "all"], ["--seed", "0"], ["--tf32"]],
)
def test_options_of_running_are_refused_with_a_trace(arguments: list[str], tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "t.json", [chain_run(7, 20, 3)])
    refused = command(chain(tmp_path), "--trace", trace, *arguments)
    assert refused.exit_code == 2
    assert f"{arguments[0]} is for running" in refused.output


def test_wrong_traces_and_models_are_one_line(tmp_path: Path) -> None:
    graph, trace = chain(tmp_path), write_trace(tmp_path / "t.json", [chain_run(7, 20, 3)])
    other = tmp_path / "other.onnx"
    onnx.save(from_model(cnn().model, "cnn").model, other)
    for arguments, code, why in (
        ((other, "--trace", trace), 2, "trace 't.json' is of another model than 'other'"),
        ((graph, "--trace", tmp_path / "none.json"), 8, "none.json"),
        ((graph, "--trace", graph), 8, "'chain.onnx'"),
        ((graph, "--optimized", graph), 2, "give --trace"),
        (("residual", "--trace", trace), 2, "'residual' is no graph file"),
        ((graph, "--trace", trace, "--optimized", tmp_path / "none.onnx"), 3, "none.onnx"),
        ((graph, "--trace", trace, "--optimized", trace), 3, "not an ONNX file"),
    ):
        refused = command(*arguments)
        assert refused.exit_code == code, refused.output
        (line,) = refused.output.strip().splitlines()
        assert why in line


def test_runs_in_which_no_node_ran_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cnn.onnx"
    path.write_bytes(cnn().model.SerializeToString())
    run = {"cat": "Session", "pid": 1, "tid": 1, "dur": 90, "ts": 9, "ph": "X", "name": "model_run", "args": {}}
    node = {**run, "cat": "Node", "dur": 5, "ts": 2, "name": "relu_kernel_time"}
    before = {**node, "args": {"op_name": "Relu", "provider": "CPUExecutionProvider", "node_index": "0"}}
    trace = tmp_path / "t.json"
    trace.write_text(json.dumps([run, before]))
    with pytest.raises(RunError, match=r"no node ran in the runs of trace 't\.json'"):
        profile_from_trace(path, trace)
