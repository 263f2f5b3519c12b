"""Models of the user's own in studies and sweeps: built again where needed, stored under what they are made of."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fathom_onnx.errors import FathomError
from fathom_onnx.graph import load
from fathom_onnx.runtime.one_step import run_step
from fathom_onnx.study import Axes, StudyResult, run_study, run_sweep
from fathom_onnx.study.engine.stages import STAGES
from support.fakes.fake_framework import install
from support.fakes.fake_stages import Inline, World

pytestmark = pytest.mark.usefixtures("drawn_on_request")

MINE = """
from support.fakes.fake_framework import Curve, Descent, Line, batch
from width import COUNT

def build(w: float = 2.0):
    return Line(w), batch(COUNT), None, Descent()

def noisy():
    return Line(noisy=True), batch(), None, Descent()

def still():
    return Curve(), batch()
"""


NO_CEILINGS = replace(STAGES, ceilings=None)
"""Measuring the machine takes longer than all the rest."""


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "width.py").write_text("COUNT = 2\n")
    return tmp_path


@contextmanager
def inline(logs: Path) -> Iterator[Inline]:
    yield Inline()


def study(folder: Path, *workloads: str, **options: Any) -> StudyResult:
    usual = {"threads": 1, "rounds": 1, "steps": 2, "warmup": 0, "ep": "cpu", "workers": inline, "stages": NO_CEILINGS}
    return run_study(folder, workloads=workloads, **{**usual, **options})


def test_a_study_of_a_model_of_ones_own(mine: Path):
    result = study(mine / "out", "mine.py:build")
    assert result.ok, (result.failures, result.checks)
    assert [str(cell.cell) for cell in result.cells] == ["line inference (fakenet)", "line training (fakenet)"]
    assert [check["passed"] for check in result.checks] == [True, True]
    graph = load(mine / "out/graphs/fakenet/line-train.onnx")
    assert run_step(graph)["loss"] == 20.0
    assert result.native_runs == ()
    assert result.framework == ()
    assert result.verdict == "No workload of a definition ran."
    told = json.loads((mine / "out/study.json").read_text())
    assert [cell["summary"]["workload"] for cell in told["cells"]] == ["line", "line"]


def test_what_was_done_is_not_done_again_until_the_code_changes(mine: Path):
    assert study(mine / "out", "mine.py").worked > 0
    assert study(mine / "out", "mine.py").worked == 0
    assert study(mine / "out", "mine.py", target_options={"w": "1"}).worked > 0
    (mine / "width.py").write_text("COUNT = 333\n")  # a module that the file imports
    sys.modules.pop("width")  # another process would not have it
    assert study(mine / "out", "mine.py").worked > 0
    (mine / "out/graphs/fakenet/values.safetensors").unlink()
    assert study(mine / "out", "mine.py").worked > 0


def test_steps_that_draw_noise_are_verified_with_it_as_input(mine: Path):
    result = study(mine / "out", "mine.py:noisy", modes=["training"])
    assert result.ok, (result.failures, result.checks)
    checked = load(mine / "out/checked/fakenet/line-train.onnx")
    assert [tensor.name for tensor in checked.batch_inputs] == ["x", "y", "noise"]


def test_a_recipe_without_an_optimizer_has_inference_alone(mine: Path):
    result = study(mine / "out", "mine.py:still")
    assert [str(cell.cell) for cell in result.cells] == ["curve inference (fakenet)"]


@pytest.mark.usefixtures("drawn")
@pytest.mark.slow
def test_the_report_places_the_model_among_the_workloads(mine: Path, monkeypatch: pytest.MonkeyPatch, world: World):
    monkeypatch.setattr("fathom_onnx.study.cells.plan.frameworks", lambda: ("torch",))
    world.ops = {**world.ops, "line": {"Conv2D": 50.0, "Add": 50.0}}
    result = study(
        mine / "out", "autoenc", "residual", "mine.py:build", stages=world.stages(), preset="tiny", modes=["training"]
    )
    assert result.ok
    assert {label.workload for run in result.by_provider["cpu"].values() for label in [run.label]} == {
        "autoenc",
        "residual",
    }
    told = json.loads((mine / "out/study.json").read_text())
    assert [cell.get("target") for cell in told["cells"]] == [None, None, "mine.py:build"]
    page = (mine / "out/report.html").read_text()
    assert "line: a model of class Line, built by mine.py:build" in page
    assert "Nearest workloads" in page
    # cos(line, residual) = (50 * 95 + 50 * 5) / (sqrt(5000) * sqrt(9050))
    assert "0.257" in page


def test_a_sweep(mine: Path):
    axes = Axes(["mine.py:build"], threads=[1, 2], modes=["training"], changes={"w": "1"})
    result = run_sweep(mine / "out", axes, steps=2, warmup=0, workers=inline)
    assert result.ok, result.failures
    assert [(r["workload"], r["framework"], r["batch"], r["preset"], r["changes"]) for r in result.rows] == [
        ("line", "fakenet", 2, "own", "w=1")
    ] * 2
    assert result.worked == 5  # one graph, two runs, each measured and explained
    assert run_sweep(mine / "out", axes, steps=2, warmup=0, workers=inline).worked == 0


def test_two_targets_of_one_class(mine: Path):
    axes = Axes(["mine.py:build", "mine.py:noisy"], threads=[1], modes=["training"])
    rows = run_sweep(mine / "out", axes, steps=2, warmup=0, workers=inline).rows
    assert [row["workload"] for row in rows] == ["line", "line-2"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda out: study(out, "mine.py:none"), "unknown function of 'mine.py' 'none'"),
        (
            lambda out: study(out, "mine.py", frameworks=["torch"]),
            "the model of 'mine.py' is one of fakenet, not of torch",
        ),
        (lambda out: study(out, "mine.py", target_options={"v": "1"}), "unknown option of 'mine.py' 'v'"),
        (lambda out: study(out, "autoenc", target_options={"v": "1"}), "there is none; name a FILE.py:build"),
        (lambda out: run_sweep(out, Axes(["mine.py"], batches=[4])), "a batch size is not for 'mine.py'"),
    ],
)
def test_mistakes_are_refused_before_any_work(mine: Path, call: Any, said: str):
    with pytest.raises(FathomError) as caught:
        call(mine / "out")
    assert said in str(caught.value)
    assert not (mine / "out").exists()
