"""Processes that are killed while they write: what they kept is there and whole, and the next one goes on.

Each is a copy of this process (a fork) that does nothing but write, so that dozens of kills take seconds. Whole
commands are killed by ``benchmarks/kills``.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.graph.files import write_text
from fathom_onnx.profiling import run_output
from fathom_onnx.study.engine.store import Store
from fathom_onnx.training import CheckpointFolder
from support.runs.small_runs import Executed, hand_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are copies of this one"),
]

KILLS = 12
LONGEST_S = 0.06


def killed(write: Callable[[int], object], first: int, chosen: random.Random) -> None:
    """Let another process write numbers from ``first`` on, without end, and kill it at some moment after its first."""
    told, telling = os.pipe()
    child = os.fork()
    if not child:
        try:
            number = first
            while True:
                write(number)
                os.write(telling, b".")
                number += 1
        finally:
            os._exit(1)
    os.close(telling)
    try:
        assert os.read(told, 1) == b"."
        time.sleep(chosen.uniform(0.0, LONGEST_S))
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(told)
    assert os.WIFSIGNALED(status)


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path, chosen, last = tmp_path / "numbers.json", random.Random(0), -1
    for _ in range(KILLS):
        killed(lambda number: write_text(path, json.dumps([number] * 5_000)), last + 1, chosen)
        found = json.loads(path.read_text())
        assert len(found) == 5_000
        assert len(set(found)) == 1
        assert found[0] > last
        last = found[0]


def test_no_stored_result_is_lost_or_torn(tmp_path: Path) -> None:
    store, chosen, kept = Store(tmp_path), random.Random(1), 0
    for _ in range(KILLS):
        killed(lambda number: store.put("cell", "stage", {"n": number}, {"values": [number] * 2_000}), kept, chosen)
        before = kept
        while (found := store.get("cell", "stage", {"n": kept})) is not None:
            assert found == {"values": [kept] * 2_000}
            kept += 1
        assert kept > before
        assert len(list(tmp_path.glob("cell/[!.]*"))) == kept


def test_a_run_folder_is_whole_or_absent(tmp_path: Path) -> None:
    run = hand_run([Executed("k0", [9, 9, 10], {"forward/conv1/Conv2D": 1.0})], [1, 1, 2])

    def write(number: int) -> None:
        with run_output(tmp_path / f"run-{number}") as place:
            run.save(place)

    run.summary()  # imports what the copies would import otherwise
    chosen, made = random.Random(2), 0
    for _ in range(KILLS):
        killed(write, made, chosen)
        folders = sorted(tmp_path.glob("run-*"), key=lambda path: int(path.name.partition("-")[2]))
        assert [path.name for path in folders] == [f"run-{number}" for number in range(len(folders))]
        assert all(Run.load(path).steps.equals(run.steps) for path in folders[made:])
        assert len(folders) > made
        made = len(folders)


def test_the_newest_checkpoint_can_be_read_and_goes_on(tmp_path: Path) -> None:
    folder, chosen, reached = CheckpointFolder(tmp_path), random.Random(3), 0

    def write(number: int) -> None:
        folder.save(number, {"w": np.full(20_000, number, np.float32)}, {})

    for _ in range(KILLS):
        killed(write, reached + 1, chosen)
        found, faults = folder.latest()
        assert found is not None
        assert faults == []
        assert found.step > reached
        assert (found.values["w"] == found.step).all()
        reached = found.step
        with folder.held():
            assert list(tmp_path.glob(".*.part")) == []
