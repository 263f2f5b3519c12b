"""A study's logic with stages that do nothing slow: what is done, what is not done again, what a failure leaves."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from fathom_onnx import study
from fathom_onnx.analysis.similarity.distances import CRITERIA
from fathom_onnx.cli import main
from fathom_onnx.errors import DataError, ExportError, OutputError, UnknownNameError, UsageError
from fathom_onnx.study import CallOutcome, Event, Job, Stage, StudyResult, WorkerCall, run_study
from fathom_onnx.study.engine.store import Store, key
from fathom_onnx.verification import Check, Flips, Worst
from support.fakes.fake_stages import Inline, World

pytestmark = pytest.mark.usefixtures("drawn_on_request")


def conduct(folder: Path, world: World, inline: Inline | None = None, **options: Any) -> StudyResult:
    @contextmanager
    def workers(logs: Path) -> Iterator[Inline]:
        yield inline or Inline()

    usual = {"preset": "tiny", "workloads": ["autoenc", "residual"], "modes": ["inference"], "threads": 2}
    return run_study(folder, stages=world.stages(), workers=workers, **{**usual, **options})


def test_every_stage_is_done_for_every_cell_in_order(tmp_path: Path, world: World) -> None:
    inline = Inline()
    result = conduct(tmp_path, world, inline)
    cells = [f"{w} inference ({f})" for w in ("autoenc", "residual") for f in ("torch", "tensorflow")]
    assert world.did == [
        *(f"export {c}" for c in cells),
        *(f"verify {c}" for c in cells),
        "compare autoenc inference (torch) with 1",
        "compare residual inference (torch) with 1",
        *(f"structure {c}" for c in cells),
        *(f"profile {c}" for c in cells),
    ]
    assert inline.lanes[:4] == [("torch", False), ("tensorflow", False)] * 2
    assert inline.lanes[8:10] == [("compare 0", False), ("compare 1", False)]
    assert inline.lanes[10:14] == [("torch", False), ("tensorflow", False)] * 2
    assert inline.lanes[14:] == [("profile", True)] * 4
    assert result.ok
    assert (result.worked, result.reused) == (18, 0)


def test_the_plans_order_is_kept_whatever_is_finished_first(tmp_path: Path, world: World) -> None:
    class Backwards(Inline):
        def run(
            self, calls: Sequence[WorkerCall], fresh: bool = False
        ) -> Iterator[tuple[WorkerCall, CallOutcome | None]]:
            yield from super().run(calls[::-1], fresh)

    result = conduct(tmp_path, world, Backwards(), workloads=["autoenc"])
    assert world.did[0] == "export autoenc inference (tensorflow)"
    assert "compare autoenc inference (torch) with 1" in world.did
    assert [c.cell.framework for c in result.cells] == ["torch", "tensorflow"]


def test_the_verdict_is_the_framework_question_in_onnxruntime(tmp_path: Path, world: World) -> None:
    result = conduct(tmp_path, world)
    assert result.verdict == (
        "By time in onnxruntime it cannot be told whether the framework matters: 2 workloads are too few for the "
        "permutation test; frameworks of one workload are 0.000 apart where workloads are 0.994 (inference by class, "
        "the worst case)."
    )
    assert result.findings[0].startswith("By modelled cost of the graphs as written it cannot be told")
    assert result.findings[1].startswith("By op class the largest distance between the frameworks of one workload is")
    assert "6 of 6 checks passed." in result.findings


def test_five_workloads_that_frameworks_share_are_a_verdict(tmp_path: Path, world: World) -> None:
    names = ("autoenc", "residual", "memnet", "speech", "deepq")
    ops = ("MatMul", "Conv2D", "Mul", "Tile", "Sum")
    world.ops = {name: {op: 98.0, "RandomNormal": 2.0} for name, op in zip(names, ops, strict=True)}
    result = conduct(tmp_path, world, workloads=names)
    assert [level.outcome for level in result.framework] == ["little", "little"]
    assert result.verdict.startswith("By time in onnxruntime the framework matters little, by every criterion: ")
    assert [level.unknown for level in result.framework] == [10, 0]
    entries = {entry.claim.id: entry for entry in result.ledger}
    assert entries["FW onnxruntime"].verdict == "holds"
    assert entries["F5a"].why == "needs inference and training runs of one workload from one framework"


def test_the_ledger_is_in_the_json_with_every_claim(tmp_path: Path, world: World, drawn: None) -> None:
    result = conduct(tmp_path, world, modes=None)
    held = json.loads((tmp_path / "study.json").read_text())
    entries = {row["id"]: row for row in held["ledger"]}
    assert len(entries) == len(result.ledger) == 30
    assert entries["F5a"]["verdict"] == "holds"
    assert entries["F5a"]["ours"] == (
        "torch: 2.0 (autoenc) to 2.0 (autoenc) times; tensorflow: 2.0 (autoenc) to 2.0 (autoenc) times"
    )
    assert entries["F6b"]["verdict"] == "cannot be tested here"
    assert entries["F6b"]["why"] == "needs deepq training runs on 1 and on 8 threads; there are: none"
    assert [level["name"] for level in held["framework"]] == ["structure", "onnxruntime"]
    assert "Of 30 claims of the paper" in " ".join(result.findings)
    page = (tmp_path / "report.html").read_text()
    assert ["Figure 1" in page, "Figure 2" in page, "Figure 3" in page] == [False, True, True]  # there is but one step
    assert "Figure 4, tensorflow" in page


def test_the_files_say_the_same_as_the_result(tmp_path: Path, world: World, drawn: None) -> None:
    result = conduct(tmp_path, world)
    held = json.loads((tmp_path / "study.json").read_text())
    assert held == json.loads(json.dumps(result.json()))
    assert held["verdict"] == result.verdict
    assert held["ok"] is True
    assert [c["cell"]["framework"] for c in held["cells"]] == ["torch", "tensorflow"] * 2
    assert held["distances"][0]["nearest_is_twin"] == 4
    page = (tmp_path / "report.html").read_text()
    assert "Study of autoenc, residual" in page
    assert "cannot be tested here" in page
    assert all(f">{c.name}<" in page for c in CRITERIA)
    assert (
        f"fathom-onnx study autoenc residual -o {tmp_path} --preset tiny --framework all --mode inference --ep cpu"
    ) in page


def test_one_framework_and_no_verification_are_in_the_command(tmp_path: Path, world: World, drawn: None) -> None:
    conduct(tmp_path, world, workloads=["autoenc"], frameworks=["tensorflow"], modes=None, verify=False, threads=2)
    page = (tmp_path / "report.html").read_text()
    assert f"fathom-onnx study autoenc -o {tmp_path} --preset tiny --framework tensorflow --mode all" in page
    assert "--threads 2 --steps 10 --warmup 3 --seed 0 --no-verify" in page


def test_the_tables_are_tidy_and_sum_to_one(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world)
    with (tmp_path / "classes.csv").open() as file:
        classes = list(csv.DictReader(file))
    assert [r for r in classes if r["workload"] == "residual" and r["framework"] == "torch"] == [
        {
            "workload": "residual",
            "framework": "torch",
            "mode": "inference",
            "runtime": "onnxruntime",
            "provider": "cpu",
            "threads": "2",
            "op_class": c,
            "us": us,
            "share": share,
            "title": title,
        }
        for c, us, share, title in (
            ("D", "95.0", "0.95", "Convolution"),
            ("A", "5.0", "0.05", "Elementwise arithmetic"),
        )
    ]
    with (tmp_path / "ops.csv").open() as file:
        ops = list(csv.DictReader(file))
    assert [(r["op"], r["op_class"]) for r in ops[:2]] == [("MatMul", "B"), ("Add", "A")]
    assert sum(float(r["share"]) for r in ops) == pytest.approx(4.0)


def test_a_second_study_does_nothing_again(tmp_path: Path, world: World) -> None:
    first = conduct(tmp_path, world)
    world.did.clear()
    events: list[Event] = []
    second = conduct(tmp_path, world, on_event=events.append)
    assert world.did == []
    assert (second.worked, second.reused) == (0, 18)
    assert {e.kind for e in events} == {"reused"}
    assert second.verdict == first.verdict
    assert second.json()["cells"] == first.json()["cells"]


def test_more_workloads_later_do_only_what_is_new(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world, workloads=["autoenc"])
    world.did.clear()
    result = conduct(tmp_path, world)
    assert {line.split()[1] for line in world.did} == {"residual"}
    assert len(result.cells) == 4


def test_other_inputs_are_other_work_and_the_old_is_not_lost(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world, workloads=["autoenc"])
    world.did.clear()
    conduct(tmp_path, world, workloads=["autoenc"], steps=7)
    assert sum(line.startswith("profile") for line in world.did) == 2
    world.did.clear()
    conduct(tmp_path, world, workloads=["autoenc"])
    assert world.did == []


def test_a_changed_version_of_what_makes_it_is_done_again(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world)
    world.did.clear()
    world.version = "2"
    conduct(tmp_path, world)
    assert len(world.did) == 18


def test_a_graph_file_that_is_gone_is_made_again(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world)
    (tmp_path / "graphs" / "tensorflow" / "residual.onnx").unlink()
    world.did.clear()
    conduct(tmp_path, world)
    assert world.did == ["export residual inference (tensorflow)"]


def test_a_result_cut_short_is_made_again(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world)
    (held,) = (tmp_path / "cells" / "residual-torch-inference").glob("verify-*.json")
    held.write_text(held.read_text()[:40])
    world.did.clear()
    conduct(tmp_path, world)
    assert world.did == ["verify residual inference (torch)"]


def test_an_interrupted_study_goes_on_where_it_was(tmp_path: Path, world: World) -> None:
    world.broken["profile", "residual inference (torch)"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        conduct(tmp_path, world)
    assert not (tmp_path / "study.json").exists()
    (tmp_path / "runs" / ".half-written").mkdir()
    world.broken.clear()
    world.did.clear()
    result = conduct(tmp_path, world)
    assert world.did == ["profile residual inference (torch)", "profile residual inference (tensorflow)"]
    assert result.ok
    assert not list((tmp_path / "runs").glob(".*"))


def test_a_cell_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path, world: World, drawn: None) -> None:
    world.broken["export", "residual inference (tensorflow)"] = ValueError("no such op\n in here")
    events: list[Event] = []
    result = conduct(tmp_path, world, on_event=events.append)
    assert not result.ok
    assert [(f.what, f.stage, f.error) for f in result.failures] == [
        ("residual inference (tensorflow)", "export", "no such op in here")
    ]
    assert result.verdict.startswith("1 of 4 cells failed (residual inference (tensorflow)). By time in onnxruntime")
    assert [c.done for c in result.cells] == [True, True, True, False]
    assert "compare residual inference (torch) with 1" not in world.did
    failed = [e for e in events if e.kind == "failed"]
    assert [(e.what, e.stage, e.detail) for e in failed] == [
        ("residual inference (tensorflow)", "export", "no such op in here")
    ]
    page = (tmp_path / "report.html").read_text()
    assert "What failed" in page
    assert "no such op in here" in page


def test_a_failed_cell_is_tried_again(tmp_path: Path, world: World) -> None:
    world.broken["profile", "autoenc inference (torch)"] = ValueError("no")
    assert not conduct(tmp_path, world).ok
    world.broken.clear()
    world.did.clear()
    assert conduct(tmp_path, world).ok
    assert world.did == ["profile autoenc inference (torch)"]


def test_a_check_that_does_not_pass_is_in_the_verdict_and_the_cell_still_runs(tmp_path: Path, world: World) -> None:
    world.passes = False
    result = conduct(tmp_path, world, workloads=["autoenc"])
    assert not result.ok
    assert result.verdict.startswith(
        "2 of 3 checks failed (check autoenc inference (torch), check autoenc inference (tensorflow)). "
    )
    assert "1 of 3 checks passed." in result.findings
    assert all(c.done for c in result.cells)


def test_a_verification_that_cannot_be_done_is_not_a_passed_one(tmp_path: Path, world: World) -> None:
    world.broken["verify", "autoenc inference (torch)"] = ValueError("no reference")
    result = conduct(tmp_path, world)
    assert not result.ok
    assert result.verdict.startswith("1 verifications could not be done. By time in onnxruntime")
    assert "5 of 5 checks passed." in result.findings


def test_a_study_without_verification_says_so(tmp_path: Path, world: World) -> None:
    result = conduct(tmp_path, world, verify=False)
    assert "The graphs were not verified." in result.findings
    assert not any(line.startswith(("verify", "compare")) for line in world.did)


def test_nothing_that_ran_is_a_verdict_too(tmp_path: Path, world: World) -> None:
    for framework in ("torch", "tensorflow"):
        world.broken["export", f"autoenc inference ({framework})"] = ValueError("no")
    result = conduct(tmp_path, world, workloads=["autoenc"])
    assert result.verdict == (
        "2 of 2 cells failed (autoenc inference (torch), autoenc inference (tensorflow)). No cell ran."
    )
    assert (tmp_path / "report.html").is_file()
    assert (
        (tmp_path / "classes.csv").read_text().startswith("workload,framework,mode,runtime,provider,threads,op_class,")
    )


def test_a_run_that_cannot_be_read_fails_its_cell(tmp_path: Path, world: World) -> None:
    world.broken["read", ""] = DataError("not a run folder", "profile again")
    result = conduct(tmp_path, world, workloads=["autoenc"], frameworks=["torch"])
    assert [(f.stage, f.error) for f in result.failures] == [("read", "not a run folder; profile again")]
    assert not result.ok


def test_events_count_up_to_the_number_of_jobs(tmp_path: Path, world: World) -> None:
    events: list[Event] = []
    conduct(tmp_path, world, on_event=events.append, workloads=["autoenc"])
    profile = [(e.kind, e.what, e.number, e.total) for e in events if e.stage == "profile"]
    assert profile == [
        ("started", "autoenc inference (torch)", 0, 2),
        ("done", "autoenc inference (torch)", 1, 2),
        ("started", "autoenc inference (tensorflow)", 1, 2),
        ("done", "autoenc inference (tensorflow)", 2, 2),
    ]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"workloads": ["autoencoder"]}, UnknownNameError, "did you mean 'autoenc'"),
        ({"frameworks": ["pytorch"]}, UnknownNameError, "did you mean 'torch'"),
        ({"modes": ["train"]}, UnknownNameError, "unknown mode 'train'"),
        ({"preset": "smal"}, UnknownNameError, "did you mean 'small'"),
        ({"workloads": []}, UsageError, "nothing to study"),
        ({"steps": 0}, UsageError, "0 steps"),
        ({"threads": 0}, UsageError, "0 threads"),
        ({"warmup": -1}, UsageError, "after -1"),
    ],
)
def test_what_cannot_be_studied_is_said_before_anything_is_done(
    tmp_path: Path, world: World, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        conduct(tmp_path / "s", world, **options)
    assert world.did == []
    assert not (tmp_path / "s").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, world: World) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make folder"):
        conduct(tmp_path / "file", world)


# the command


def test_the_command_prints_the_verdict_then_the_ledger(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ops = {"autoenc": {"MatMul": 90.0, "Add": 10.0}, "residual": {"Conv2D": 99.0, "Add": 1.0}}

    def run(folder: Path, preset: str, workloads: Any, frameworks: Any, modes: Any, **options: Any) -> StudyResult:
        del options["verify"], options["on_wait"]
        return conduct(folder, world, preset=preset, workloads=workloads, modes=modes, **options)

    monkeypatch.setattr("fathom_onnx.study.run_study", run)
    command = ["study", "autoenc", "residual", "--preset", "tiny", "--threads", "2", "-o", str(tmp_path)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    first, *lines = result.stdout.splitlines()
    assert first.startswith("verdict: By time in onnxruntime it cannot be told")
    (line,) = (line for line in lines if line.startswith("F3 residual"))
    assert line.startswith(
        "F3 residual differs: residual has the operation mix of Figure 3 (paper: Conv2DBackFilter 34%"
    )
    assert "torch: 0.58 by op, 1.00 by class (Conv2D 99%, Add 1%" in line
    assert lines[-1] == f"report: {tmp_path / 'report.html'}"
    assert "profile 8/8 residual training (tensorflow) done in 0.5 s" in result.stderr
    held = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    assert held["schema"] == "fathom-onnx/study/2"
    assert {"framework", "ledger"} <= set(held)


# the store and what goes into a key


def test_a_key_depends_on_values_and_not_on_their_order() -> None:
    assert key({"a": 1, "b": [2]}) == key({"b": [2], "a": 1})
    assert key({"a": 1, "b": [2]}) != key({"a": 1, "b": [3]})


def test_the_store_gives_back_what_it_was_given_for_the_same_inputs_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("cell", "export", {"a": 1}, {"x": 2})
    assert store.get("cell", "export", {"a": 1}) == {"x": 2}
    assert store.get("cell", "export", {"a": 2}) is None
    assert store.get("cell", "verify", {"a": 1}) is None
    assert store.get("other", "export", {"a": 1}) is None


def test_the_real_keys_tell_apart_what_matters(tmp_path: Path) -> None:
    def job(**changes: Any) -> Job:
        cell = study.Cell("autoenc", changes.pop("framework", "torch"), changes.pop("mode", "inference"))
        return Job(cell, replace(study.Options(preset="tiny"), **changes), tmp_path)

    def keys(stage: Stage, *jobs: Job) -> set[str]:
        return {key(stage.inputs(j)) for j in jobs}

    export, profile, verify = study.STAGES.export, study.STAGES.profile, study.STAGES.verify
    same = job(), job(seed=1), job(steps=7), job(threads=2)
    assert len(keys(export, *same)) == 1
    assert len(keys(export, job(), job(preset="small"), job(framework="tensorflow"), job(mode="training"))) == 4
    assert len(keys(profile, *same)) == 4
    assert len(keys(verify, job(), job(seed=1), job(checked_steps=3), job(steps=7))) == 3
    job().graph().parent.mkdir(parents=True)
    job().graph().write_bytes(b"another graph")
    assert len(keys(profile, job(), job(mode="training"))) == 2


# the real stages of verification, with a verification that only notes what it was asked


def job(tmp_path: Path, *others: str, mode: str = "training") -> Job:
    options = study.Options(preset="tiny", checked_steps=4, seed=9, threads=2)
    further = tuple(study.Cell("autoenc", framework, mode) for framework in others)
    return Job(study.Cell("autoenc", "torch", mode), options, tmp_path, others=further)


def given_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages name the file that they read, and read none."""
    monkeypatch.setattr("fathom_onnx.study.engine.graphs.load", lambda path: path)


def test_a_cell_is_verified_as_the_options_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    given_by_path(monkeypatch)

    def verify(workload: Any, *args: Any, **options: Any) -> Check:
        asked.append((workload.name, workload.preset, *args, options))
        return Check(workload.name, "training", "torch graph", "torch float64", 4, 1.5e-7, Worst("w", 2e-6))

    monkeypatch.setattr("fathom_onnx.verification.verify", verify)
    assert study.STAGES.verify is not None
    (row,) = study.STAGES.verify.work(job(tmp_path))["checks"]
    drawn = tmp_path / "checked" / "autoenc-train.onnx"  # its step draws numbers, which this graph takes as inputs
    assert asked == [("autoenc", "tiny", "torch", "training", {"graph": drawn, "steps": 4, "seed": 9, "threads": 2})]
    assert row["name"] == "autoenc training: torch graph against torch float64"
    assert row["passed"] is True
    assert row["detail"] == "4 steps; loss error 1.5e-07; parameter error 2.0e-06; state error 0.0e+00"
    assert json.loads(json.dumps(row["numbers"]))["loss_error"] == 1.5e-7


def test_every_further_framework_is_set_against_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    given_by_path(monkeypatch)

    def verify_pair(workload: Any, pair: tuple[str, str], mode: Any, **options: Any) -> Check:
        faults = ("output 'y' error 1.0e-02 over 1.0e-04", "another") if pair[1] == "other" else ()
        flips = Flips(relu=3, margin=2e-8)
        asked.append(options["graphs"])
        return Check(workload.name, mode, pair[1], pair[0], options["steps"], flips=flips, faults=faults)

    monkeypatch.setattr("fathom_onnx.verification.verify_pair", verify_pair)
    assert study.STAGES.compare is not None
    rows = study.STAGES.compare.work(job(tmp_path, "tensorflow", "other", mode="inference"))["checks"]
    assert [(r["name"], r["passed"], r["detail"]) for r in rows] == [
        (
            "autoenc inference: tensorflow against torch",
            True,
            "4 steps; output error 0.0e+00; 3 branches flipped by rounding (at most 2.0e-08 from them)",
        ),
        ("autoenc inference: other against torch", False, "output 'y' error 1.0e-02 over 1.0e-04; another"),
    ]
    below = tmp_path / "checked"
    assert asked == [(below / "autoenc.onnx", below / name / "autoenc.onnx") for name in ("tensorflow", "other")]


def test_files_are_written_again_only_where_they_would_differ(tmp_path: Path, world: World) -> None:
    def written() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.is_file()}

    conduct(tmp_path, world)
    first = written()
    assert {"report.html", "study.json", "runs.csv"} <= first.keys()
    conduct(tmp_path, world)
    assert written() == first
    (tmp_path / "report.html").write_text("changed by hand")
    conduct(tmp_path, world)
    assert (tmp_path / "report.html").read_text() != "changed by hand"
    (tmp_path / "runs.csv").unlink()
    conduct(tmp_path, world)
    assert (tmp_path / "runs.csv").is_file()
    second = written()
    world.ops = {**world.ops, "autoenc": {"MatMul": 80.0, "Add": 20.0}}  # runs that say something else
    conduct(tmp_path, world)
    assert all(written()[name] > second[name] for name in second)


def test_a_second_graph_is_made_only_where_the_step_draws(tmp_path: Path, world: World) -> None:
    made: list[str] = []

    def export(job: Job) -> dict[str, Any]:
        made.append(str(job.cell))
        if job.cell.framework == "tensorflow":
            raise ExportError("no such noise")
        return {}

    @contextmanager
    def workers(logs: Path) -> Iterator[Inline]:
        yield Inline()

    def run(**options: Any) -> StudyResult:
        stages = replace(
            world.stages(), export_checked=Stage("export-noise", export, lambda job: {"cell": str(job.cell)})
        )
        given = {"preset": "tiny", "workloads": ["autoenc", "residual"], "modes": ["training"], "threads": 1}
        return run_study(tmp_path, stages=stages, workers=workers, **given, **options)

    run(verify=False)
    assert made == []
    result = run()
    assert made == ["autoenc training (torch)", "autoenc training (tensorflow)"]
    # what could not be made is not checked, and all the rest is
    checks = [c["name"] for c in result.checks]
    assert checks == [
        "check autoenc training (torch)",
        "check residual training (torch)",
        "check residual training (tensorflow)",
        "compare residual training (torch)",
    ]
    assert [(f.what, f.stage) for f in result.failures] == [("autoenc training (tensorflow)", "export-noise")]
    cell = study.Cell("residual", "torch", "training")
    plain = Job(cell, study.Options(preset="tiny"), tmp_path)
    assert plain.checked_graph() == plain.graph()


# several numbers of threads, and the frameworks' own runs


def whole(folder: Path, world: World, **options: Any) -> StudyResult:
    @contextmanager
    def workers(logs: Path) -> Iterator[Inline]:
        yield Inline()

    usual = {"preset": "tiny", "workloads": ["autoenc", "residual"], "threads": (2, 1, 2)}
    return run_study(folder, stages=world.with_natives(), workers=workers, **{**usual, **options})


def test_of_several_numbers_of_threads_the_largest_is_judged(tmp_path: Path, world: World) -> None:
    result = whole(tmp_path, world)
    assert {c.job.options.threads for c in result.cells} == {2}
    assert [c.cell for c in result.fewer_threads] == [c.cell for c in result.cells]
    assert {c.job.options.threads for c in result.fewer_threads} == {1}
    assert {s["threads"] for s in result.summaries} == {2}
    assert world.did.count("export residual training (torch)") == 1
    assert world.did.count("profile residual training (torch)") == 2
    assert world.did.count("profile residual inference (torch)") == 2
    runs = pd.read_csv(tmp_path / "runs.csv")
    assert runs.groupby(["runtime", "threads"]).size().to_dict() == {
        ("native", 2): 8,
        ("onnxruntime", 1): 8,
        ("onnxruntime", 2): 8,
    }
    (scales,) = (e for e in result.ledger if e.claim.id == "F6a")
    assert scales.verdict in ("holds", "differs", "cannot be tested here")


def test_the_frameworks_own_runs_are_a_level_of_the_question(tmp_path: Path, world: World, drawn: None) -> None:
    result = whole(tmp_path, world)
    assert [level.name for level in result.framework] == ["structure", "onnxruntime", "native"]
    assert len(result.native_runs) == 8
    assert "Beside them 8 of 8 with fewer threads and 8 of 8 in the frameworks themselves." in result.findings
    page = (tmp_path / "report.html").read_text()
    assert "In the frameworks themselves" in page
    assert "Workloads and graphs" in page
    assert "ImageNet; here photographs" in page
    assert "Figure 6" in page
    assert "--threads 1,2 --steps 10" in page
    ops = pd.read_csv(tmp_path / "ops.csv")
    native = ops[(ops.runtime == "native") & (ops.workload == "residual") & (ops["mode"] == "training")]
    assert native.groupby("framework")["us"].sum().to_dict() == {"torch": 50.0, "tensorflow": 50.0}


def test_a_framework_that_cannot_run_a_step_itself_is_a_failure_of_that_run_only(tmp_path: Path, world: World) -> None:
    world.broken["native", "residual training (torch)"] = ValueError("no such kernel")
    result = whole(tmp_path, world)
    assert [(f.what, f.stage, f.error) for f in result.failures] == [
        ("residual training (torch) in the framework", "native", "no such kernel")
    ]
    assert all(c.done for c in result.cells)
    assert sum(c.done for c in result.native_runs) == 7


def test_natives_can_be_left_out(tmp_path: Path, world: World) -> None:
    result = whole(tmp_path, world, native=False)
    assert result.native_runs == ()
    assert [level.name for level in result.framework] == ["structure", "onnxruntime"]
    assert not [what for what in world.did if what.startswith("native")]


@pytest.mark.parametrize("threads", [(), (0, 1), 0])
def test_threads_that_cannot_be(tmp_path: Path, world: World, threads: Any) -> None:
    with pytest.raises(UsageError, match="threads"):
        whole(tmp_path, world, threads=threads)
