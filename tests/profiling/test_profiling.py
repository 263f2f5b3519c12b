"""Profiling from a graph to a run folder."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_onnx.analysis.attribution.attribution import Attribution, NodeAttribution, Share, attribute
from fathom_onnx.analysis.runs.run import (
    COST_COLUMNS,
    GROUP_COLUMNS,
    NODE_COLUMNS,
    ORIGINAL_COLUMNS,
    SCHEMA,
    Run,
    build_run,
)
from fathom_onnx.analysis.runs.steps import Floor, WarmUp, count_steps
from fathom_onnx.analysis.runs.timeline import timeline_lines
from fathom_onnx.cli import main
from fathom_onnx.cli.run_commands.run_report import _print_trust
from fathom_onnx.errors import DataError, GraphError, OutputError, RunError, UsageError
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.graph.bodies import numbered
from fathom_onnx.graph.labels import label_nodes
from fathom_onnx.profiling import profile, rounds
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.profiler import foreign_nodes, measurement, record, sessions
from fathom_onnx.runtime.settings import OPTIMIZATIONS, Optimization, SessionSettings
from fathom_onnx.runtime.traces.node_runs import NodeRun
from fathom_onnx.runtime.traces.runs import StepRun
from fathom_onnx.runtime.traces.steps import StepTimes
from support.graphs.small_models import FLOAT, cnn, control_flow, line_training, model, op
from support.runs.sealing import reseal

BATCH = {"x": np.ones(3, np.float32)}


def check(run: Run) -> dict[str, Any]:
    """What holds for every run."""
    found = run.summary()
    close = {"rel": 1e-9, "abs": 1e-6}
    parts = found["attributed_us"] + found["charged_us"] + found["unattributed_us"]
    assert parts == pytest.approx(found["node_time_us"], **close)
    assert found["run_time_us"] == pytest.approx(found["node_time_us"] + found["outside_us"], **close)
    assert found["profiling_overhead_us"] == pytest.approx(found["step_us"] - found["control_us"], **close)
    for name in ("by_phase", "by_class", "by_op", "by_layer"):
        total = sum(row["us"] for row in found[name])
        assert total == pytest.approx(found["attributed_us"] + found["charged_us"], **close), name
        assert [row["us"] for row in found[name]] == sorted((row["us"] for row in found[name]), reverse=True)
        assert all(set(row) == set(GROUP_COLUMNS) for row in found[name])
    assert sum(row["us"] for row in found["unattributed"]) == pytest.approx(found["unattributed_us"], **close)
    steps = run.steps
    assert (steps["run_us"] == steps["node_us"] + steps["outside_us"]).all()
    assert (steps["outside_us"] >= 0).all()
    assert run.samples.dtype == np.int64
    assert (run.samples.sum(axis=1) + steps["outside_us"] == steps["run_us"]).all()
    assert (np.median(run.samples, axis=0) == run.nodes["median_us"]).all()
    assert tuple(run.nodes.columns) in (NODE_COLUMNS, NODE_COLUMNS + COST_COLUMNS)
    assert tuple(run.originals.columns) == ORIGINAL_COLUMNS
    assert run.originals["us"].sum() == pytest.approx(found["attributed_us"], **close)
    assert set(run.originals["state"]) <= {"ran", "folded", "merged"}
    assert (run.originals.loc[run.originals["state"] != "ran", "us"] == 0).all()
    assert sum(found["original_nodes"].values()) == len(run.originals)
    assert set(run.nodes["kind"]) <= {"attributed", "charged", "unattributed"}
    weights = run.attribution.groupby("executed")["weight"].sum()
    assert np.allclose(weights, 1)
    assert set(weights.index) == set(run.nodes.loc[run.nodes["kind"] != "unattributed", "index"])
    json.dumps(found, allow_nan=False)
    return found


@pytest.mark.parametrize("level", OPTIMIZATIONS)
def test_every_microsecond_is_in_one_place(level: Optimization) -> None:
    run = profile(cnn(), threads=1, warmup=1, steps=3, optimization=level)
    found = check(run)
    assert found["schema"] == SCHEMA
    assert (found["provider"], found["threads"], found["optimization"]) == ("cpu", 1, level)
    assert (found["warmup"], found["steps"], len(run.steps)) == (1, 3, 3)
    assert found["unattributed"] == []
    assert {row["name"] for row in found["by_phase"]} == {"forward"}
    assert {"c1", "c2", "c3", "fc", "pool"} <= {row["name"] for row in found["by_layer"]}
    assert found["data"]["kind"] == "synthetic"


def test_a_training_step_is_profiled_with_its_state() -> None:
    run = profile(line_training(), threads=1, warmup=1, steps=4, feeds=BATCH)
    found = check(run)
    assert (found["workload"], found["mode"], found["preset"]) == ("line", "training", "tiny")
    assert {row["name"] for row in found["by_phase"]} == {"forward", "loss", "backward", "optimizer"}
    assert found["data"]["kind"] == "given"
    assert set(run.by_op()["name"]) == {"Mul", "Sum", "ApplyGradientDescent"}


def test_bodies_run_many_times_and_count_once() -> None:
    run = profile(control_flow(), threads=1, warmup=1, steps=3)
    check(run)
    calls = dict(zip(run.nodes["name"], run.nodes["calls"], strict=True))
    assert calls["/loop/Loop"] == 1
    assert calls["/loop/MatMul"] == 5
    layers = dict(zip(run.by_layer()["name"], run.by_layer()["nodes"], strict=True))
    assert layers["out"] == 1
    assert layers["loop"] == 6


def test_a_run_folder_is_whole_and_read_back_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = profile(cnn(), threads=1, warmup=1, steps=2, folder=folder)
    files = {p.name for p in folder.iterdir()}
    assert files == {
        "manifest.json",
        "nodes.csv",
        "attribution.csv",
        "steps.csv",
        "originals.csv",
        "samples.npz",
        "summary.json",
        "trace.json.gz",
        "timeline.json.gz",
        "optimized.onnx",
        "files.json",
    }
    assert set(json.loads((folder / "files.json").read_text())) == files - {"files.json"}
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    again = Run.load(folder)
    pd.testing.assert_frame_equal(again.nodes, run.nodes)
    pd.testing.assert_frame_equal(again.attribution, run.attribution)
    pd.testing.assert_frame_equal(again.steps, run.steps)
    pd.testing.assert_frame_equal(again.originals, run.originals)
    np.testing.assert_array_equal(again.samples, run.samples)
    assert again.manifest == run.manifest
    assert again.summary() == run.summary() == json.loads((folder / "summary.json").read_text())
    manifest = run.manifest
    needed = ["graph_sha256", "opset", "cpu", "cpu_cores", "os", "onnxruntime", "command", "time_utc", "seed"]
    assert all(manifest[name] not in (None, "") for name in needed)
    assert len(manifest["control_steps_us"]) == 2


def test_names_that_look_like_numbers_or_nothing_are_read_back(tmp_path: Path) -> None:
    nodes = [op("Relu", "x", "a", "12"), op("Exp", "a", "b", "nan"), op("Neg", "b", "y", 'NA,"')]
    made = model(nodes, {"x": (FLOAT, (3,))}, {"y": (FLOAT, (3,))})
    run = profile(from_model(made, "odd"), threads=1, warmup=0, steps=1, folder=tmp_path / "run")
    again = Run.load(tmp_path / "run")
    assert list(again.nodes["name"]) == ["12", "nan", 'NA,"']
    pd.testing.assert_frame_equal(again.nodes, run.nodes)
    pd.testing.assert_frame_equal(again.attribution, run.attribution)


def test_the_timeline_has_a_track_a_phase_and_a_layer(tmp_path: Path) -> None:
    profile(line_training(), threads=1, warmup=1, steps=2, feeds=BATCH, folder=tmp_path / "run")
    events = json.loads(gzip.decompress((tmp_path / "run" / "timeline.json.gz").read_bytes()))["traceEvents"]
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {n for (p, _), n in named.items() if p == 1} == {"steps", "forward", "loss", "backward", "optimizer"}
    assert {n for (p, _), n in named.items() if p == 2} == {"line", "loss", "step"}
    spans = [e for e in events if e["ph"] == "X"]
    assert all((e["pid"], e["tid"]) in named for e in spans)
    assert [e["args"]["step"] for e in spans if e["tid"] == 0] == [0, 1]
    assert sum(e["pid"] == 2 for e in spans) == 2 * 8


def test_a_timeline_of_two_sessions_does_not_overlap() -> None:
    def step(start: int) -> StepRun:
        return StepRun(start, 10, (NodeRun("k0", "Relu", "cpu", 1, start + 2, 5, 5),))

    graph = from_model(model([op("Relu", "x", "y", "n")], {"x": (FLOAT, (1,))}, {"y": (FLOAT, (1,))}), "g")
    found = attribute(graph, graph.model)
    text = b"".join(timeline_lines([step(100), step(115), step(50)], found))
    spans = [(e["ts"], e["dur"]) for e in json.loads(text)["traceEvents"] if e["ph"] == "X" and e["tid"] == 0]
    assert spans == [(0, 10), (15, 10), (25, 10)]


def test_an_older_run_is_replaced_and_anything_else_is_left_alone(tmp_path: Path) -> None:
    old = tmp_path / "old"
    profile(line_training(), threads=1, warmup=0, steps=1, feeds=BATCH, folder=old)
    (old / "note.txt").write_text("from the first run")
    profile(line_training(), threads=1, warmup=0, steps=2, feeds=BATCH, folder=old)
    assert not (old / "note.txt").exists()
    assert len(Run.load(old).steps) == 2
    (tmp_path / "empty").mkdir()
    profile(line_training(), threads=1, warmup=0, steps=1, feeds=BATCH, folder=tmp_path / "empty")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    with pytest.raises(OutputError, match="not empty and not a run folder"):
        profile(line_training(), feeds=BATCH, folder=mine)
    assert [p.name for p in mine.iterdir()] == ["thesis.tex"]
    with pytest.raises(OutputError, match="is not a folder"):
        profile(line_training(), feeds=BATCH, folder=mine / "thesis.tex")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "mine", "old"]


def test_a_failed_run_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    profile(line_training(), threads=1, warmup=0, steps=1, feeds=BATCH, folder=folder)
    before = (folder / "summary.json").read_bytes()

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(rounds, "write_timeline", fail)
    with pytest.raises(OutputError, match="disk full"):
        profile(line_training(), threads=1, warmup=0, steps=1, feeds=BATCH, folder=folder)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert (folder / "summary.json").read_bytes() == before
    with pytest.raises(RunError):
        profile(line_training(), feeds={"x": np.ones(7, np.float32)}, folder=tmp_path / "new")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_run_of_an_older_schema_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    profile(line_training(), threads=1, warmup=0, steps=1, feeds=BATCH, folder=folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": "fathom-onnx/run/1"}))
    # an older folder has none of the newer files; what is said is why
    (folder / "samples.npz").unlink()
    with pytest.raises(DataError, match="has schema 'fathom-onnx/run/1', not 'fathom-onnx/run/3'; profile again"):
        Run.load(folder)


def test_samples_that_do_not_fit_the_tables_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    profile(line_training(), threads=1, warmup=0, steps=2, feeds=BATCH, folder=folder)
    np.savez_compressed(folder / "samples.npz", self_us=np.zeros((2, 3), np.int64))
    reseal(folder)
    with pytest.raises(DataError, match=r"holds int64 \(2, 3\), not int64 \(2, 8\)"):
        Run.load(folder)


TABLES = ["nodes.csv", "manifest.json", "attribution.csv", "steps.csv", "originals.csv", "samples.npz"]


@pytest.mark.parametrize("name", TABLES)
def test_a_broken_run_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    profile(line_training(), threads=1, warmup=0, steps=1, feeds=BATCH, folder=folder)
    (folder / name).write_text("{" if name.endswith("json") else "a,b\n1,2\n")
    with pytest.raises(DataError, match="malformed" if name == "manifest.json" else "that were written; profile again"):
        Run.load(folder)
    reseal(folder)
    with pytest.raises(DataError, match="malformed"):
        Run.load(folder)
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"has no {name}"):
        Run.load(folder)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(UsageError, match="0 steps"):
        profile(cnn(), steps=0)
    with pytest.raises(UsageError, match="threads cannot be 0"):
        profile(cnn(), threads=0)
    with pytest.raises(UsageError, match="no batch is given"):
        profile(line_training(), feeds=[])


def test_a_graph_without_a_static_input_is_refused() -> None:
    made = model([op("Relu", "x", "y")], {"x": (FLOAT, (2,))}, {"y": (FLOAT, (2,))})
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    with pytest.raises(GraphError, match="--dim N="):
        profile(from_model(made, "dynamic"))


def test_many_steps_take_several_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 8 nodes and 2 more events a step: 50 events are 5 steps, of which 1 is warm-up
    monkeypatch.setattr(sessions, "EVENTS_PER_SESSION", 50)
    told: list[tuple[str, int, int]] = []
    run = profile(
        line_training(),
        threads=1,
        warmup=1,
        steps=10,
        feeds=BATCH,
        folder=tmp_path / "run",
        progress=lambda *now: told.append(now),
    )
    check(run)
    assert len(run.steps) == 10
    assert run.manifest["sessions"] == 3
    assert {p.name for p in (tmp_path / "run").glob("trace*")} == {
        "trace.json.gz",
        "trace-2.json.gz",
        "trace-3.json.gz",
    }
    assert [d for w, d, _ in told if w == "control"] == list(range(1, 12))
    assert [d for w, d, _ in told if w == "profile"] == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3]


def test_iterations_count_towards_what_fits_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    # 5 iterations of 6 nodes and 2 executors, and 6 more events: 46 a step, where the model has 9 nodes
    monkeypatch.setattr(sessions, "EVENTS_PER_SESSION", 220)
    run = profile(control_flow(), threads=1, warmup=1, steps=6, feeds={"x": np.ones((8, 8), np.float32)})
    check(run)
    assert run.samples.shape == (6, len(run.nodes))
    # 220 events are 4 steps, of which 1 is warm-up; by the number of nodes they would be 20
    assert run.manifest["sessions"] == 2


def times(providers: tuple[str, ...], op_types: tuple[str, ...] | None = None) -> StepTimes:
    count = len(providers)
    return StepTimes(
        names=tuple(f"k{i}" for i in range(count)),
        op_types=op_types or ("Relu",) * count,
        providers=providers,
        self_us=np.full((2, count), 10),
        calls=np.ones((2, count), np.int64),
        run_us=np.full(2, 10 * count + 5),
    )


def test_nodes_that_ran_elsewhere_are_found_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fell_back = times(("CPUExecutionProvider", "OtherExecutionProvider"))
    assert foreign_nodes(fell_back, SessionSettings()) == {"k1": "OtherExecutionProvider"}
    made = model([op("Relu", "x", "h", "one"), op("Exp", "h", "y", "two")], {"x": (FLOAT, (3,))}, {"y": (FLOAT, (3,))})
    graph = from_model(made, "two")
    monkeypatch.setattr(measurement, "step_times", lambda runs: fell_back)
    with pytest.raises(RunError, match=r"1 node would not run on 'cpu': 'two' \(Relu\) on OtherExec"):
        profile(graph, steps=2, feeds=BATCH)
    run = profile(graph, steps=2, feeds=BATCH, allow_fallback=True)
    assert run.manifest["nodes_elsewhere"] == 1
    assert list(run.nodes["provider"]) == ["CPUExecutionProvider", "OtherExecutionProvider"]


def test_a_node_that_the_model_does_not_have_is_unattributed_and_copies_are_counted(tmp_path: Path) -> None:
    made = model([op("Relu", "x", "y", "one")], {"x": (FLOAT, (3,))}, {"y": (FLOAT, (3,))})
    found = attribute(from_model(made, "one"), made)
    measured = times(("CUDA", "CUDA"), ("Relu", "MemcpyToHost"))
    run = build_run(found, measured, (30.0, 40.0), {"control_steps_us": [20.0], "warmup": 0, "steps": 2})
    summary = check(run)
    assert (summary["attributed_us"], summary["unattributed_us"], summary["outside_us"]) == (10, 10, 5)
    assert summary["unattributed"] == [
        {"node": "k1", "op_type": "MemcpyToHost", "us": 10.0, "reason": "inserted when the session was built"}
    ]
    assert (summary["step_us"], summary["profiling_overhead_us"]) == (35, 15)


def test_node_statistics_are_over_the_steps() -> None:
    made = model([op("Relu", "x", "y", "one")], {"x": (FLOAT, (3,))}, {"y": (FLOAT, (3,))})
    found = attribute(from_model(made, "one"), made)
    values = np.array([[1], [2], [3], [4], [90]])
    measured = StepTimes(("k0",), ("Relu",), ("cpu",), values, np.ones_like(values), values[:, 0] + 7)
    run = build_run(found, measured, (0.0,) * 5, {"control_steps_us": [1.0], "warmup": 0, "steps": 5})
    row = run.nodes.iloc[0]
    assert (row["median_us"], row["q1_us"], row["q3_us"], row["mean_us"], row["calls"]) == (3, 2, 4, 20, 1)
    assert (run.outside_us, run.run_time_us) == (7, 10)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.data())
def test_sums_hold_for_any_attribution(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    nodes = [op("Relu", f"t{i}", f"t{i + 1}", f"/layer{i % 2}/n{i}") for i in range(count)]
    graph = model(nodes, {"t0": (FLOAT, (1,))}, {f"t{count}": (FLOAT, (1,))}).graph
    entries = numbered(graph)
    attributions = []
    for index in range(count):
        kind = data.draw(st.sampled_from(["attributed", "charged", "unattributed"]))
        parts = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3, unique=True))
        raw = [data.draw(st.integers(1, 9)) for _ in parts]
        shares = tuple(Share(p, w / sum(raw)) for p, w in zip(parts, raw, strict=True))
        attributions.append(NodeAttribution(index, kind, shares if kind != "unattributed" else (), reason=kind))
    found = Attribution(tuple(attributions), entries, entries)
    drawn = data.draw(st.lists(st.lists(st.integers(0, 50), min_size=count, max_size=count), min_size=1, max_size=4))
    values = np.array(drawn, np.int64)
    outside = np.arange(len(values))
    measured = StepTimes(
        tuple(f"k{i}" for i in range(count)),
        ("Relu",) * count,
        ("cpu",) * count,
        values,
        np.ones_like(values),
        values.sum(1) + outside,
    )
    run = build_run(found, measured, tuple(map(float, outside)), {"control_steps_us": [1.0], "warmup": 0, "steps": 1})
    check(run)
    with tempfile.TemporaryDirectory() as folder:
        run.save(Path(folder))
        again = Run.load(Path(folder))
    for name in ("nodes", "attribution", "steps", "originals"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(run, name), check_dtype=len(run.attribution) > 0)
    np.testing.assert_array_equal(again.samples, run.samples)
    assert again.summary() == run.summary()


def test_original_nodes_have_time_cost_parameters_and_a_fate() -> None:
    run = profile(line_training(), threads=1, warmup=1, steps=3, feeds=BATCH)
    rows = run.originals.set_index("name")
    assert list(rows.index) == [n.name for n in line_training().model.graph.node]
    first, last = rows.loc["forward/line/Mul"], rows.loc["optimizer/step/ApplyGradientDescent/Add_1"]
    # 3 elements: x and w are read, one product is written; w is used here first
    assert (first["macs"], first["flops"], first["bytes_read"], first["bytes_written"]) == (0, 3, 24, 12)
    assert (first["phase"], first["layer"], first["op"], first["state"]) == ("forward", "line", "Mul", "ran")
    assert (last["flops"], last["parameters"]) == (1, 0)
    assert rows["parameters"].to_dict() == {name: 3 * (name == "forward/line/Mul") for name in rows.index}


def test_costs_in_a_body_are_of_all_its_executions() -> None:
    run = profile(control_flow(), threads=1, warmup=1, steps=3, feeds={"x": np.ones((8, 8), np.float32)})
    rows = run.originals.set_index("name")
    assert rows.loc["/loop/MatMul", "macs"] == 5 * 8**3
    assert rows.loc["/out/Add", "flops"] == 64
    # of ones the sum is positive in each of the 5 iterations, and one branch ran 5 times
    taken = {name: rows.loc[f"/loop/if/{name}", "flops"] for name in ("Tanh", "Relu")}
    assert sorted(taken.values()) == [0, 5 * 64]
    (absent,) = run.manifest["nodes_never_ran"]
    assert taken[absent.rpartition("/")[2]] == 0


def test_folded_and_merged_originals_took_no_time() -> None:
    nodes = [
        op("Neg", "w", "v", "folded"),
        op("Mul", "x v", "a", "product"),
        op("Identity", "a", "b", "nothing"),
        op("Sqrt", "b", "c", "sqrt"),
        op("Exp", "c", "y", "exp"),
    ]
    made = model(nodes, {"x": (FLOAT, (4,))}, {"y": (FLOAT, (4,))}, {"w": np.ones(4, np.float32)})
    run = profile(from_model(made, "g"), threads=1, warmup=0, steps=2)
    check(run)
    assert list(run.originals["state"]) == ["folded", "ran", "merged", "ran", "ran"]
    # the weight of a graph that is not ours is its initializer
    assert list(run.originals["parameters"]) == [4, 0, 0, 0, 0]
    assert run.summary()["original_nodes"] == {"folded": 1, "ran": 3, "merged": 1}


def test_without_the_graph_costs_are_unknown() -> None:
    made = model([op("Relu", "x", "y", "one")], {"x": (FLOAT, (3,))}, {"y": (FLOAT, (3,))})
    found = attribute(from_model(made, "one"), made)
    run = build_run(found, times(("cpu",)), (1.0, 2.0), {"control_steps_us": [1.0], "warmup": 0, "steps": 2})
    unknown = ["macs", "flops", "bytes_read", "bytes_written", "parameters"]
    assert run.originals[unknown].isna().all(axis=None)
    assert run.originals["us"].tolist() == [10.0]


def measured_steps(run_us: list[int]) -> StepTimes:
    """A node that takes half of each step; another that runs in the first step only."""
    total = np.array(run_us, np.int64)
    late = np.zeros_like(total)
    late[0] = 1
    return StepTimes(
        ("k0", "k1"),
        ("Relu", "Exp"),
        ("cpu", "cpu"),
        np.stack([total // 2, late], 1),
        np.stack([late + 1, late], 1),
        total,
    )


def test_steps_that_are_still_warm_up_are_dropped_and_counted() -> None:
    steady = [100, 103, 98, 101, 99, 102, 97, 100, 101, 98, 102, 99]
    walls = [float(us) for us in [900, 500, *steady, *steady[:3]]]
    times = measured_steps([900, 500, *steady, 800, 100, 101])
    found = count_steps(times, walls, [[700.0, *steady], [50.0]], (14, 3), warmup=2)
    assert found.times.run_us.tolist() == [*steady, 800, 100, 101]
    assert found.times.names == ("k0",)
    assert found.step_us == tuple(walls[2:])
    # the second session has too few steps to look for warm-up in
    assert found.skipped == (4, 2)
    assert (found.control_series, found.dropped_control_us) == ((tuple(steady), (50.0,)), (700.0,))
    assert found.control_us == (*steady, 50.0)
    facts = found.facts()
    assert facts["steps"] == 15
    assert [check["steps"] for check in facts["warmup_check"]["profiled"]] == [2, 0]
    assert [check["settled"] for check in facts["warmup_check"]["profiled"]] == [True, None]


def test_dropped_steps_are_in_the_manifest_and_not_in_the_timeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the first profiled and unprofiled steps look slow, whatever the machine does
    monkeypatch.setattr("fathom_onnx.analysis.runs.steps.warm_up", lambda steps: WarmUp(len(steps) // 4, True))
    run = profile(line_training(), threads=1, warmup=1, steps=12, feeds=BATCH, folder=tmp_path / "run")
    found = check(run)
    assert (found["steps"], run.manifest["steps_asked"], len(run.steps)) == (9, 12, 9)
    assert (found["statistics"]["dropped_steps"], found["statistics"]["dropped_control_steps"]) == (3, 3)
    assert found["statistics"]["settled"] is True
    assert (len(run.manifest["control_steps_us"]), len(run.manifest["dropped_control_steps_us"])) == (9, 3)
    events = json.loads(gzip.decompress((tmp_path / "run" / "timeline.json.gz").read_bytes()))["traceEvents"]
    assert sum(e["ph"] == "X" and e["tid"] == 0 for e in events) == 9


def test_nodes_below_the_floor_are_marked_and_counted() -> None:
    made = model([op("Relu", "x", "h", "one"), op("Exp", "h", "y", "two")], {"x": (FLOAT, (3,))}, {"y": (FLOAT, (3,))})
    found = attribute(from_model(made, "two"), made)
    values = np.array([[3, 9], [3, 9], [3, 9]])
    measured = StepTimes(("k0", "k1"), ("Relu", "Exp"), ("cpu", "cpu"), values, np.ones_like(values), values.sum(1) + 4)
    facts = {"control_steps_us": [10.0, 10.0], "warmup": 0, "steps": 3}
    run = build_run(found, measured, (20.0, 20.0, 20.0), facts)
    check(run)
    # (20 - 10) / 2 nodes
    assert run.floor == Floor(5.0, 5.0, 5.0, 2.0)
    assert list(run.nodes["below_floor"]) == [True, False]
    told = run.summary()["statistics"]
    assert (told["below_floor_nodes"], told["below_floor_share"]) == (1, 0.25)
    assert (told["step_drift"], told["stationary_share"], told["drifting_nodes"]) == (None, None, None)
    # a node that runs three times a step is held against the floor of one execution
    thrice = StepTimes(("k0", "k1"), ("Relu", "Exp"), ("cpu", "cpu"), values, values // 3, values.sum(1) + 4)
    assert list(build_run(found, thrice, (30.0,) * 3, facts).nodes["below_floor"]) == [True, True]


def test_what_the_allocator_measures_is_what_the_life_of_the_executed_tensors_predicts() -> None:
    """No node here may reuse its input's buffer, so both must say the same to the byte."""
    nodes = [
        op("Concat", "x x", "a", "/a/Concat", axis=0),
        op("Concat", "a x", "b", "/b/Concat", axis=0),
        op("Concat", "a b", "c", "/c/Concat", axis=0),
        op("ReduceSum", "c", "s", "/s/Sum", keepdims=1),
        op("Concat", "s b", "y", "/y/Concat", axis=0),
    ]
    made = model(nodes, {"x": (FLOAT, (1000,))}, {"y": (FLOAT, (3001,))})
    run = profile(from_model(made, "g"), threads=1, warmup=1, steps=2, optimization="none")
    memory = run.summary()["memory"]
    # a and b and c; x is fed, and stays with who feeds it
    assert memory["graph"]["peak_bytes"] == memory["executed"]["peak_bytes"] == 4 * (2000 + 3000 + 5000)
    assert memory["traced"]["peak_bytes"] == 4 * (2000 + 3000 + 5000)
    assert memory["graph"]["peak_node"] == "/c/Concat"
    assert memory["traced"]["by_layer"] == [
        {"name": "c", "bytes": 20000},
        {"name": "y", "bytes": 12004},
        {"name": "b", "bytes": 12000},
        {"name": "a", "bytes": 8000},
        {"name": "s", "bytes": 4},
    ]


@pytest.mark.parametrize(("kind", "measured"), [("Exp", 16000), ("Relu", 8004)])
def test_a_node_in_its_inputs_place_is_measured_and_not_predicted(kind: str, measured: int) -> None:
    nodes = [op("Concat", "x x", "a", axis=0), op(kind, "a", "b"), op("ReduceSum", "b", "y", keepdims=1)]
    graph = from_model(model(nodes, {"x": (FLOAT, (1000,))}, {"y": (FLOAT, (1,))}), "g")
    memory = profile(graph, threads=1, warmup=1, steps=2, optimization="none").summary()["memory"]
    # a and b, of 2000 floats each
    assert memory["executed"]["peak_bytes"] == 16000
    assert memory["traced"]["peak_bytes"] == measured


def test_tensors_in_a_layout_of_onnxruntime_have_the_size_that_the_trace_says() -> None:
    memory = profile(cnn(16), threads=1, warmup=1, steps=2).summary()["memory"]
    assert memory["executed"]["unknown_tensors"] == 0
    # two 16-channel images of 2 x 16 x 16 are alive at the residual addition at least
    assert memory["executed"]["peak_bytes"] >= 2 * 2 * 16 * 16 * 16 * 4
    assert 0.5 <= memory["traced"]["peak_bytes"] / memory["executed"]["peak_bytes"] <= 2


def test_the_command_says_what_its_times_can_bear(tmp_path: Path) -> None:
    path = tmp_path / "line.onnx"
    onnx.save(cnn().model, path)
    told = CliRunner().invoke(main, ["profile", str(path), "--threads", "1", "--warmup", "1", "--steps", "12"])
    assert told.exit_code == 0, told.output
    for said in ("trend: ", "floor: profiling costs", "are below it", "Memory", "measured, peak", "parameters"):
        assert said in told.stdout
    few = CliRunner().invoke(main, ["profile", str(path), "--threads", "1", "--warmup", "1", "--steps", "2"])
    assert "not certain to be over: 2 steps are too few to look for warm-up, which takes 10" in few.stdout
    assert "trend: unknown, the steps are too few" in few.stdout


def test_the_command_gives_the_same_as_json(tmp_path: Path) -> None:
    path, folder = tmp_path / "cnn.onnx", tmp_path / "run"
    onnx.save(cnn().model, path)
    options = ["profile", str(path), "--threads", "1", "--warmup", "1", "--steps", "2", "--json", "-o", str(folder)]
    told = CliRunner().invoke(main, options)
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found == json.loads((folder / "summary.json").read_text())
    assert found["statistics"]["floor"]["executions"] == found["executed_nodes"]
    # three images of 2 x 12 x 16 x 16 at the second normalisation: the residual, its input and its output
    assert found["memory"]["graph"]["peak_bytes"] == 3 * 2 * 12 * 16 * 16 * 4
    assert found["memory"]["graph"]["peak_node"] == "forward/n2/BatchNorm"


def test_dropped_and_drifting_steps_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    floor = {"us": 4.0, "low_us": 3.0, "high_us": 5.0, "executions": 9.0}
    _print_trust(
        {
            "statistics": {
                "dropped_steps": 3,
                "dropped_control_steps": 1,
                "settled": True,
                "settled_reason": "",
                "step_drift": -0.25,
                "stationary_share": 0.5,
                "drifting_nodes": 2,
                "floor": floor,
                "below_floor_nodes": 4,
                "below_floor_share": 0.125,
            }
        }
    )
    assert capsys.readouterr().out.splitlines() == [
        "",
        "warm-up: 3 profiled and 1 unprofiled steps more than asked for were not steady yet and are not counted",
        "trend: the step changed by -25.0% over the run; 50.0% of the node time in nodes without one",
        "floor: profiling costs 4.0 us (3.0 to 5.0) a node; 4 nodes, 12.5% of the node time, are below it",
    ]


def test_labels_of_third_party_nodes() -> None:
    scoped = op("Relu", "c", "d", "node_relu")
    entry = scoped.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'layer1', 'layer1.act', 'relu']"
    nodes = [
        op("Conv", "x w", "a", "/layer1/conv/Conv"),
        op("Relu", "a", "b", "plain"),
        op("Relu", "b", "c"),
        scoped,
        op("Exp", "d", "e", "same"),
        op("Exp", "e", "y", "same"),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [], [])
    labels = label_nodes(numbered(graph))
    assert [(n.name, n.layer, n.op, n.op_class) for n in labels] == [
        ("/layer1/conv/Conv", "layer1.conv", "Conv2D", "D"),
        ("plain", "plain", "Relu", "A"),
        ("Relu#2", "Relu#2", "Relu", "A"),
        ("node_relu", "layer1.act", "Relu", "A"),
        ("same#4", "same#4", "Exp", "A"),
        ("same#5", "same#5", "Exp", "A"),
    ]
    assert {n.phase for n in labels} == {"forward"}


def test_an_unlisted_op_keeps_its_name_and_has_a_class_of_its_own() -> None:
    node = op("Mystery", "x", "y", "m")
    node.domain = "my.domain"
    (label,) = label_nodes(numbered(onnx.helper.make_graph([node], "g", [], [])))
    assert (label.op, label.op_class) == ("my.domain::Mystery", "unlisted")


def test_the_control_and_the_profiled_session_see_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both start from the same state and take the same batches in turn: the losses they end with are equal."""
    graph = line_training()
    batches = [{"x": np.array(v, np.float32)} for v in ([1, 2, 3], [3, 1, 0])]
    ended: list[dict[str, np.ndarray]] = []
    original = sessions._steps

    def spy(stepper: Any, *rest: Any) -> list[float]:
        walls = original(stepper, *rest)
        ended.append(stepper.state())
        return walls

    monkeypatch.setattr(sessions, "_steps", spy)
    start = {"line.w": np.ones(3, np.float32), "step": np.zeros((), np.float32)}
    record(prepare(graph, start), SessionSettings(), batches, tmp_path)
    assert len(ended) == 2
    np.testing.assert_array_equal(ended[0]["line.w"], ended[1]["line.w"])
    assert ended[0]["step"] == ended[1]["step"] == 13


def exported(name: str, mode: Any) -> Graph:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    from fathom_onnx.exporting import ExportRequest, find_exporter
    from fathom_onnx.workloads import workload

    made = find_exporter("torch").export(ExportRequest(workload(name, "tiny"), mode))
    return from_model(made, f"{name}-{mode}")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), list(itertools.product(("autoenc", "residual"), ("inference", "training"))))
def test_our_graphs_are_explained(name: str, mode: str) -> None:
    graph = exported(name, mode)
    for level in ("all", "none"):
        run = profile(graph, threads=1, warmup=1, steps=2, optimization=level)  # type: ignore[arg-type]
        found = check(run)
        assert found["attributed_us"] + found["charged_us"] >= 0.99 * found["node_time_us"]
        phases = {row["name"] for row in found["by_phase"]}
        assert phases == ({"forward"} if mode == "inference" else {"forward", "loss", "backward", "optimizer"})
        if level == "none":
            # nothing is fused: every node is itself, in its own layer and op
            assert not run.nodes["split"].any()
            assert all(row["name"] == row["originals"][0] for _, row in run.nodes.iterrows())


def test_nodes_without_names_in_a_blocked_part_are_told_apart_by_value() -> None:
    rng = np.random.default_rng(0)
    weights = {f"w{i}": (rng.normal(size=(16, 16, 3, 3)) * 0.1).astype(np.float32) for i in range(3)}
    nodes = [
        op("Conv", "x w0", "c0", pads=[1] * 4),
        op("Conv", "x w1", "c1", pads=[1] * 4),
        op("Mul", "c0 c1", "a"),
        op("Sigmoid", "a", "b"),
        op("Mul", "b c0", "c"),
        op("Sigmoid", "c", "d"),
        op("Conv", "d w2", "y", pads=[1] * 4),
    ]
    shape = (1, 16, 8, 8)
    graph = from_model(model(nodes, {"x": (FLOAT, shape)}, {"y": (FLOAT, shape)}, weights), "blocked")
    run = profile(graph, threads=1, warmup=1, steps=2)
    check(run)
    compute = run.nodes[run.nodes["kind"] == "attributed"]
    assert list(compute["originals"]) == [(f"{n.op_type}#{i}",) for i, n in enumerate(nodes)]
    assert not compute["split"].any()
