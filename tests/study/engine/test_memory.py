"""Memory of processes that work side by side, and of those that measure."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fathom_onnx.study.engine.workers import ProcessWorkers, WorkerCall

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel and the C library of Linux")

BYTES = 256 << 20


def new_pages(argument: Any) -> dict[str, Any]:
    """Pages that the kernel gives for each of three arrays, one dropped before the next is made, and what stays."""
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(BYTES // 8)
        taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return {"taken": taken, **status(None)}


def status(argument: Any) -> dict[str, Any]:
    """What the kernel says of this process: whether it has huge pages, and its memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {"huge": found.get("THP_enabled", "").strip(), "resident": int(found["VmRSS"].split()[0]) << 10}


def results(workers: ProcessWorkers, *calls: WorkerCall, fresh: bool = False) -> list[dict[str, Any]]:
    return [outcome.result or {} for _, outcome in workers.run(calls, fresh) if outcome is not None]


def test_beside_others_memory_is_used_again_within_a_call_and_given_back_after_it(tmp_path: Path) -> None:
    with ProcessWorkers(tmp_path) as workers:
        first, second = results(workers, WorkerCall("a", new_pages, 0), WorkerCall("a", status, 0))
    usual = BYTES // resource.getpagesize()
    assert first["taken"][0] > usual // 2
    assert max(first["taken"][1:]) < usual // 10
    assert first["resident"] - second["resident"] > BYTES // 2
    assert first["huge"] in ("0", "")  # which kernels before 5.0 do not say


def test_a_process_that_measures_has_memory_as_any_application(tmp_path: Path) -> None:
    with ProcessWorkers(tmp_path) as workers:
        (found,) = results(workers, WorkerCall("a", status, 0), fresh=True)
    assert found["huge"] == status(None)["huge"]
