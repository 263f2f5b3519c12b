"""Native profiles without a framework: the run's arithmetic, its folder, how a profiler is found, the command."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_onnx import plugins
from fathom_onnx.analysis.runs.native_run import SCHEMA, NativeRun, build_native_run
from fathom_onnx.cli import main
from fathom_onnx.errors import DataError, ExportError, MissingDependencyError, OutputError, RunError, UsageError
from fathom_onnx.native import (
    ENTRY_POINT_GROUP,
    UNKNOWN,
    NativeMeasurement,
    NativeOp,
    NativeRequest,
    NativeStep,
    Progress,
    Spent,
    find_native,
    native_frameworks,
    spent,
)
from fathom_onnx.native_profiling import profile_native
from fathom_onnx.workloads import workload
from support.paths import ROOT
from support.runs.sealing import reseal

CONV = NativeOp("Conv2D", "fake::conv", "forward", "conv1")
FILTER = NativeOp("Conv2DBackFilter", "fake::conv_grad", "backward", "conv1", split=True)
ADD = NativeOp("Add", "fake::add", "backward", UNKNOWN)
ODD = NativeOp("fake::odd", "fake::odd", UNKNOWN, UNKNOWN)

FACTS = {
    "workload": "alexnet",
    "mode": "training",
    "preset": "tiny",
    "framework": "fake",
    "framework_version": "1",
    "threads": 1,
    "data": {"source": "photographs", "kind": "real", "description": ""},
    "warmup": 0,
    "steps": 3,
}


def measured() -> NativeMeasurement:
    steps = (
        NativeStep(wall_us=150, run_us=100, ops={CONV: Spent(40, 2), FILTER: Spent(20, 1), ADD: Spent(10, 1)}),
        NativeStep(wall_us=160, run_us=120, ops={CONV: Spent(50, 2), FILTER: Spent(30, 1), ODD: Spent(5, 1)}),
        NativeStep(wall_us=170, run_us=110, ops={CONV: Spent(60, 4), FILTER: Spent(25, 1), ADD: Spent(10, 1)}),
    )
    return NativeMeasurement(steps, (90, 110, 100), (95, 125, 125), {}, {"layout": "none"})


def test_a_run_is_medians_over_the_steps() -> None:
    run = build_native_run(measured(), FACTS)
    assert run.ops[["op", "op_class", "us", "calls"]].to_numpy().tolist() == [
        ["Conv2D", "D", 50, 2],
        ["Conv2DBackFilter", "D", 25, 1],
        ["Add", "A", 10, 1],
        ["fake::odd", "unlisted", 0, 0],
    ]
    assert run.samples.tolist() == [[40, 20, 10, 0], [50, 30, 0, 5], [60, 25, 10, 0]]
    s = run.summary()
    assert (s["schema"], s["workload"], s["framework"]) == (SCHEMA, "alexnet", "fake")
    assert (s["control_us"], s["comparable_us"], s["step_us"]) == (100, 125, 160)
    # outside: 30, 35 and 15
    assert (s["op_time_us"], s["outside_us"], s["run_time_us"]) == (85, 30, 115)
    assert s["profiling_overhead_us"] == 35
    assert s["unexplained_us"] == 40
    assert s["explained_share"] == pytest.approx(85 / 125)
    assert s["inside_share"] == pytest.approx(85 / 115)
    assert (s["split_us"], s["unknown_phase_us"], s["unknown_layer_us"], s["unlisted_us"]) == (25, 0, 10, 0)
    assert [(g["name"], g["us"], g["calls"]) for g in s["by_class"]] == [("D", 75, 3), ("A", 10, 1), ("unlisted", 0, 0)]
    assert [(g["name"], g["us"]) for g in s["by_phase"]] == [("forward", 50), ("backward", 35), (UNKNOWN, 0)]
    assert [(g["name"], g["us"]) for g in s["by_layer"]] == [("conv1", 75), (UNKNOWN, 10)]
    assert run.manifest["layout"] == "none"


_OPS = st.builds(
    NativeOp,
    st.sampled_from(["Conv2D", "Add", "MatMul", "fake::odd"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["forward", "backward", UNKNOWN]),
    st.sampled_from(["conv1", "fc", UNKNOWN]),
    st.booleans(),
)
_STEPS = st.lists(st.dictionaries(_OPS, st.integers(0, 10_000), max_size=6), min_size=1, max_size=4)


@pytest.mark.slow
@settings(max_examples=40)
@given(_STEPS, st.integers(0, 500))
def test_every_grouping_sums_to_the_time_of_operations(steps: list[dict[NativeOp, int]], outside: int) -> None:
    made = tuple(
        NativeStep(0, sum(ops.values()) + outside, {op: Spent(us, 1) for op, us in ops.items()}) for ops in steps
    )
    run = build_native_run(NativeMeasurement(made, (1,), (1,), {}), FACTS)
    for table in (run.by_op(), run.by_class(), run.by_phase(), run.by_layer(), run.by_framework_op()):
        assert table["us"].sum() == pytest.approx(run.op_time_us)
    assert run.outside_us == outside
    assert np.allclose(run.samples.sum(axis=1) + outside, run.run_us)


def test_spent_sums_and_counts() -> None:
    found = spent([(CONV, 1.5), (ADD, 2.0), (CONV, 0.5)])
    assert list(found.items()) == [(CONV, Spent(2.0, 2)), (ADD, Spent(2.0, 1))]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(RunError, match="no step was profiled"):
        build_native_run(NativeMeasurement((), (), (), {}), FACTS)
    overlapping = NativeStep(100, 100, {CONV: Spent(80, 1), ADD: Spent(30, 1)})
    with pytest.raises(RunError, match="take 10 us longer than the step"):
        build_native_run(NativeMeasurement((overlapping,), (1,), (1,), {}), FACTS)


def test_a_folder_comes_back_as_it_was_written(tmp_path: Path) -> None:
    run = build_native_run(measured(), FACTS)
    run.save(tmp_path)
    again = NativeRun.load(tmp_path)
    assert again.manifest == run.manifest
    assert again.ops.equals(run.ops)
    assert (again.samples == run.samples).all()
    assert (again.run_us == run.run_us).all()
    assert (again.wall_us == run.wall_us).all()
    assert json.loads((tmp_path / "summary.json").read_text()) == again.summary()


def _drop(folder: Path) -> None:
    (folder / "samples.npz").unlink()


def _other_schema(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": "fathom-onnx/run/1"}))


def _cut_samples(folder: Path) -> None:
    whole = (folder / "samples.npz").read_bytes()
    (folder / "samples.npz").write_bytes(whole[: len(whole) // 2])


def _cut_table(folder: Path) -> None:
    lines = (folder / "ops.csv").read_text().splitlines(keepends=True)
    (folder / "ops.csv").write_text("".join(lines[:-1]))


def _other_columns(folder: Path) -> None:
    (folder / "ops.csv").write_text("op,us\nAdd,1\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_drop, "it has no samples.npz"),
        (_other_schema, "schema 'fathom-onnx/run/1'"),
        (_cut_samples, "that were written; profile again"),
        (_cut_table, "that were written; profile again"),
        (_other_columns, "that were written; profile again"),
        (lambda folder: (_cut_samples(folder), reseal(folder)), "malformed"),
        (lambda folder: (_cut_table(folder), reseal(folder)), "malformed"),
        (lambda folder: (_other_columns(folder), reseal(folder)), "malformed"),
    ],
)
def test_a_spoilt_folder_is_an_error(tmp_path: Path, spoil: Callable[[Path], object], said: str) -> None:
    build_native_run(measured(), FACTS).save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DataError, match=said):
        NativeRun.load(tmp_path)


class Fake:
    """A profiler that runs nothing, and notes what it was asked."""

    framework = "fake"
    asked: NativeRequest | None = None

    def version(self) -> str:
        return "1.2"

    def workloads(self) -> tuple[str, ...]:
        return ("autoenc", "alexnet")

    def measure(self, request: NativeRequest, progress: Progress) -> NativeMeasurement:
        Fake.asked = request
        progress("control", 1, 1)
        found = measured()
        first = {"loss": np.float32(2.5)} if request.mode == "training" else {"logits": np.zeros(2)}
        return NativeMeasurement(found.steps, found.control_us, found.comparable_us, first)


class Point:
    def __init__(self, name: str, made: type | None) -> None:
        self.name, self._made = name, made

    def load(self) -> type:
        if self._made is None:
            raise ImportError("No module named 'absent'")
        return self._made


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [Point("fake", Fake), Point("absent", None)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == "fathom_onnx.natives" else [])


def test_profilers_are_found_by_entry_point(fake: None) -> None:
    assert native_frameworks() == ("absent", "fake")
    assert find_native("fake").version() == "1.2"
    with pytest.raises(UsageError, match="unknown native profiler 'fakes'; did you mean 'fake'"):
        find_native("fakes")
    with pytest.raises(MissingDependencyError, match=r"pip install 'fathom-onnx\[absent\]'"):
        find_native("absent")


def test_the_projects_own_profilers_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][ENTRY_POINT_GROUP] == {
        "torch": "fathom_exporters.torch.native:TorchNative",
        "tensorflow": "fathom_exporters.tensorflow.native:TensorFlowNative",
        "jax": "fathom_exporters.jax.native:JaxNative",
    }


def test_a_profile_says_what_it_is_of(fake: None, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = profile_native(workload("autoenc", "tiny"), "fake", threads=1, warmup=1, steps=3, folder=folder)
    assert Fake.asked is not None
    assert len(Fake.asked.batches) == 4
    assert set(Fake.asked.batches[0]) == {"images"}
    held = {name: run.manifest[name] for name in ("framework", "framework_version", "threads", "seed", "first_loss")}
    assert held == {"framework": "fake", "framework_version": "1.2", "threads": 1, "seed": 0, "first_loss": 2.5}
    assert run.manifest["data"]["source"] == "digits"
    assert NativeRun.load(folder).summary() == run.summary()
    # an older run is replaced; noise is drawn with the batch where it is asked for
    again = profile_native(
        workload("autoenc", "tiny"), "fake", "inference", warmup=0, steps=1, noise="input", folder=folder
    )
    assert set(Fake.asked.batches[0]) == {"images", "noise"}
    assert again.manifest["first_loss"] is None
    assert NativeRun.load(folder).manifest["mode"] == "inference"


def test_what_a_profile_refuses(fake: None, tmp_path: Path) -> None:
    autoenc = workload("autoenc", "tiny")
    for settings_ in ({"steps": 0}, {"warmup": -1}, {"threads": 0}):
        with pytest.raises(UsageError, match="cannot profile"):
            profile_native(autoenc, "fake", **settings_)
    with pytest.raises(ExportError, match="'residual' has no model in fake"):
        profile_native(workload("residual", "tiny"), "fake")
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(OutputError, match="not the folder of a native run"):
        profile_native(autoenc, "fake", folder=tmp_path)
    with pytest.raises(OutputError, match="is not a folder"):
        profile_native(autoenc, "fake", folder=tmp_path / "note.txt")
    assert (tmp_path / "note.txt").read_text() == "mine"


def call(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_command_prints_and_keeps(fake: None, tmp_path: Path) -> None:
    result = call("profile", "alexnet", "--runtime", "fake", "--preset", "tiny", "-o", tmp_path / "run", "--top", 1)
    assert result.exit_code == 0, result.output
    for said in ("alexnet training tiny in fake 1.2", "68.0% of the comparable", "D Convolution", "3 more"):
        assert said in result.stdout
    assert NativeRun.load(tmp_path / "run").manifest["workload"] == "alexnet"
    found = json.loads(call("profile", "alexnet", "--runtime", "fake", "--preset", "tiny", "--json").stdout)
    assert found["schema"] == SCHEMA
    assert found["op_time_us"] == 85


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("alexnet", "--runtime", "fakes"), "unknown runtime 'fakes'; did you mean 'fake'"),
        (("alexnet", "--runtime", "fake", "--ep", "cpu"), "--ep is for onnxruntime"),
        (("alexnet", "--runtime", "fake", "--framework", "torch"), "--framework is for onnxruntime"),
        (("graph.onnx", "--runtime", "fake"), "'graph.onnx' is a graph, which fake does not run"),
        (("alexnet", "--runtime", "fake", "--mode", "all"), "name one mode"),
        (("alexnett", "--runtime", "fake"), "did you mean 'alexnet'"),
    ],
)
def test_the_command_refuses(fake: None, arguments: tuple[str, ...], said: str) -> None:
    result = call("profile", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
