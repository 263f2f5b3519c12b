"""``fathom-onnx train``: evaluation, checkpoints, signals, kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from fathom_onnx.cli import main
from fathom_onnx.training import CheckpointFolder
from fathom_onnx.training.evaluation import HeldOutLoss


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments), "--threads", "1"])


@pytest.fixture
def graph(tiny, tmp_path: Path) -> Path:
    """autoenc, which draws noise."""
    path = tmp_path / "autoenc-train.onnx"
    path.write_bytes(tiny("autoenc", "torch", "training").model.SerializeToString())
    return path


@pytest.mark.slow
def test_a_run_is_evaluated_kept_and_resumed(tmp_path: Path) -> None:
    common = ("autoenc", "--preset", "tiny", "--eval-every", 10, "--eval-batches", 2, "--json")
    whole = json.loads(call(*common, "--steps", 30).stdout)
    folder = ("--checkpoint", tmp_path / "run", "--checkpoint-every", 7)
    first = json.loads(call(*common, "--steps", 15, *folder).stdout)
    assert first["losses"] == whole["losses"][:15]
    rest = json.loads(call(*common, "--steps", 30, *folder, "--resume").stdout)
    assert (rest["first_step"], rest["interrupted"]) == (16, False)
    assert rest["losses"] == whole["losses"]
    values = {(row["step"], row["name"]): row["value"] for row in rest["metrics"]}
    assert {(row["step"], row["name"]): row["value"] for row in whole["metrics"]}.items() <= values.items()
    assert values[30, "held-out loss"] < values[0, "held-out loss"]
    assert values[30, "reconstruction"] < values[0, "reconstruction"]
    for name in ("losses", "metrics"):
        table = pd.read_csv(tmp_path / "run" / f"{name}.csv", float_precision="round_trip")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "run" / f"{name}.parquet"), table)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        ".lock",
        "curves.svg",
        "losses.csv",
        "losses.parquet",
        "metrics.csv",
        "metrics.parquet",
        "step-00000028.safetensors",
        "step-00000030.safetensors",
    ]


@pytest.mark.slow
def test_event_files_hold_losses_and_metrics_as_tensorflow_reads_them(tmp_path: Path) -> None:
    from tensorflow.compat.v1.train import summary_iterator

    common = ("autoenc", "--preset", "tiny", "--eval-every", 4, "--eval-batches", 1, "--json")
    files = ("--checkpoint", tmp_path / "run", "--tensorboard", tmp_path / "events")
    first = json.loads(call(*common, "--steps", 4, *files).stdout)
    rest = json.loads(call(*common, "--steps", 8, *files, "--resume").stdout)
    paths = sorted((tmp_path / "events").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    events = [[*summary_iterator(str(path))] for path in paths]
    found = [(e.step, v.tag, v.simple_value) for file in events for e in file for v in e.summary.value]
    expected = [(step, "loss", loss) for step, loss in enumerate(rest["losses"], 1)]
    expected += [(row["step"], f"held_out/{row['name']}".replace(" ", "_"), row["value"]) for row in rest["metrics"]]
    assert len(first["losses"]) == 4
    assert sorted(found) == [(*key, pytest.approx(value, rel=1e-6)) for *key, value in sorted(expected)]
    restarts = [[e.step for e in file if e.session_log.status == e.session_log.START] for file in events]
    assert restarts[1] == [5]  # what an interrupted run may have told of step 5 and later is dropped


def test_event_files_without_their_package_are_one_line(graph: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    result = call(graph, "--steps", 1, "--tensorboard", tmp_path)
    assert result.exit_code == 4
    assert "event files need tensorboardX, which is not installed; pip install tensorboardX" in result.output


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autoenc"])
def test_held_out_digits_are_none_that_are_trained_on(name: str) -> None:
    from fathom_onnx.data import batches
    from fathom_onnx.workloads.contract import TensorSpec

    spec = (TensorSpec("images", (100, 196)),)
    seen = {}
    for split in ("training", "held-out"):
        stream = batches("digits", spec, 0, split=split)
        seen[split] = {image.tobytes() for _ in range(15) for image in next(stream)["images"]}
    assert len(seen["held-out"]) in range(340, 361)  # a fifth of 1,797 images, two of which may be alike
    assert len(seen["training"]) > 1300
    assert not seen["held-out"] & seen["training"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--resume"], 2, "there is no folder for checkpoints; name one with --checkpoint"),
        (["--checkpoint-every", "3"], 2, "there is no folder for checkpoints"),
        (["--data", "digitz"], 2, "unknown data source 'digitz'; did you mean 'digits'"),
        (["--steps", "0"], 2, "0 is not in the range"),
    ],
)
def test_what_cannot_work_is_refused(graph: Path, options: list[str], code: int, message: str) -> None:
    result = call(graph, *options)
    assert result.exit_code == code, result.output
    assert message in result.output


def test_a_second_run_does_not_take_the_folder_of_a_first(graph: Path, tmp_path: Path) -> None:
    assert call(graph, "--steps", 3, "--checkpoint", tmp_path / "run").exit_code == 0
    before = sorted((p.name, p.read_bytes()) for p in (tmp_path / "run").iterdir())
    again = call(graph, "--steps", 3, "--checkpoint", tmp_path / "run")
    assert again.exit_code == 2
    assert "has checkpoints of a run; go on with --resume" in again.output
    assert sorted((p.name, p.read_bytes()) for p in (tmp_path / "run").iterdir()) == before


def started(graph: Path, folder: Path, steps: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fathom_onnx", "train", graph, "--steps", steps, "--threads", 1]
    command += ["--checkpoint", folder, "--checkpoint-every", 20, "--resume", "--json"]
    return subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def wait_for_a_checkpoint(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not CheckpointFolder(folder).paths():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_run_with_its_last_step_kept(graph: Path, tmp_path: Path, number: int) -> None:
    folder = tmp_path / "run"
    process = started(graph, folder, 10**6)
    wait_for_a_checkpoint(folder)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    told = json.loads(out)
    assert told["interrupted"]
    found, faults = CheckpointFolder(folder).latest()
    assert found is not None
    assert (found.step, faults) == (told["steps"], [])
    assert f"stopped after step {found.step} of 1000000; go on with --resume" in err


@pytest.mark.slow
def test_kills_lose_nothing_that_was_kept(graph: Path, tmp_path: Path) -> None:
    """Killed at some moment three times, a run ends as one that was let alone."""
    folder, steps = tmp_path / "run", 1_500
    for delay in (0.02, 0.1, 0.3):
        process = started(graph, folder, steps)
        wait_for_a_checkpoint(folder)
        time.sleep(delay)
        process.kill()
        process.communicate(timeout=60)
    out, err = started(graph, folder, steps).communicate(timeout=120)
    told = json.loads(out)
    assert told["first_step"] > 1, err
    alone = json.loads(started(graph, tmp_path / "alone", steps).communicate(timeout=120)[0])
    assert told["losses"] == alone["losses"]
    states = [CheckpointFolder(place).latest()[0] for place in (folder, tmp_path / "alone")]
    assert all(state is not None and state.step == steps for state in states)
    assert states[0].values["decoder.hidden.weight"].tobytes() == states[1].values["decoder.hidden.weight"].tobytes()
    assert not list(folder.glob(".*.part"))


def test_an_evaluation_needs_a_batch() -> None:
    from fathom_onnx.errors import UsageError

    with pytest.raises(UsageError, match="an evaluation has no batch"):
        HeldOutLoss([])


@pytest.mark.slow
def test_a_schedule_is_followed_told_and_resumed(tmp_path: Path) -> None:
    from tensorflow.compat.v1.train import summary_iterator

    common = ("autoenc", "--preset", "tiny", "--schedule", "warmup:2,cosine:6", "--json")
    whole = json.loads(call(*common, "--steps", 6, "--tensorboard", tmp_path / "events").stdout)
    assert whole["schedule"] == "warmup:2,cosine:6:0"
    assert whole["learning_rates"][:3] == pytest.approx([5e-4, 1e-3, 1e-3])
    (path,) = (tmp_path / "events").iterdir()
    told = [v.simple_value for e in summary_iterator(str(path)) for v in e.summary.value if v.tag == "learning_rate"]
    assert told == pytest.approx(whole["learning_rates"])
    folder = ("--checkpoint", tmp_path / "run")
    call(*common, "--steps", 3, *folder)
    rest = json.loads(call(*common, "--steps", 6, *folder, "--resume").stdout)
    assert (rest["losses"], rest["learning_rates"]) == (whole["losses"], whole["learning_rates"])
    other = call("autoenc", "--preset", "tiny", "--schedule", "linear:6", "--steps", 8, *folder, "--resume")
    assert other.exit_code == 2
    assert "another learning-rate schedule (warmup:2,cosine:6:0)" in other.stderr


@pytest.mark.slow
def test_a_graph_file_needs_its_learning_rate_as_an_input(graph: Path, tmp_path: Path) -> None:
    refused = call(graph, "--schedule", "cosine", "--steps", 2)
    assert refused.exit_code == 2
    assert "export it with --rate-input" in refused.stderr
    path = tmp_path / "with-rate.onnx"
    arguments = ["export", "autoenc", "--preset", "tiny", "--mode", "training", "--rate-input", "-o", str(path)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    told = json.loads(call(path, "--schedule", "exponential:0.5", "--steps", 2, "--json").stdout)
    assert told["learning_rates"] == pytest.approx([1e-3, 5e-4])
