"""Rounds measured one by one and explained as one run: every step is there, and each round can be told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from fathom_onnx.analysis.runs.pooled import round_sizes
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.errors import DataError, OutputError, RunError
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.profiling import FedGraph, explain_rounds, measure_round, profile
from fathom_onnx.runtime.optimized import STRUCTURE
from fathom_onnx.runtime.profiler import ROUND, same_nodes, sessions
from fathom_onnx.runtime.settings import SessionSettings
from support.fakes.fake_device import MadeUpDevice
from support.graphs.small_models import FLOAT, cnn, control_flow, line_training, model, op

ON_CPU = SessionSettings()
LINE = {"x": np.array([1, 2, 3], np.float32)}


def measured(fed: FedGraph, folder: Path, rounds: int = 2, steps: int = 3) -> list[Path]:
    """The folders of some rounds of a graph."""
    folders = [folder / f"round-{number}" for number in range(1, rounds + 1)]
    for path in folders:
        measure_round(fed, ON_CPU, path, warmup=1, steps=steps)
    return folders


def test_the_steps_of_all_rounds_are_in_the_run_and_each_can_be_told_apart(tmp_path: Path) -> None:
    fed = FedGraph(line_training(), 0, 4, LINE)
    folders = measured(fed, tmp_path)
    singles = [explain_rounds(fed, ON_CPU, [path], tmp_path / f"run-{path.name}") for path in folders]
    # another process knows only the graph and the folders
    run = explain_rounds(FedGraph(line_training(), 0, 4, LINE), ON_CPU, folders, tmp_path / "run")
    assert [single.manifest.get("rounds") for single in singles] == [None, None]
    assert run.samples.tolist() == [row for single in singles for row in single.samples.tolist()]
    assert run.nodes["median_us"].tolist() == np.median(run.samples, axis=0).tolist()
    assert run.steps["wall_us"].tolist() == [us for single in singles for us in single.steps["wall_us"]]
    assert run.steps["step"].tolist() == list(range(6))
    controls = [single.manifest["control_steps_us"] for single in singles]
    assert run.manifest["control_steps_us"] == controls[0] + controls[1]
    assert (run.manifest["steps"], run.manifest["steps_asked"], run.manifest["sessions"]) == (6, 6, 2)
    assert len(run.manifest["warmup_check"]["profiled"]) == len(run.manifest["warmup_check"]["control"]) == 2
    assert round_sizes(run.manifest) == (3, 3)
    for said, single in zip(run.summary()["rounds"], singles, strict=True):
        assert (said["control_us"], said["step_us"]) == (single.control_us, single.step_us)
        assert said["node_time_us"] == pytest.approx(single.node_time_us)
        assert (said["gauge"], said["time_utc"]) == (single.manifest["gauge"], single.manifest["time_utc"])
    assert run.manifest["gauge"]["between_rounds"] is not None
    for name in ("attribution", "originals"):
        assert getattr(run, name).drop(columns="us").equals(getattr(singles[0], name).drop(columns="us"))


def test_a_run_of_rounds_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    fed = FedGraph(cnn(), 0, 4)
    folders = measured(fed, tmp_path)
    run = explain_rounds(fed, ON_CPU, folders, tmp_path / "run")
    assert Run.load(tmp_path / "run").summary() == run.summary()
    assert (tmp_path / "run" / STRUCTURE).read_bytes() == (folders[0] / STRUCTURE).read_bytes()
    assert (tmp_path / "run" / "timeline.json.gz").is_file()
    # neither the rounds nor the run keep the weights
    assert {p.name for p in folders[0].iterdir()} == {"files.json", ROUND, STRUCTURE, "trace.json.gz"}


@pytest.mark.parametrize("graph", [line_training(), control_flow(), cnn()], ids=lambda g: g.name)
def test_one_round_is_what_profile_makes_at_once(tmp_path: Path, graph: Graph) -> None:
    feeds = LINE if graph.name == line_training().name else None
    fed = FedGraph(graph, 0, 4, feeds)
    (folder,) = measured(fed, tmp_path, rounds=1)
    run = explain_rounds(fed, ON_CPU, [folder], tmp_path / "run")
    at_once = profile(graph, threads=1, warmup=1, steps=3, feeds=feeds)
    assert run.manifest.keys() == at_once.manifest.keys()
    for name in ("attribution", "originals"):
        assert getattr(run, name).drop(columns="us").equals(getattr(at_once, name).drop(columns="us"))
    said, at_once_said = run.manifest["memory"], at_once.manifest["memory"]
    assert said["executed"] == at_once_said["executed"]
    assert said["graph"] == at_once_said["graph"]


def relus(last: str = "Relu", prefix: str = "") -> onnx.ModelProto:
    """Two Relu around a Sigmoid and one more op; tensors and nodes are named with a prefix."""
    nodes = [
        op("Relu", "x", f"{prefix}a", f"{prefix}first"),
        op("Sigmoid", f"{prefix}a", f"{prefix}b", f"{prefix}gate"),
        op(last, f"{prefix}b", "y", f"{prefix}last"),
    ]
    return model(nodes, {"x": (FLOAT, (4, 4))}, {"y": (FLOAT, (4, 4))})


def test_where_names_tell_nothing_values_of_the_same_model_made_again_do(tmp_path: Path) -> None:
    graph = from_model(relus(), "relus")
    fed = FedGraph(graph, 0, 4)
    (folder,) = measured(fed, tmp_path, rounds=1)
    for node in (stored := onnx.load(folder / STRUCTURE)).graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [name if name in ("x", "y") else f"inserted_{name}" for name in names]
    onnx.save(stored, folder / STRUCTURE)
    run = explain_rounds(fed, ON_CPU, [folder], tmp_path / "run")
    assert run.nodes["originals"].tolist() == [("first",), ("gate",), ("last",)]
    stored.graph.node[2].op_type = "Tanh"
    onnx.save(stored, folder / STRUCTURE)
    with pytest.raises(RunError, match="makes another model of the graph now"):
        explain_rounds(fed, ON_CPU, [folder], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_models_are_the_same_whatever_their_names() -> None:
    assert same_nodes(relus(), relus(prefix="new_"))
    assert not same_nodes(relus(), relus("Tanh"))
    turned = relus()
    turned.graph.node[1].input[0] = "x"
    assert not same_nodes(relus(), turned)
    flat, steep = (
        model([op("LeakyRelu", "x", "y", alpha=alpha)], {"x": (FLOAT, (4,))}, {"y": (FLOAT, (4,))})
        for alpha in (0.1, 0.2)
    )
    assert not same_nodes(flat, steep)


def test_rounds_of_different_models_are_refused(tmp_path: Path) -> None:
    folders = []
    for last in ("Relu", "Tanh"):
        fed = FedGraph(from_model(relus(last), "relus"), 0, 4)
        folders += measured(fed, tmp_path / last, rounds=1)
    with pytest.raises(RunError, match="different models of the graph in different rounds"):
        explain_rounds(fed, ON_CPU, folders, tmp_path / "run")


def test_a_broken_round_is_an_error_and_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    fed = FedGraph(from_model(relus(), "relus"), 0, 4)
    (folder,) = measured(fed, tmp_path, rounds=1)
    with pytest.raises(DataError, match="holds no round"):
        explain_rounds(fed, ON_CPU, [tmp_path / "absent"], tmp_path / "run")
    for broken in (b"", b"[]", b'{"schema": "fathom-onnx/round/0"}', (folder / ROUND).read_bytes()[:-40]):
        (folder / ROUND).write_bytes(broken)
        with pytest.raises(DataError, match="holds no round"):
            explain_rounds(fed, ON_CPU, [folder], tmp_path / "run")
    (mine := tmp_path / "mine").mkdir()
    (mine / "thesis.tex").write_text("precious")
    with pytest.raises(OutputError, match="not empty and not a round's folder"):
        measure_round(fed, ON_CPU, mine, warmup=0, steps=1)


def test_device_times_of_all_rounds_are_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "device_recorder", lambda settings: MadeUpDevice(tmp_path))
    fed = FedGraph(from_model(relus(), "relus"), 0, 4)
    folders = measured(fed, tmp_path)
    single = explain_rounds(fed, ON_CPU, folders[:1], tmp_path / "single")
    run = explain_rounds(fed, ON_CPU, folders, tmp_path / "run")
    assert run.manifest["node_times"] == "device"
    assert run.samples.tolist() == single.samples.tolist() * 2  # the device's kernels have known times
    assert run.kernels is not None
    assert single.kernels is not None
    assert run.kernels["us"].tolist() == single.kernels["us"].tolist()
    assert run.manifest["device_time"].keys() == single.manifest["device_time"].keys()
    assert run.manifest["device_time"]["kernel_us"] == single.manifest["device_time"]["kernel_us"]
