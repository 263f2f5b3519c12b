"""Runs that are killed at random moments, and what they are in the end."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fathom_onnx.exporting import ExportRequest, export_graph
from fathom_onnx.training import CheckpointFolder
from fathom_onnx.workloads import workload

__all__ = ["KILLED", "killed"]

KILLED = (("autoenc", "torch"), ("memnet", "tensorflow"), ("speech", "torch"), ("deepq", "tensorflow"))
"""Workloads and frameworks whose runs are killed: noise, noise in the update, CTC, and one that plays."""


def killed(name: str, framework: str, place: Path, count: int, chosen: random.Random) -> dict[str, Any]:
    """Kill a run some times, and compare its end with that of one that is let alone.

    Args:
        name: The workload, at the tiny preset.
        framework: The framework of its graph.
        place: An empty folder.
        count: Kills.
        chosen: Draws the moments, a fifth to twice of the time that a run takes to its first step.
    """
    graph = place / f"{name}-train.onnx"
    request = ExportRequest(workload(name, "tiny"), "training")
    graph.write_bytes(export_graph(framework, request).model.SerializeToString())
    command = [sys.executable, "-m", "fathom_onnx", "train", str(graph), "--threads", "1", "--checkpoint-every", "250"]
    command += ["--data", "catch", "--play"] if name == "deepq" else []
    command += ["--resume", "--json", "--checkpoint"]
    started = time.perf_counter()
    subprocess.run([*command, str(place / "first"), "--steps", "1"], capture_output=True, check=True)
    begun = time.perf_counter() - started
    folder, done, faults, hit = place / "run", 0, 0, 0
    for _ in range(count):
        endless = [*command, str(folder), "--steps", "100000000"]
        process = subprocess.Popen(endless, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(begun * chosen.uniform(0.2, 2.0))
        hit += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found, damaged = CheckpointFolder(folder).latest() if folder.is_dir() else (None, [])
        step = found.step if found else 0
        faults += bool(damaged) or step < done
        done = step
    steps = done + 100
    same = _ended(command, folder, steps) == _ended(command, place / "alone", steps)
    return {"count": hit, "faults": faults, "same": same, "steps": steps}


def _ended(command: list[str], folder: Path, steps: int) -> tuple[list[float], dict[str, bytes]]:
    """Losses and state of a run at its end."""
    whole = [*command, str(folder), "--steps", str(steps)]
    told = subprocess.run(whole, capture_output=True, check=True).stdout
    found, _ = CheckpointFolder(folder).latest()
    assert found is not None
    return json.loads(told)["losses"], {name: value.tobytes() for name, value in found.values.items()}
