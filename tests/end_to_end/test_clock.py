"""A clock that is set, forwards and backwards, while commands run: nothing is lost, mistaken for old, or waits long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import pytest

from fathom_onnx.analysis.runs import Run
from fathom_onnx.errors import RunError
from fathom_onnx.study.engine.lock import LOCK_VARIABLE, machine_lock
from support.graphs.small_models import cnn
from support.jumping_clock import jumping_clock

LONGEST_S = 120


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a process whose clock jumps."""
    return {**os.environ, **jumping_clock(tmp_path_factory.mktemp("clock"))}


def python(code: str, *arguments: object, env: Mapping[str, str]) -> str:
    """What a program prints, which has to succeed in time."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_clock_jumps_and_the_monotonic_one_does_not(jumping: Mapping[str, str]) -> None:
    code = """
import datetime, time
days = {round((time.time() - time.monotonic()) / 86400) for _ in range(50)}
print(len(days), len({datetime.datetime.now().date() for _ in range(50)}))
assert all(0 <= time.monotonic() - time.monotonic() + 1 < 2 for _ in range(50))
"""
    assert python(code, env=jumping).split() == ["3", "3"]


_TRAIN = """
import sys
import numpy as np
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training import CheckpointFolder, CheckpointPlan, train
from support.graphs.small_models import line_training

def go(folder, steps, **more):
    batches = [{"x": np.float32([1, n, 2])} for n in range(3)]
    kept = CheckpointPlan(CheckpointFolder(Path(folder)), every=2)
    train(line_training(), batches, steps, SessionSettings(threads=1), kept=kept, **more)

go(sys.argv[1], 7)
"""


def test_training_keeps_what_it_keeps_by_a_steady_clock(tmp_path: Path, jumping: Mapping[str, str]) -> None:
    for name, env in (("steady", os.environ), ("jumping", jumping)):
        python(_TRAIN, tmp_path / name, Path(__file__).parent.parent, env=env)
    names = sorted(path.name for path in (tmp_path / "steady").iterdir())
    assert any(name.endswith(".safetensors") for name in names)
    assert sorted(path.name for path in (tmp_path / "jumping").iterdir()) == names
    for name in names:
        if name.endswith(".safetensors") or name == "losses.csv":
            assert (tmp_path / "jumping" / name).read_bytes() == (tmp_path / "steady" / name).read_bytes()


def test_a_profile_has_the_times_of_a_steady_clock(tmp_path: Path, jumping: Mapping[str, str]) -> None:
    onnx.save(cnn().model, tmp_path / "cnn.onnx")
    command = [sys.executable, "-m", "fathom_onnx", "profile", "cnn.onnx", "--threads", "1", "-o", "run"]
    done = subprocess.run(
        command, cwd=tmp_path, env=jumping, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert done.returncode == 0, done.stderr
    run = Run.load(tmp_path / "run")
    dropped = run.summary()["statistics"]["dropped_steps"]  # as warm-up, where the machine was disturbed at first
    assert len(run.steps) + dropped == 10
    assert (run.samples >= 0).all()
    assert run.steps["run_us"].gt(0).all()
    assert (run.steps["run_us"] <= run.steps["wall_us"] + 50).all()
    assert run.steps["wall_us"].lt(60e6).all()


_HOLD = """
import sys
from pathlib import Path
from fathom_onnx.study.engine.lock import machine_lock
with machine_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(
    tmp_path: Path, jumping: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[str]]:
    """A process whose clock jumps, and which holds the machine's lock."""
    monkeypatch.setenv(LOCK_VARIABLE, str(tmp_path / "lock"))
    (tmp_path / "theirs").mkdir()
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "theirs")]
    env = {**jumping, LOCK_VARIABLE: str(tmp_path / "lock")}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_held_lock_is_no_older_for_it_and_that_of_a_dead_process_is_taken(
    tmp_path: Path, jumping: Mapping[str, str], holder: subprocess.Popen[str]
) -> None:
    taking = """
import sys
from pathlib import Path
from fathom_onnx.errors import RunError
from fathom_onnx.study.engine.lock import machine_lock
try:
    with machine_lock(Path(sys.argv[1]), wait=False):
        print("taken")
except RunError as error:
    print(error)
"""
    env = {**jumping, LOCK_VARIABLE: str(tmp_path / "lock")}
    assert f"process {holder.pid}, since" in python(taking, tmp_path, env=env)
    with pytest.raises(RunError, match="another measurement"), machine_lock(tmp_path, wait=False):
        pass
    holder.kill()
    holder.wait()
    assert python(taking, tmp_path, env=env) == "taken\n"


def test_a_process_waits_as_long_as_the_lock_is_held(
    tmp_path: Path, jumping: Mapping[str, str], holder: subprocess.Popen[str]
) -> None:
    waiting = """
import sys
from pathlib import Path
from fathom_onnx.study.engine.lock import machine_lock
with machine_lock(Path(sys.argv[1]), on_wait=lambda text: print("waits", flush=True)):
    print("taken", flush=True)
"""
    command = [sys.executable, "-c", waiting, str(tmp_path)]
    env = {**jumping, LOCK_VARIABLE: str(tmp_path / "lock")}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as waiter:
        assert waiter.stdout is not None
        assert waiter.stdout.readline() == "waits\n"
        assert json.loads((tmp_path / "lock.holder").read_text())["process"] == holder.pid
        assert holder.stdin is not None
        holder.stdin.close()
        assert waiter.communicate(timeout=LONGEST_S)[0] == "taken\n"
