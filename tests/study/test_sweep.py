"""Sweeps with stages that do nothing slow: the plan, what is kept, what fails, the tables; the lock; the time to go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from fathom_onnx import study
from fathom_onnx.cli import main
from fathom_onnx.cli.study_commands.live import Pace, span
from fathom_onnx.errors import OutputError, RunError, UnknownNameError, UsageError
from fathom_onnx.study import Axes, Event, SweepResult, run_sweep, sweep_plan
from fathom_onnx.study.engine.inputs import profile_inputs
from fathom_onnx.study.engine.lock import LOCK_VARIABLE, lock_path, machine_lock
from fathom_onnx.study.engine.store import Store
from fathom_onnx.study.sweep_result import CELL_COLUMNS, SHARE_COLUMNS
from support.fakes.fake_stages import Inline, World

AXES = Axes(workloads=["autoenc"], frameworks=["torch"], modes=["inference"], threads=(1, 2), preset="tiny")


@contextmanager
def inline(logs: Path) -> Iterator[Inline]:
    yield Inline()


def sweep(folder: Path, world: World, axes: Axes = AXES, **options: Any) -> SweepResult:
    return run_sweep(folder, axes, stages=world.stages(), workers=inline, **options)


def names(world: World) -> list[str]:
    done, world.did = world.did, []
    return done


# the plan


def test_the_plan_is_every_combination(tmp_path: Path) -> None:
    axes = replace(
        AXES,
        workloads=["autoenc", "residual"],
        modes=None,
        batches=(4, 8),
        optimizations=("all", "none"),
        threads=(1, 3),
    )
    plan = sweep_plan(tmp_path, axes)
    assert len(set(plan)) == len(plan) == 2 * 2 * 2 * 2 * 2
    assert {job.workload.config.batch for job in plan} == {4, 8}
    first = plan[0]
    assert str(first.cell) == "autoenc inference (torch)"
    assert first.name == "autoenc inference (torch) batch=4 on cpu, threads 1, optimization all"
    assert first.graph() == tmp_path / "graphs" / "tiny-batch4" / "autoenc.onnx"
    assert len({job.graph() for job in plan}) == 8


def test_values_given_twice_count_once_and_threads_are_all_cores_by_default(tmp_path: Path) -> None:
    from fathom_onnx.runtime.environment import cpu_cores

    assert len(sweep_plan(tmp_path, replace(AXES, threads=(2, 1, 2), batches=(4, 4)))) == 2
    (job,) = sweep_plan(tmp_path, replace(AXES, threads=()))
    assert job.options.threads == cpu_cores()


def test_fields_are_changed_in_every_cell_and_keep_graphs_apart(tmp_path: Path) -> None:
    (job,) = sweep_plan(tmp_path, replace(AXES, threads=(1,), batches=(2,), changes={"latent": "3"}))
    assert (job.workload.config.latent, job.workload.config.batch) == (3, 2)
    assert job.options.graphs == "tiny-batch2-latent3"
    residual = replace(AXES, workloads=["residual"], threads=(1,))
    (other,) = sweep_plan(tmp_path, replace(residual, changes={"blocks": "1,2,1,1"}))
    assert other.workload.config.blocks == (1, 2, 1, 1)
    assert other.options.graphs.startswith("tiny-")
    assert "," not in other.options.graphs
    (same,) = sweep_plan(tmp_path, replace(residual, changes={"blocks": [1, 2, 1, 1]}))
    assert same.workload.config == other.workload.config
    (other,) = sweep_plan(tmp_path, replace(AXES, threads=(1,), batches=(2,)), purpose="simulators")
    assert (other.options.graphs, other.options.purpose) == ("tiny-simulators-batch2", "simulators")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"workloads": ["autoencoder"]}, UnknownNameError, "did you mean 'autoenc'"),
        ({"frameworks": ["pytorch"]}, UnknownNameError, "did you mean 'torch'"),
        ({"modes": ["train"]}, UnknownNameError, "unknown mode 'train'"),
        ({"preset": "smal"}, UnknownNameError, "did you mean 'small'"),
        ({"providers": ("cpu", "cudda")}, UnknownNameError, "did you mean 'cuda'"),
        ({"optimizations": ("al",)}, UnknownNameError, "unknown optimization level 'al'"),
        ({"threads": (0,)}, UsageError, "threads cannot be 0"),
        ({"batches": (0,)}, UsageError, "field 'batch' cannot be 0"),
        ({"changes": {"bach": "2"}}, UnknownNameError, "did you mean 'batch'"),
        ({"changes": {"batch": "2"}, "batches": (4,)}, UsageError, "the batch size is given twice"),
        ({"workloads": []}, UsageError, "nothing to sweep"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_is_done(
    tmp_path: Path, world: World, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sweep(tmp_path / "s", world, replace(AXES, **change))
    assert world.did == []
    assert not (tmp_path / "s").exists()


def test_steps_that_cannot_be(tmp_path: Path, world: World) -> None:
    with pytest.raises(UsageError, match="cannot run 0 steps after 3"):
        sweep(tmp_path / "s", world, steps=0)


# what is done and kept


def test_a_graph_is_made_once_and_run_in_every_way(tmp_path: Path, world: World) -> None:
    result = sweep(tmp_path, world, replace(AXES, batches=(4, 8)))
    cell = "autoenc inference (torch)"
    assert names(world) == [f"export {cell}"] * 2 + [f"profile {cell}"] * 4
    assert result.ok
    assert (result.worked, result.reused) == (6, 0)


def test_a_repeated_sweep_does_nothing_and_says_the_same(tmp_path: Path, world: World) -> None:
    first = sweep(tmp_path, world)
    names(world)
    second = sweep(tmp_path, world)
    assert names(world) == []
    assert (second.worked, second.reused) == (0, 3)
    pd.testing.assert_frame_equal(second.table, first.table)


def test_a_larger_sweep_does_what_is_new(tmp_path: Path, world: World) -> None:
    sweep(tmp_path, world)
    names(world)
    result = sweep(tmp_path, world, replace(AXES, threads=(1, 2, 4)))
    assert names(world) == ["profile autoenc inference (torch)"]
    assert [row["threads"] for row in result.rows] == [1, 2, 4]


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path, world: World) -> None:
    axes = replace(AXES, workloads=["autoenc", "residual"], threads=(1,))
    world.broken["profile", "residual inference (torch)"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, world, axes)
    world.broken.clear()
    names(world)
    assert sweep(tmp_path, world, axes).ok
    assert names(world) == ["profile residual inference (torch)"]


def test_a_failed_cell_is_recorded_and_tried_again_only_when_asked(tmp_path: Path, world: World) -> None:
    axes = replace(AXES, workloads=["autoenc", "residual"], threads=(1,))
    world.broken["profile", "residual inference (torch)"] = ValueError("no memory\nleft")
    result = sweep(tmp_path, world, axes)
    assert not result.ok
    assert [(row["workload"], row["state"], row["error"]) for row in result.rows] == [
        ("autoenc", "done", ""),
        ("residual", "failed", "no memory left"),
    ]
    world.broken.clear()
    names(world)
    events: list[Event] = []
    again = sweep(tmp_path, world, axes, on_event=events.append)
    assert names(world) == []
    assert again.rows[1]["error"] == "no memory left (failed before, not tried again)"
    assert [e.what for e in events if e.kind == "failed"] == [
        "residual inference (torch) on cpu, threads 1, optimization all"
    ]
    tried = sweep(tmp_path, world, axes, retry=True)
    assert names(world) == ["profile residual inference (torch)"]
    assert tried.ok
    assert sweep(tmp_path, world, axes).ok  # the error is gone


def test_an_export_that_fails_fails_its_cells_and_no_others(tmp_path: Path, world: World) -> None:
    world.broken["export", "residual inference (torch)"] = ValueError("no such op")
    result = sweep(tmp_path, world, replace(AXES, workloads=["autoenc", "residual"]))
    assert [row["state"] for row in result.rows] == ["done", "done", "failed", "failed"]
    assert {row["error"] for row in result.rows[2:]} == {"no such op"}
    assert [(f.what, f.stage) for f in result.failures] == [("residual inference (torch)", "export")]


def test_a_stored_error_stays_until_the_work_succeeds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put_error("c", "profile", {"a": 1}, "broken")
    assert store.error("c", "profile", {"a": 1}) == "broken"
    assert store.error("c", "profile", {"a": 2}) == ""
    assert store.get("c", "profile", {"a": 1}) is None
    store.put("c", "profile", {"a": 1}, {"x": 2})
    assert store.error("c", "profile", {"a": 1}) == ""
    assert store.get("c", "profile", {"a": 1}) == {"x": 2}


def test_the_real_key_of_a_run_holds_all_that_a_sweep_varies(tmp_path: Path) -> None:
    from fathom_onnx.study.engine.store import key

    axes = replace(AXES, optimizations=("all", "none"), providers=("cpu", "cuda"))
    plan = sweep_plan(tmp_path, axes)
    assert len({key(study.STAGES.profile.inputs(job)) for job in plan}) == len(plan) == 8
    batches = sweep_plan(tmp_path, replace(AXES, threads=(1,), batches=(4, 8)))
    assert len({key(study.STAGES.export.inputs(job)) for job in batches}) == 2


def test_files_of_input_values_reach_every_run_and_their_bytes_are_in_its_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(1))
    plain, given = (sweep_plan(tmp_path, replace(AXES, inputs=inputs)) for inputs in ((), (tmp_path / "a.npz",)))
    assert {job.options.inputs for job in plain} == {()}
    assert {job.options.inputs for job in given} == {(str(tmp_path / "a.npz"),)}
    assert "inputs" not in plain[0].options.json()
    first = profile_inputs(given[0])
    np.savez(tmp_path / "a.npz", x=np.zeros(1))
    assert len({str(profile_inputs(plain[0])["data"]), str(first["data"]), str(profile_inputs(given[0])["data"])}) == 3


# the tables


def test_the_tables_are_tidy(tmp_path: Path, world: World) -> None:
    world.broken["export", "residual inference (torch)"] = ValueError("no")
    result = sweep(tmp_path, world, replace(AXES, workloads=["autoenc", "residual"], changes={"batch": "4"}))
    table = pd.read_csv(tmp_path / "cells.csv")
    assert tuple(table.columns) == CELL_COLUMNS
    assert table["cell"].is_unique
    assert table["batch"].tolist() == [4, 4, 4, 4]
    assert table["changes"].isna().all()  # the batch size has a column of its own
    assert table["control_us"].tolist()[:2] == [100, 100]
    assert table["control_us"][2:].isna().all()
    assert table.loc[0, ["share_A", "share_B", "share_D"]].tolist() == [0.1, 0.9, 0.0]
    assert table["share_A"][2:].isna().all()
    shares = pd.read_csv(tmp_path / "shares.csv")
    assert tuple(shares.columns) == SHARE_COLUMNS
    assert shares.groupby(["cell", "by"])["share"].sum().tolist() == pytest.approx([1.0] * 8)
    held = json.loads((tmp_path / "sweep.json").read_text())
    assert held == json.loads(json.dumps(result.json()))
    assert held["cells"][3]["control_us"] is None


def test_parquet_is_written_where_pyarrow_is_and_an_old_one_never_stays(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cells.parquet").write_bytes(b"of another sweep")
    monkeypatch.setattr("fathom_onnx.study.table_files.find_spec", lambda name: None)
    sweep(tmp_path, world)
    assert not (tmp_path / "cells.parquet").exists()
    monkeypatch.setattr("fathom_onnx.study.table_files.find_spec", lambda name: name)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda self, path, index: f"{path} {index} {len(self)}".encode())
    sweep(tmp_path, world)
    assert (tmp_path / "cells.parquet").read_bytes() == b"None False 2"


def test_a_sweep_over_threads_judges_the_claims_and_one_over_batches_does_not(tmp_path: Path, world: World) -> None:
    over_threads = sweep(tmp_path, world, replace(AXES, modes=["training"], threads=(1, 8)))
    assert over_threads.ledger is not None
    entries = {entry.claim.id: entry for entry in over_threads.ledger}
    assert entries["F6a"].ours == "it falls in 0 of 1 runs"
    over_batches = sweep(tmp_path, world, replace(AXES, threads=(1,), batches=(4, 8)))
    assert over_batches.ledger is None
    assert over_batches.json()["ledger"] is None


# the command


def test_the_command_runs_the_lists_it_is_given(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(folder: Path, axes: Axes, **options: Any) -> SweepResult:
        asked.append((axes, options.pop("retry"), options.pop("wait"), options["steps"]))
        return run_sweep(folder, axes, stages=world.stages(), workers=inline, **options)

    monkeypatch.setattr("fathom_onnx.study.run_sweep", run)
    world.broken["profile", "residual inference (torch)"] = ValueError("broken")
    command = ["sweep", "autoenc", "residual", "--preset", "tiny", "--mode", "inference", "--threads", "1, 2"]
    result = CliRunner().invoke(main, [*command, "--batch", "4", "--steps", "7", "--no-wait", "-o", str(tmp_path)])
    assert result.exit_code == 1, result.output
    axes, retry, wait, steps = asked[0]
    assert (axes.threads, axes.batches, axes.frameworks, axes.modes) == ((1, 2), (4,), ("torch",), ("inference",))
    assert (retry, wait, steps) == (False, False, 7)
    assert "2 of 4 cells done" in result.stdout
    assert "failed: residual inference (torch) batch=4 on cpu, threads 2, optimization all (profile): broken" in (
        result.stdout
    )
    assert "profile 4/4 residual inference (torch) batch=4" in result.stderr
    shown = CliRunner().invoke(main, [*command, "--batch", "4", "--framework", "all", "--json", "-o", str(tmp_path)])
    held = json.loads(shown.stdout)
    assert (held["schema"], len(held["cells"])) == ("fathom-onnx/sweep/1", 12)
    assert asked[1][0].frameworks == ("torch", "tensorflow", "jax")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threads", "1,x"], "'x' is not a whole number above zero"),
        (["--threads", "1,,2"], "has an empty value"),
        (["--batch", "0"], "'0' is not a whole number above zero"),
        (["--mode", "train"], "unknown mode 'train'"),
        (["--optimization", "al"], "did you mean 'all'"),
        (["--set", "bach=2"], "did you mean 'batch'"),
    ],
)
def test_bad_lists_are_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["sweep", "autoenc", "--preset", "tiny", *arguments, "-o", str(tmp_path / "s")])
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert not (tmp_path / "s").exists()


# the lock


_HOLD = """
import sys
from pathlib import Path
from fathom_onnx.study.engine.inputs import profile_inputs
from fathom_onnx.study.engine.lock import machine_lock
with machine_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock, for the folder ``theirs``, until its input ends."""
    (tmp_path / "theirs").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "theirs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.slow
def test_a_second_measurement_is_refused_and_told_who_runs(
    tmp_path: Path, world: World, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(
        RunError, match=rf"is running on this machine \(process {holder.pid}, since .*, for '.*theirs'\)"
    ):
        sweep(tmp_path / "mine", world, wait=False)
    assert world.did == []


@pytest.mark.slow
def test_a_folder_has_one_measurement_whatever_lock_the_machine_has(
    tmp_path: Path, world: World, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LOCK_VARIABLE, str(tmp_path / "other"))
    with pytest.raises(
        RunError, match=rf"is written to this folder \(process {holder.pid}, since .*, for '.*theirs'\)"
    ):
        sweep(tmp_path / "theirs", world, wait=False)
    assert world.did == []


@pytest.mark.slow
def test_a_second_measurement_waits_and_says_so(tmp_path: Path, world: World, holder: subprocess.Popen[str]) -> None:
    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)
        assert holder.stdin is not None
        holder.stdin.close()  # it ends now

    assert sweep(tmp_path, world, on_wait=say).ok
    (line,) = told
    assert line.startswith(f"waiting: another measurement is running on this machine (process {holder.pid}")


@pytest.mark.slow
def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with machine_lock(tmp_path, wait=False):
        held = json.loads(lock_path().with_name(f"{lock_path().name}.holder").read_text())
        assert held["folder"] == str(tmp_path)
    assert not lock_path().with_name(f"{lock_path().name}.holder").exists()


def test_a_lock_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(LOCK_VARIABLE, str(tmp_path / "file" / "lock"))
    with pytest.raises(OutputError, match=f"name another with {LOCK_VARIABLE}"), machine_lock(tmp_path):
        pass


# the time to go


def event(kind: Any, number: int, total: int = 5, stage: str = "profile", seconds: float = 0.0) -> Event:
    return Event(kind, stage, "x", number, total, seconds=seconds)


def test_the_time_to_go_is_that_of_the_work_done_times_what_is_left() -> None:
    pace = Pace()
    assert pace.left(event("reused", 1), 0.0) is None
    assert pace.left(event("started", 1), 100.0) is None
    assert pace.left(event("done", 2, seconds=10), 110.0) == pytest.approx(30)
    assert pace.left(event("started", 2), 110.0) == pytest.approx(30)
    assert pace.left(event("failed", 3, seconds=20), 130.0) == pytest.approx(30)  # two in 30 s, two left
    assert pace.left(event("started", 0, stage="other"), 131.0) is None
    # beside the other stage, and in the next round anew
    assert pace.left(event("done", 4, seconds=5), 135.0) == pytest.approx(35 / 3)
    assert pace.left(event("done", 1, stage="other", seconds=5), 136.0) == pytest.approx(20)
    assert pace.left(event("started", 0), 200.0) is None
    assert pace.left(event("done", 1, seconds=2), 202.0) == pytest.approx(8)


def test_spans_are_in_words() -> None:
    assert [span(s) for s in (0.4, 59, 130, 3900)] == ["0 s", "59 s", "2 min 10 s", "1 h 5 min"]
