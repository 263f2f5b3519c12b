"""``fathom-onnx report`` and ``profile --html``, and the function behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import fathom_onnx
import fathom_onnx.reporting.run_reporting as reporting
from fathom_onnx.cli import main
from fathom_onnx.errors import UsageError
from fathom_onnx.runtime.ceilings import Ceilings, Sample
from fathom_onnx.runtime.environment import cpu_model
from support.paths import GRAPHS
from support.runs.sealing import reseal
from support.runs.small_runs import Executed, hand_run

SAMPLE = Sample("MatMul", 512, 0.1, 3, 10**10)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def saved(folder: Path, us: int = 9, **facts: Any) -> Path:
    nodes = [Executed("k0", [us] * 6, {"forward/conv1/Conv2D": 1.0})]
    hand_run(nodes, [2] * 6, node_times="kernel", **facts).save(folder)
    reseal(folder)
    return folder


def ceilings(run: Any, anyway: bool = False) -> Ceilings:
    facts = {"provider": "cpu", "threads": 1, "cpu": "c", "cpu_cores": 2, "onnxruntime": "1", "gpu": None, "tf32": None}
    return Ceilings(100.0, 10.0, (SAMPLE,), (SAMPLE,), facts)


def test_one_run_is_written_into_its_folder(tmp_path: Path) -> None:
    run = saved(tmp_path / "run")
    result = call("report", run, "--no-roofline")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"report: {run / 'report.html'}\n"
    html = (run / "report.html").read_text("utf-8")
    assert "There is no roofline: no ceilings were given." in html
    fathom_onnx.Run.load(run)  # the report does not break the folder's seal


def test_several_runs_are_compared_in_one_file(tmp_path: Path) -> None:
    first, second = saved(tmp_path / "a" / "run"), saved(tmp_path / "b" / "run", 90)
    page = tmp_path / "page.html"
    result = call("report", first, second, "-o", page, "--no-roofline")
    assert result.exit_code == 0, result.output
    assert "How do the runs compare with a/run?" in page.read_text("utf-8")


def test_ceilings_are_measured_once_for_runs_with_one_setting(tmp_path: Path, monkeypatch: Any) -> None:
    asked: list[int] = []

    def measure(run: Any) -> Ceilings:
        asked.append(run.manifest["threads"])
        return ceilings(run)

    monkeypatch.setattr(reporting, "ceilings_for", measure)
    runs = [saved(tmp_path / name, threads=n) for name, n in (("a", 1), ("b", 1), ("c", 2))]
    html = fathom_onnx.report(runs)
    assert asked == [1, 2]
    assert html.count("Layers under the roof") >= 3


def test_a_run_of_another_machine_has_no_roofline_and_the_page_says_why(tmp_path: Path) -> None:
    html = fathom_onnx.report(saved(tmp_path / "run", cpu="another"))
    assert f"There is no roofline: the run is from another machine (another, this is {cpu_model()})." in html


def test_ceilings_of_another_provider_are_refused(tmp_path: Path) -> None:
    held = ceilings(None)
    with pytest.raises(UsageError, match="the ceilings are of provider cpu, the run of cuda"):
        fathom_onnx.report(saved(tmp_path / "run", provider="cuda"), ceilings=held)


def test_ceilings_of_other_conditions_are_used_with_a_warning(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", threads=7, cpu="another")
    html = fathom_onnx.report(run, ceilings=ceilings(None))
    assert "Warning: the run has threads 7, the ceilings 1; the run has onnxruntime" in html
    assert "the run has processor another, the ceilings c" in html
    like = saved(tmp_path / "like", threads=1, cpu="c", onnxruntime="1")
    assert "Warning:" not in fathom_onnx.report(like, ceilings=ceilings(None))


def test_runs_of_different_conditions_are_compared_with_a_warning(tmp_path: Path) -> None:
    one, two = saved(tmp_path / "one", cpu="c"), saved(tmp_path / "two", cpu="c", threads=2)
    html = fathom_onnx.report([one, two], measure=False)
    assert "two against one: the runs were measured under different conditions: threads." in html
    assert "different conditions" not in fathom_onnx.report([one, saved(tmp_path / "three", cpu="c")], measure=False)


def test_what_cannot_be_reported_on_is_one_line(tmp_path: Path) -> None:
    run = saved(tmp_path / "run")
    for arguments, code, said in (
        (("report",), 2, "Missing argument"),
        (("report", tmp_path), 6, "is not a run folder"),
        (("report", run, run), 2, "is given twice"),
        (("report", run, "--no-roofline", "--ceilings", "x"), 2, "ceilings are for the roofline"),
        (
            ("profile", GRAPHS / "autoenc.onnx", "--html"),
            2,
            "the report is written into the run folder, and none is kept",
        ),
    ):
        result = call(*arguments)
        assert result.exit_code == code, arguments
        assert said in result.stderr


def test_the_function_takes_runs_too() -> None:
    run = hand_run([Executed("k0", [9, 9], {"forward/conv1/Conv2D": 1.0})], [1, 1])
    assert "Run of small" in fathom_onnx.report(run, measure=False)
    assert "small (2)" in fathom_onnx.report([run, run], measure=False)
    with pytest.raises(UsageError, match="there is no run to report on"):
        fathom_onnx.report([])


@pytest.mark.slow
def test_a_profile_writes_its_report(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporting, "ceilings_for", ceilings)
    run = tmp_path / "run"
    result = call("profile", "autoenc", "--preset", "tiny", "--steps", 2, "--warmup", 0, "-o", run, "--html", "--json")
    assert result.exit_code == 0, result.output
    assert f"report: {run / 'report.html'}" in result.stderr
    html = (run / "report.html").read_text("utf-8")
    for said in ("Run of autoenc", "Layers under the roof", "Memory of a step", "Timeline", "ApplyAdam"):
        assert said in html
    assert len(html) < 1_000_000
