"""One real study, small: two frameworks make a workload, it is run and compared; then again, from what is there.

Verification has tests of its own, and takes longer than all of this.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from fathom_onnx.study import Event, StudyResult, run_study
from fathom_onnx.study.cells.plan import Role
from fathom_onnx.study.engine.lock import LOCK_VARIABLE

_MISSING = [name for name in ("torch", "tensorflow", "onnxruntime") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"needs {', '.join(_MISSING)}")


class Whole(NamedTuple):
    folder: Path
    first: StudyResult
    second: StudyResult
    second_events: list[Event]
    second_seconds: float


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOCK_VARIABLE, str(folder / "lock"))
        yield _whole(folder)


def _whole(folder: Path) -> Whole:
    options = {
        "preset": "tiny",
        "workloads": ["autoenc"],
        "modes": ["inference"],
        "threads": (1, 2),
        "rounds": 2,
        "steps": 3,
        "verify": False,
    }
    first = run_study(folder, **options)
    events: list[Event] = []
    started = time.perf_counter()
    second = run_study(folder, on_event=events.append, **options)
    return Whole(folder, first, second, events, time.perf_counter() - started)


def test_every_cell_is_made_and_run(whole: Whole) -> None:
    assert whole.first.failures == ()
    assert whole.first.ok
    assert len(whole.first.cells) == 2
    for cell in whole.first.cells:
        assert (whole.folder / cell.export["path"]).is_file()
        assert (whole.folder / cell.profile["folder"] / "nodes.csv").is_file()
        assert cell.manifest["data"]["source"] == "digits"
        assert cell.summary["preset"] == "tiny"
        assert cell.structure["unknown"] == 0
        assert cell.structure["ops"]["MatMul"] > 0


def test_every_run_is_of_two_rounds_in_processes_of_their_own(whole: Whole) -> None:
    for cell in (*whole.first.cells, *whole.first.native_runs):
        folders = [whole.folder / one["folder"] for one in cell.profile["rounds"]]
        assert len(set(folders)) == 2
        measured = "samples.npz" if cell.job.role is Role.NATIVE else "round.json"
        assert all((folder / measured).is_file() for folder in folders)
        assert cell.op_mix is not None
        assert len(cell.op_mix.in_rounds("op")) == 2
        assert len(cell.summary["rounds"]) == 2
        assert all(one["gauge"]["spread"] is not None for one in cell.summary["rounds"])
    assert len(whole.first.noise) == 4
    assert (
        pd.read_csv(whole.folder / "rounds.csv").groupby(["runtime", "threads", "framework"]).size().tolist() == [2] * 4
    )


def test_runs_with_fewer_threads_are_measured_once(whole: Whole) -> None:
    assert whole.first.fewer_threads
    for cell in whole.first.fewer_threads:
        assert len(cell.profile["rounds"]) == 1
        assert cell.op_mix is not None
        assert len(cell.op_mix.in_rounds("op")) == 1
        assert cell.manifest["steps"] == 3


def test_the_tables_hold_all_node_time_of_every_run(whole: Whole) -> None:
    for name in ("classes.csv", "ops.csv", "layers.csv", "phases.csv"):
        table = pd.read_csv(whole.folder / name)
        table = table[(table.runtime == "onnxruntime") & (table.threads == 2)]
        summed = table.groupby("framework")["us"].sum()
        for cell in whole.first.cells:
            counted = cell.summary["attributed_us"] + cell.summary["charged_us"]
            assert summed[cell.cell.framework] == pytest.approx(counted)


def test_every_run_is_set_against_ceilings_measured_once(whole: Whole) -> None:
    (settings,) = whole.first.ceilings
    assert settings == ("cpu", 2)
    for cell in whole.first.cells:
        found = whole.first.rooflines[cell.job]["node"]
        assert found.total["us"] + found.total["left_out_us"] == pytest.approx(cell.summary["attributed_us"])
        assert found.gflops == whole.first.ceilings[settings].gflops
    table = pd.read_csv(whole.folder / "rooflines.csv")
    assert set(table.by) == {"op", "layer"}
    assert (pd.read_csv(whole.folder / "memory.csv").parameters_bytes > 0).all()


def test_one_workload_alone_decides_nothing(whole: Whole) -> None:
    assert whole.first.verdict == (
        "By time in onnxruntime it cannot be told whether the framework matters: "
        "that takes two workloads from two frameworks."
    )


def test_the_same_again_takes_what_is_there(whole: Whole) -> None:
    assert {event.kind for event in whole.second_events} == {"reused"}
    assert (whole.second.worked, whole.second.reused) == (0, whole.first.worked)
    assert whole.second.verdict == whole.first.verdict
    assert whole.second_seconds < 10


def test_the_report_shows_the_runs(whole: Whole) -> None:
    page = whole.first.report.read_text()
    for said in (
        "autoenc inference (torch)",
        "autoenc inference (tensorflow)",
        "digits (real)",
        "RandomNormal",
        "MatMul",
        "Layers under the roof",
        "Memory of a step",
    ):
        assert said in page
