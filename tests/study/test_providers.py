"""A study on two providers, from the plan to the report, with stages that do nothing slow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.errors import MissingDependencyError, RunError, UnknownNameError, UsageError
from fathom_onnx.runtime.usable import check_usable, try_provider
from fathom_onnx.study import STAGES, Axes, Cell, Job, Options, StudyResult, run_study, run_sweep
from fathom_onnx.study.engine.providers import ChosenProviders, choose, on_provider
from fathom_onnx.study.engine.store import key
from support.fakes.fake_stages import Inline, World

pytestmark = pytest.mark.usefixtures("drawn_on_request")

NO_GPU = RunError("provider 'cuda' has no device", "check the driver")


class Machine:
    """Which providers work, in place of trying them."""

    def __init__(self) -> None:
        self.broken: dict[str, Exception] = {}

    def check(self, name: str) -> None:
        if name in self.broken:
            raise self.broken[name]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr("fathom_onnx.study.engine.providers.check_usable", made.check)
    return made


@contextmanager
def inline(logs: Path) -> Iterator[Inline]:
    yield Inline()


def conduct(folder: Path, world: World, **options: Any) -> StudyResult:
    usual = {"preset": "tiny", "workloads": ["autoenc", "residual"], "threads": (1, 2), "ep": ("cpu", "cuda")}
    usual["rounds"] = 1
    return run_study(folder, stages=world.with_natives(), workers=inline, **{**usual, **options})


# which providers


def test_every_provider_that_works_is_the_default(machine: Machine) -> None:
    assert choose(None) == choose("all") == choose(["cuda", "all"]) == ChosenProviders(("cpu", "cuda"))
    machine.broken["cuda"] = NO_GPU
    assert choose(None) == ChosenProviders(("cpu",), {"cuda": "provider 'cuda' has no device; check the driver"})
    assert choose("cpu") == ChosenProviders(("cpu",))


def test_a_provider_that_was_named_must_work(machine: Machine, tmp_path: Path, world: World) -> None:
    machine.broken["cuda"] = NO_GPU
    for asked in ("cuda", ["cpu", "cuda"], ["cuda", "all"]):
        with pytest.raises(RunError, match="has no device"):
            choose(asked)
    with pytest.raises(RunError, match="has no device"):
        conduct(tmp_path / "s", world)
    assert world.did == []
    assert not (tmp_path / "s").exists()


def test_providers_that_there_are_not(machine: Machine) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cuda'"):
        choose(["cpu", "cud"])
    with pytest.raises(UsageError, match="needs a provider"):
        choose([])
    machine.broken.update(cpu=MissingDependencyError("no onnxruntime", "install it"), cuda=NO_GPU)
    with pytest.raises(UsageError, match="no provider can be used: no onnxruntime"):
        choose(None)


def test_the_first_is_the_cpu_whatever_the_order(machine: Machine) -> None:
    assert choose(["cuda", "cpu", "cuda"]).names == ("cpu", "cuda")


def test_a_provider_with_a_purpose_of_its_own_has_its_own_graphs() -> None:
    usual = Options(purpose="onnxruntime")
    own = replace(usual, ep="cuda", purpose="cuda", graphs="cuda")
    assert on_provider(usual, "cuda", "training") == own
    assert on_provider(usual, "cuda", "inference") == replace(usual, ep="cuda")
    # one that was chosen is kept
    chosen = replace(usual, purpose="simulators")
    assert on_provider(chosen, "cuda", "training") == replace(chosen, ep="cuda")
    assert on_provider(usual, "cpu", "training") == replace(usual, ep="cpu")


def test_the_cpu_works_and_gives_the_right_numbers() -> None:
    check_usable("cpu")
    try_provider("cpu")
    with pytest.raises(UnknownNameError, match="unknown provider 'gpu'"):
        check_usable("gpu")


def test_wrong_numbers_are_no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def run(self, names: Any, feeds: Any) -> list[Any]:
            return [feeds["x"]]

    monkeypatch.setattr("fathom_onnx.runtime.usable.open_session", lambda model, settings: Wrong())
    with pytest.raises(RunError, match="wrong numbers"):
        try_provider("cpu")


def test_a_provider_that_is_listed_is_tried_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    listed = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" in listed:
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(MissingDependencyError, match=r"fathom-onnx\[cuda\]"):
        check_usable("cuda")
    # as with the wheel that has it: the process of its own says what is wrong
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [*listed, "CUDAExecutionProvider"])
    with pytest.raises(MissingDependencyError, match=r"fathom-onnx\[cuda\]"):
        check_usable("cuda")


# a study on two


def test_every_cell_runs_on_both(tmp_path: Path, world: World, machine: Machine) -> None:
    world.faster = {"autoenc": 2.0, "residual": 8.0}
    result = conduct(tmp_path, world)
    assert result.options.ep == "cpu"
    assert [c.cell for c in result.other_providers] == [c.cell for c in result.cells]
    assert {c.job.options.ep for c in result.other_providers} == {"cuda"}
    assert {(c.job.options.ep, c.job.options.threads) for c in result.fewer_threads} == {("cpu", 1)}
    # the gradients are written for each provider, inference has the same graph on both
    assert {(c.cell.mode, c.job.options.purpose) for c in result.other_providers} == {
        ("inference", "onnxruntime"),
        ("training", "cuda"),
    }
    for stage, times in (("export", 2), ("verify", 2), ("profile", 3)):
        assert world.did.count(f"{stage} residual training (torch)") == times
    assert world.did.count("export residual inference (torch)") == 1
    assert world.did.count("native residual training (torch)") == 1
    assert "Beside them 8 of 8 with fewer threads, 8 of 8 on cuda and 8 of 8 in the frameworks themselves." in (
        result.findings
    )
    assert not any("All runs are on provider" in line for line in result.findings)
    held = json.loads((tmp_path / "study.json").read_text())
    assert held["schema"] == "fathom-onnx/study/2"
    assert [c["provider"] for c in held["elsewhere"]] == ["cuda"] * 8
    (pair,) = held["providers"]
    assert (pair["base"], pair["other"], len(pair["graphs"])) == ("cpu", "cuda", 8)
    assert {g["workload"]: g["gain"] for g in pair["graphs"]} == {"autoenc": 2.0, "residual": 8.0}
    assert {g["other_node_times"] for g in pair["graphs"]} == {"device"}
    assert {(r["base"], r["other"]) for r in pair["ratios"]} == {(2.0, 2.0)}


@pytest.mark.slow
def test_a_second_study_does_nothing_again_on_either(tmp_path: Path, world: World, machine: Machine) -> None:
    conduct(tmp_path, world)
    world.did.clear()
    assert conduct(tmp_path, world).worked == 0
    assert world.did == []
    conduct(tmp_path, world, ep="cpu")
    assert world.did == []


@pytest.mark.slow
def test_each_provider_is_a_level_of_the_question(tmp_path: Path, world: World, machine: Machine) -> None:
    result = conduct(tmp_path, world)
    assert [level.name for level in result.framework] == ["structure", "onnxruntime", "onnxruntime on CUDA", "native"]
    assert result.verdict.startswith("By time in onnxruntime it cannot be told")
    assert [e.claim.id for e in result.ledger[-4:]] == [
        *("FW structure", "FW onnxruntime", "FW onnxruntime on CUDA", "FW native"),
    ]
    world.node_times["cuda"] = "host launch"
    again = conduct(tmp_path, world)
    assert [level.name for level in again.framework] == ["structure", "onnxruntime", "native"]


def test_the_tables_have_the_provider(tmp_path: Path, world: World, machine: Machine) -> None:
    world.ops_on["cuda"] = {"autoenc": {"MatMul": 30.0, "Add": 10.0}, "residual": {"Conv2D": 60.0, "Add": 20.0}}
    conduct(tmp_path, world)
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert runs.groupby(["runtime", "provider", "threads", "node_times"]).size().to_dict() == {
        ("onnxruntime", "cpu", 1, "kernel"): 8,
        ("onnxruntime", "cpu", 2, "kernel"): 8,
        ("onnxruntime", "cuda", 2, "device"): 8,
    }
    assert runs.loc[runs.runtime == "native", "provider"].isna().all()
    classes = pd.read_csv(tmp_path / "classes.csv")
    where = "runtime == 'onnxruntime' and workload == 'residual' and framework == 'torch' and mode == 'inference'"
    mine = classes.query(f"{where} and op_class == 'D'")
    assert mine.set_index("provider")["share"].to_dict() == {"cpu": 0.95, "cuda": 0.75}


@pytest.mark.slow
def test_a_provider_that_fails_for_one_cell_is_recorded_and_the_rest_goes_on(
    tmp_path: Path, world: World, machine: Machine, drawn: None
) -> None:
    world.broken["profile", "residual training (torch) on cuda"] = RunError("node 'x' has no kernel", "allow it")
    result = conduct(tmp_path, world)
    assert [(f.what, f.stage, f.error) for f in result.failures] == [
        ("residual training (torch) on cuda", "profile", "node 'x' has no kernel; allow it")
    ]
    assert all(c.done for c in result.cells)
    assert sum(c.done for c in result.other_providers) == 7
    assert result.verdict.startswith("1 of 16 cells failed (residual training (torch) on cuda). By time in")
    (pair,) = result.json()["providers"]
    assert len(pair["graphs"]) == 7
    page = (tmp_path / "report.html").read_text()
    assert "not run" in page
    assert "has no kernel" in page


@pytest.mark.slow
def test_the_report_sets_providers_against_each_other(
    tmp_path: Path, world: World, machine: Machine, drawn: None
) -> None:
    world.faster = {"autoenc": 2.0, "residual": 8.0}
    conduct(tmp_path, world)
    page = (tmp_path / "report.html").read_text()
    for part in (
        "CUDA against CPU",
        "On CUDA the time of a node is the time on the device of the kernels, copies and sets that it launches",
        "On CPU the time of a node is the time that its kernel takes on the CPU (kernel).",
        "Steps by provider",
        "Training to inference",
        "Profiles by provider",
        "What ran where",
        "Test &lt;GPU&gt;",
        "gpu: driver",
        ">unknown<",
        ">a, b<",
        "Training steps have gradients in the forms for each provider "
        "(lowering sets: onnxruntime on CPU, cuda on CUDA).",
        "autoenc (torch, cuda)",
        "providers cpu, cuda, 2 threads",
        "--ep cpu,cuda",
        "residual training (torch) on cuda",
        "onnxruntime on CUDA, training by op",
    ):
        assert part in page, part
    assert "<GPU>" not in page


@pytest.mark.slow
def test_times_that_are_launches_are_said_and_not_compared(
    tmp_path: Path, world: World, machine: Machine, drawn: None
) -> None:
    world.node_times["cuda"] = "host launch"
    result = conduct(tmp_path, world, modes=["training"])
    page = (tmp_path / "report.html").read_text()
    assert "not of running them (host launch); such times are compared with nothing." in page
    assert "node times: host launch" in page
    assert all(g["distance_by_op"] is None for g in result.json()["providers"][0]["graphs"])


@pytest.mark.slow
def test_the_cpu_alone_says_why_in_a_sentence(tmp_path: Path, world: World, machine: Machine, drawn: None) -> None:
    machine.broken["cuda"] = NO_GPU
    result = conduct(tmp_path, world, ep=None, modes=["training"])
    sentence = (
        "All runs are on provider cpu (cuda cannot be used here: provider 'cuda' has no device; check the driver)."
    )
    assert sentence in result.findings
    assert result.json()["providers_left_out"] == {"cuda": "provider 'cuda' has no device; check the driver"}
    assert result.json()["providers"] == []
    page = (tmp_path / "report.html").read_text()
    assert "against CPU" not in page
    assert "has no device; check the driver" in page
    named = conduct(tmp_path, world, ep="cpu", modes=["training"])
    assert "All runs are on provider cpu." in named.findings


def test_a_gpu_alone_is_judged_by_its_own_level(tmp_path: Path, world: World, machine: Machine) -> None:
    result = conduct(tmp_path, world, ep="cuda")
    assert result.options.ep == "cuda"
    assert result.fewer_threads == result.other_providers == ()
    assert result.verdict.startswith("By device time in onnxruntime on CUDA it cannot be told")
    entries = {e.claim.id: e for e in result.ledger}
    assert entries["F5a"].verdict == "holds"
    assert entries["F5c"].verdict == "cannot be tested here"


def test_the_command_takes_a_list(
    tmp_path: Path, world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def run(folder: Path, *args: Any, **options: Any) -> StudyResult:
        asked.append(options["ep"])
        return conduct(folder, world, workloads=["autoenc"], ep=options["ep"])

    monkeypatch.setattr("fathom_onnx.study.run_study", run)
    for flags, expected in (([], None), (["--ep", "cpu,cuda"], ("cpu", "cuda")), (["--ep", "all"], ("all",))):
        result = CliRunner().invoke(main, ["study", "autoenc", *flags, "-o", str(tmp_path)])
        assert result.exit_code == 0, result.output
        assert asked[-1] == expected
    result = CliRunner().invoke(main, ["study", "autoenc", "--ep", "tpu", "-o", str(tmp_path)])
    assert result.exit_code == 2
    assert "unknown provider 'tpu'" in result.stderr


@pytest.mark.slow
def test_tensorfloat_32_is_of_cuda_alone(tmp_path: Path, world: World, machine: Machine, drawn: None) -> None:
    result = conduct(tmp_path, world, modes=["training"], workloads=["autoenc"], tf32=True)
    assert {c.job.options.tf32 for c in (*result.cells, *result.fewer_threads, *result.native_runs)} == {False}
    assert {c.job.options.tf32 for c in result.other_providers} == {True}
    page = (tmp_path / "report.html").read_text()
    assert "TensorFloat-32 is allowed on CUDA." in page
    assert "--seed 0 --tf32" in page
    world.did.clear()
    off = conduct(tmp_path, world, modes=["training"], workloads=["autoenc"])
    # what ran with it is not taken for what ran without
    assert [did for did in world.did if did.startswith("profile")] == [f"profile {c.cell}" for c in off.other_providers]
    assert "TensorFloat-32 is off on CUDA." in (tmp_path / "report.html").read_text()
    machine.broken["cuda"] = NO_GPU
    with pytest.raises(UsageError, match="takes no part"):
        conduct(tmp_path, world, ep="all", tf32=True)


def test_the_real_keys_of_a_gpu_tell_devices_and_products_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = {"name": "one"}
    monkeypatch.setattr("fathom_onnx.study.engine.providers._device", lambda: dict(device))

    def keys(**options: Any) -> str:
        job = Job(Cell("autoenc", "torch", "inference"), Options(preset="tiny", **options), tmp_path)
        return key(STAGES.profile.inputs(job))

    found = {keys(), keys(ep="cuda"), keys(ep="cuda", tf32=True), keys(ep="cuda", serialize=True)}
    device["name"] = "another"
    assert len(found | {keys(ep="cuda")}) == 5
    assert keys() in found


def test_a_sweep_with_tensorfloat_32(tmp_path: Path, world: World) -> None:
    axes = Axes(["autoenc"], ["torch"], ["training"], ("cpu", "cuda"), tf32=True, threads=(2,), preset="tiny")
    result = run_sweep(tmp_path, axes, stages=world.stages(), workers=inline)
    assert [(row["provider"], row["tf32"]) for row in result.rows] == [("cpu", None), ("cuda", True)]
    with pytest.raises(UsageError, match="takes no part"):
        run_sweep(tmp_path, replace(axes, providers=("cpu",)), stages=world.stages(), workers=inline)
    for flag in ("--tf32", "--serialize"):
        result = CliRunner().invoke(main, ["sweep", "autoenc", flag, "-o", str(tmp_path)])
        assert result.exit_code == 2
        assert f"leave out {flag}" in result.stderr


def test_serialized_launches_are_of_cuda_alone(tmp_path: Path, world: World, machine: Machine) -> None:
    asked = {"modes": ["training"], "workloads": ["autoenc"], "serialize": True}
    result = conduct(tmp_path / "study", world, **asked)
    assert {c.job.options.serialize for c in (*result.cells, *result.fewer_threads, *result.native_runs)} == {False}
    assert {c.job.options.serialize for c in result.other_providers} == {True}
    axes = Axes(["autoenc"], ["torch"], ["training"], ("cpu", "cuda"), serialize=True, threads=(2,), preset="tiny")
    swept = run_sweep(tmp_path / "sweep", axes, stages=world.stages(), workers=inline)
    assert [(row["provider"], row["serialize"]) for row in swept.rows] == [("cpu", None), ("cuda", True)]
    machine.broken["cuda"] = NO_GPU
    with pytest.raises(UsageError, match="serialized launching is for provider 'cuda', which takes no part"):
        conduct(tmp_path / "none", world, ep="all", **asked)


def test_a_sweep_has_a_level_for_each_provider(tmp_path: Path, world: World) -> None:
    axes = Axes(["autoenc", "residual"], None, ["training"], providers=("cpu", "cuda"), threads=(2,), preset="tiny")
    result = run_sweep(tmp_path, axes, stages=world.stages(), workers=inline)
    assert result.ledger is not None
    assert [e.claim.id for e in result.ledger[-2:]] == ["FW onnxruntime", "FW onnxruntime on CUDA"]
