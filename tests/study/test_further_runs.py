"""Runs beside the main ones: with fewer threads, and in the frameworks themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fathom_onnx.errors import UsageError
from fathom_onnx.study import StudyResult
from support.fakes.fake_stages import Inline, World, conduct

pytestmark = pytest.mark.usefixtures("drawn_on_request")


def whole(folder: Path, world: World, **options: Any) -> StudyResult:
    return conduct(folder, world, stages=world.with_natives(), **{"modes": None, "threads": (2, 1, 2), **options})


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


@pytest.mark.slow
def test_the_frameworks_own_runs_are_a_level_of_the_question(tmp_path: Path, world: World, drawn: None) -> None:
    result = whole(tmp_path, world)
    assert [level.name for level in result.framework] == ["structure", "onnxruntime", "native"]
    assert len(result.native_runs) == 8
    assert "Beside them 8 of 8 with fewer threads and 8 of 8 in the frameworks themselves." in result.findings
    page = (tmp_path / "report.html").read_text()
    assert "In the frameworks themselves" in page
    assert "The workloads" in page
    assert "ImageNet; here photographs" in page
    assert "Figure 6" in page
    assert "--threads 1,2 --rounds 1 --steps 4" in page
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


def test_steps_of_jax_are_compiled_before_anything_is_measured(tmp_path: Path, world: World) -> None:
    world.broken["prepare", "residual training (jax)"] = ValueError("no such program")
    result = whole(tmp_path, world, frameworks=["torch", "jax"])
    kinds = [what.partition(" ")[0] for what in world.did]
    assert sorted(what for what in world.did if what.startswith("prepare")) == sorted(
        f"prepare {run.job.cell}" for run in result.native_runs if run.job.cell.framework == "jax"
    )
    assert kinds.count("prepare") == 4
    assert "profile" not in kinds[: max(at for at, kind in enumerate(kinds) if kind == "prepare")]
    assert [(f.what, f.stage, f.error) for f in result.failures] == [
        ("residual training (jax) in the framework", "prepare", "no such program")
    ]
    assert sum(run.done for run in result.native_runs) == 7
    assert "native residual training (jax)" not in world.did


def test_both_steps_of_a_workload_are_compiled_by_one_process_the_longer_one_first(
    tmp_path: Path, world: World
) -> None:
    inline = Inline()
    whole(tmp_path, world, inline=inline, frameworks=["torch", "jax"])
    assert [lane for lane, _ in inline.lanes if lane.startswith("prepare")] == ["prepare 0 or prepare 1"] * 4
    assert [group for group in inline.groups if group] == ["prepare autoenc", "prepare residual"] * 2
    assert [what for what in world.did if what.startswith("prepare")] == [
        f"prepare {workload} {mode} (jax)" for mode in ("training", "inference") for workload in ("autoenc", "residual")
    ]


def test_natives_can_be_left_out(tmp_path: Path, world: World) -> None:
    result = whole(tmp_path, world, native=False)
    assert result.native_runs == ()
    assert [level.name for level in result.framework] == ["structure", "onnxruntime"]
    assert not [what for what in world.did if what.startswith(("native", "prepare"))]


@pytest.mark.parametrize("threads", [(), (0, 1), 0])
def test_threads_that_cannot_be(tmp_path: Path, world: World, threads: Any) -> None:
    with pytest.raises(UsageError, match="threads"):
        whole(tmp_path, world, threads=threads)
