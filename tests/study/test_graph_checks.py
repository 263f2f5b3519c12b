"""The stages that verify graphs, with a verification that only records its arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from fathom_onnx import study
from fathom_onnx.errors import ExportError
from fathom_onnx.study import Job, Stage, StudyResult, run_study
from fathom_onnx.verification import Check, Worst
from support.fakes.fake_stages import Inline, World

pytestmark = pytest.mark.usefixtures("drawn_on_request")


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
        return Check(
            *(1.5e-7, Worst("w", 2e-6)),
            workload=workload.name,
            left="torch graph",
            right="torch",
            steps=4,
            single=Worst("the loss", 1.3),
        )

    monkeypatch.setattr("fathom_onnx.verification.verify", verify)
    assert study.STAGES.verify is not None
    (row,) = study.STAGES.verify.work(job(tmp_path))["checks"]
    drawn = tmp_path / "checked" / "autoenc-train.onnx"  # its step draws numbers, which this graph takes as inputs
    assert asked == [("autoenc", "tiny", "torch", "training", {"graph": drawn, "steps": 4, "seed": 9})]
    assert row["name"] == "autoenc training: torch graph against torch"
    assert row["passed"] is True
    assert row["detail"] == (
        "4 steps; loss error 1.5e-07; gradient error 2.0e-06; update error 0.0e+00; state error 0.0e+00; "
        "1.3 times the framework's own error in float32"
    )
    assert json.loads(json.dumps(row["numbers"]))["loss"] == 1.5e-7


def test_every_two_frameworks_are_set_against_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    given_by_path(monkeypatch)

    def verify_pairs(workload: Any, frameworks: list[str], mode: Any, **options: Any) -> list[Check]:
        asked.append((frameworks, options["graphs"]))
        return [
            Check(
                workload=workload.name,
                mode=mode,
                left=left,
                right=right,
                steps=options["steps"],
                faults=("output 'y' error 1.0e-02 over 1.0e-04", "another") if left == "other" else (),
            )
            for right, left in combinations(frameworks, 2)
        ]

    monkeypatch.setattr("fathom_onnx.verification.verify_pairs", verify_pairs)
    assert study.STAGES.compare is not None
    rows = study.STAGES.compare.work(job(tmp_path, "tensorflow", "other", mode="inference"))["checks"]
    assert [(r["name"], r["passed"], r["detail"]) for r in rows] == [
        (
            "autoenc inference: tensorflow against torch",
            True,
            "4 steps; output error 0.0e+00",
        ),
        ("autoenc inference: other against torch", False, "output 'y' error 1.0e-02 over 1.0e-04; another"),
        ("autoenc inference: other against tensorflow", False, "output 'y' error 1.0e-02 over 1.0e-04; another"),
    ]
    graphs = [tmp_path / "checked" / name / "autoenc.onnx" for name in (".", "tensorflow", "other")]
    assert asked == [(["torch", "tensorflow", "other"], graphs)]


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
