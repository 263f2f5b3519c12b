"""Calls in copies of a process that has only imported what they need."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from fathom_onnx.errors import ExportError
from fathom_onnx.study.engine.workers import CallOutcome, ProcessWorkers, WorkerCall

IMPORTED: list[int] = []
"""Processes that imported."""


def imports() -> None:
    if not IMPORTED:
        IMPORTED.append(os.getpid())


def broken_imports() -> None:
    raise ImportError("no such framework")


def where(argument: Any) -> dict[str, Any]:
    IMPORTED.append(0)  # stays in this copy
    return {"pid": os.getpid(), "parent": os.getppid(), "imported": list(IMPORTED)}


def die(argument: int) -> dict[str, Any]:
    os.kill(os.getpid(), argument)
    time.sleep(30)
    return {}


def refused(argument: Any) -> dict[str, Any]:
    raise ExportError("cannot export\n it", "do this")


def outcomes(workers: ProcessWorkers, *calls: WorkerCall) -> list[CallOutcome]:
    return [outcome for _, outcome in workers.run(calls, fresh=True) if outcome is not None]


def test_every_call_has_a_process_of_its_own_and_imports_are_done_once(tmp_path: Path) -> None:
    with ProcessWorkers(tmp_path) as workers:
        results = [o.result for o in outcomes(workers, *(WorkerCall("a", where, n, imports) for n in range(3)))]
        assert len({r["pid"] for r in results}) == 3
        (original,) = {r["parent"] for r in results}
        assert [r["imported"] for r in results] == [[original, 0]] * 3


def test_a_copy_that_dies_takes_only_its_call_with_it(tmp_path: Path) -> None:
    with ProcessWorkers(tmp_path) as workers:
        killed, fine = outcomes(
            workers, WorkerCall("a", die, signal.SIGKILL, imports), WorkerCall("a", where, 0, imports)
        )
        assert killed.error == "its process died (SIGKILL; out of memory?)"
        assert fine.result is not None


def test_errors_are_one_line(tmp_path: Path) -> None:
    with ProcessWorkers(tmp_path) as workers:
        (failed,) = outcomes(workers, WorkerCall("a", refused, 0, imports))
        assert (failed.result, failed.error) == (None, "cannot export it; do this")


def test_imports_that_fail_are_left_to_the_call(tmp_path: Path) -> None:
    with ProcessWorkers(tmp_path) as workers:
        (done,) = outcomes(workers, WorkerCall("a", where, 0, broken_imports))
        assert done.result is not None


def test_no_copy_outlives_the_process_that_asked(tmp_path: Path) -> None:
    """Killed as nothing can catch, in the middle of a call."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, sys, time
        from pathlib import Path
        from fathom_onnx.study.engine.workers import ProcessWorkers, WorkerCall

        def nothing():
            pass

        def sleep(path):
            Path(path).write_text(f"{{os.getpid()}} {{os.getppid()}}")
            time.sleep(60)
            return {{}}

        if __name__ == "__main__":
            with ProcessWorkers(Path({str(tmp_path)!r})) as workers:
                for _ in workers.run([WorkerCall("a", sleep, {str(tmp_path / "pids")!r}, nothing)], fresh=True):
                    pass
        """)
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (pids := (tmp_path / "pids").read_text() if (tmp_path / "pids").exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    waiting = {int(pid) for pid in pids.split()}
    while waiting and time.monotonic() < deadline:
        waiting = {pid for pid in waiting if Path(f"/proc/{pid}").exists() and not is_zombie(pid)}
        time.sleep(0.05)
    assert not waiting


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_runs_on_a_device_are_not_copies() -> None:
    from fathom_onnx.study import Cell, Job, Options
    from fathom_onnx.study.engine.runs import profile_imports

    cell = Cell("autoenc", "torch", "inference")
    assert profile_imports(Job(cell, Options(ep="cpu"), Path())) is not None
    assert profile_imports(Job(cell, Options(ep="cuda"), Path())) is None


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_copies_of_a_process_that_imported_a_framework_run_steps(tmp_path: Path, framework: str) -> None:
    """On two threads, several times: a copy of running threads would hang."""
    from fathom_onnx.study import Cell, Job, Options, Role
    from fathom_onnx.study.engine.runs import native_imports, profile_native_step

    options = Options(preset="tiny", threads=2, warmup=1, steps=2)
    jobs = [
        Job(Cell("autoenc", framework, "inference"), options, tmp_path, Role.NATIVE, output=tmp_path / f"run{n}")
        for n in range(2)
    ]
    with ProcessWorkers(tmp_path / "logs") as workers:
        done = outcomes(workers, *(WorkerCall("n", profile_native_step, job, native_imports(job)[1]) for job in jobs))
    assert [o.error for o in done] == [""] * 2
