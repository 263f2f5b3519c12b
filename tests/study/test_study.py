"""A study with stages that do nothing slow: the order of the work, the verdict, what a failure leaves, the command."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fathom_onnx.analysis.similarity.criteria import CRITERIA
from fathom_onnx.cli import main
from fathom_onnx.errors import DataError, OutputError, UnknownNameError, UsageError
from fathom_onnx.study import CallOutcome, Event, StudyResult, WorkerCall
from support.fakes.fake_stages import Inline, World, conduct

pytestmark = pytest.mark.usefixtures("drawn_on_request")


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
    assert inline.lanes[8:10] == [("compare 0 or compare 1", False)] * 2
    assert inline.lanes[10:14] == [("torch", False), ("tensorflow", False)] * 2
    assert inline.lanes[14:18] == [("profile", True)] * 4
    assert inline.lanes[18:] == [("read 0 or read 1", False)] * 4
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        f"fathom-onnx study autoenc residual -o {tmp_path} --preset tiny --framework usual --mode inference --ep cpu"
    ) in page


@pytest.mark.slow
def test_one_framework_and_no_verification_are_in_the_command(tmp_path: Path, world: World, drawn: None) -> None:
    conduct(tmp_path, world, workloads=["autoenc"], frameworks=["tensorflow"], modes=None, verify=False, threads=2)
    page = (tmp_path / "report.html").read_text()
    assert f"fathom-onnx study autoenc -o {tmp_path} --preset tiny --framework tensorflow --mode all" in page
    assert "--threads 2 --rounds 1 --steps 4 --warmup 2 --seed 0 --no-verify" in page


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
            "profiled_as": "",
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
    columns = "workload,framework,mode,runtime,profiled_as,provider,threads,op_class,"
    assert (tmp_path / "classes.csv").read_text().startswith(columns)


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
    assert "profile 8/8 residual training (tensorflow) round 3 done in 0.5 s" in result.stderr
    held = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    assert held["schema"] == "fathom-onnx/study/2"
    assert {"framework", "ledger"} <= set(held)
