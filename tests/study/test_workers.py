"""Worker processes: order, lanes, errors in one line, death, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from fathom_onnx.errors import ExportError
from fathom_onnx.study.engine.workers import CallOutcome, ProcessWorkers, WorkerCall
from support.paths import ROOT


def pid(argument: Any) -> dict[str, Any]:
    sys.stdout.write(f"working on {argument}\n")
    sys.stdout.flush()
    sys.stderr.write(f"complaining about {argument}\n")
    return {"pid": os.getpid(), "argument": argument}


def nap(seconds: float) -> dict[str, Any]:
    started = time.time()
    time.sleep(seconds)
    return {"from": started, "to": time.time()}


def known_error(argument: Any) -> dict[str, Any]:
    raise ExportError("cannot export\n it", "do this")


def unknown_error(argument: Any) -> dict[str, Any]:
    raise KeyError("missing")


def die(argument: int) -> dict[str, Any]:
    os.kill(os.getpid(), argument)
    time.sleep(30)
    return {}


def leave(code: int) -> dict[str, Any]:
    os._exit(code)


def outcomes(workers: ProcessWorkers, *calls: WorkerCall, fresh: bool = False) -> list[CallOutcome]:
    return [outcome for _, outcome in workers.run(calls, fresh) if outcome is not None]


def test_a_lane_is_one_process_that_does_its_calls_in_order(tmp_path: Path) -> None:
    with ProcessWorkers(tmp_path) as workers:
        calls = [WorkerCall("a", pid, 1), WorkerCall("b", pid, 2), WorkerCall("a", pid, 3)]
        told = [(call.argument, outcome) for call, outcome in workers.run(calls)]
        assert [argument for argument, outcome in told if outcome is None and argument != 2] == [1, 3]
        results = {argument: outcome.result["pid"] for argument, outcome in told if outcome is not None}
        assert results[1] == results[3] != results[2]
        assert os.getpid() not in results.values()
        again = outcomes(workers, WorkerCall("a", pid, 4))[0].result["pid"]
        assert again == results[1]
        separate = {
            o.result["pid"] for o in outcomes(workers, WorkerCall("c", pid, 5), WorkerCall("c", pid, 6), fresh=True)
        }
        assert len(separate) == 2
    assert "working on 1\n" in (tmp_path / "a.log").read_text()
    assert "complaining about 3\n" in (tmp_path / "a.log").read_text()
    assert "working on 2\n" in (tmp_path / "b.log").read_text()


def threads(argument: Any) -> dict[str, Any]:
    computing = [library["num_threads"] for library in threadpool_info()]
    return {"told": os.environ.get("OMP_NUM_THREADS"), "computing": max(computing, default=1)}


def test_lanes_share_the_cores_and_a_process_alone_has_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fathom_onnx.study.engine.workers.pool.cpu_cores", lambda: 4)
    with ProcessWorkers(tmp_path) as workers:
        side_by_side = outcomes(workers, *(WorkerCall(lane, threads, 0) for lane in "abc"))
        (alone,) = outcomes(workers, WorkerCall("d", threads, 0), fresh=True)
    usual = alone.result["told"]  # what the environment of the tests says, if anything
    assert [o.result for o in side_by_side] == [{"told": usual or "1", "computing": 1}] * 3


def test_lanes_work_side_by_side(tmp_path: Path) -> None:
    with ProcessWorkers(tmp_path) as workers:
        outcomes(workers, WorkerCall("a", pid, 0), WorkerCall("b", pid, 0))  # both are up
        one, two = (o.result for o in outcomes(workers, WorkerCall("a", nap, 0.5), WorkerCall("b", nap, 0.5)))
    assert max(one["from"], two["from"]) < min(one["to"], two["to"])


def wait_for(path: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return {"found": path.exists()}


def write(path: Path) -> dict[str, Any]:
    path.touch()
    return {}


def test_a_call_that_two_lanes_may_do_is_done_by_the_one_that_is_free(tmp_path: Path) -> None:
    done = tmp_path / "done"
    work: tuple[tuple[Any, Any], ...] = ((wait_for, done), (pid, 0), (write, done))
    with ProcessWorkers(tmp_path) as workers:
        calls = [WorkerCall("a", function, argument, others=("b",)) for function, argument in work]
        found = outcomes(workers, *calls, WorkerCall("c", pid, 1))
    assert {"found": True} in [outcome.result for outcome in found]  # the first call's lane begins no other one
    assert len(found) == 4


def test_calls_of_a_group_are_done_by_one_lane_though_another_is_free(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with ProcessWorkers(tmp_path) as workers:
        calls = [
            WorkerCall("a", wait_for, done, others=("b",), group="long"),
            WorkerCall("a", pid, "of the long one", others=("b",), group="long"),
            WorkerCall("a", pid, "of another", others=("b",), group="short"),
            WorkerCall("a", write, done, others=("b",), group="short"),
        ]
        found = outcomes(workers, *calls)
    assert {"found": True} in [outcome.result for outcome in found]
    logs = {lane: (tmp_path / f"{lane}.log").read_text() for lane in "ab"}
    assert "working on of the long one" in logs["a"]
    assert "working on of another" in logs["b"]


def niceness(argument: Any) -> dict[str, Any]:
    return {"nice": os.nice(0)}


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system has no niceness")
def test_lanes_that_share_their_calls_give_way_to_those_that_do_not(tmp_path: Path) -> None:
    with ProcessWorkers(tmp_path) as workers:
        calls = [WorkerCall("a", niceness, 0), WorkerCall("b", niceness, 1, others=("c",))]
        found = {call.argument: outcome.result for call, outcome in workers.run(calls) if outcome and outcome.result}
        (alone,) = outcomes(workers, WorkerCall("d", niceness, 0), fresh=True)
    own = os.nice(0)
    assert found[0] == alone.result == {"nice": own}
    assert found[1] == {"nice": min(own + 10, 19)}


def test_an_error_is_one_line_and_the_process_goes_on(tmp_path: Path) -> None:
    with ProcessWorkers(tmp_path) as workers:
        calls = [WorkerCall("a", known_error, 0), WorkerCall("a", unknown_error, 0), WorkerCall("a", pid, 0)]
        found = outcomes(workers, *calls)
    assert [(o.result is None, o.error) for o in found] == [
        (True, "cannot export it; do this"),
        (True, "KeyError: 'missing'"),
        (False, ""),
    ]
    log = (tmp_path / "a.log").read_text()
    assert "Traceback" in log  # of the one that nobody foresaw
    assert "unknown_error" in log
    assert "known_error\n    raise ExportError" not in log


@pytest.mark.parametrize(
    ("function", "argument", "said"),
    [
        (die, signal.SIGKILL, "its process died (SIGKILL; out of memory?)"),
        (die, signal.SIGSEGV, "its process died (SIGSEGV)"),
        (leave, 3, "its process died (exit code 3)"),
    ],
)
def test_a_process_that_dies_fails_one_call_only(tmp_path: Path, function: Any, argument: int, said: str) -> None:
    with ProcessWorkers(tmp_path) as workers:
        first, second = outcomes(workers, WorkerCall("a", function, int(argument)), WorkerCall("a", pid, 7))
    assert first.result is None
    assert first.error == said
    assert second.result["argument"] == 7


def test_no_process_is_left_behind_when_a_study_is_stopped(tmp_path: Path) -> None:
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt), ProcessWorkers(tmp_path) as workers:
        (running,) = outcomes(workers, WorkerCall("a", pid, 0))
        for _call, outcome in workers.run([WorkerCall("a", nap, 60), WorkerCall("b", nap, 60)]):
            if outcome is None and _call.lane == "b":
                raise KeyboardInterrupt
    assert time.perf_counter() - started < 20
    with pytest.raises(ProcessLookupError):
        os.kill(running.result["pid"], 0)


def leave_a_file(seconds: float) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile(delete=False) as file:
        Path(file.name).with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(seconds)
    return {}


_KILLED = """
from pathlib import Path
from study.test_workers import leave_a_file
from fathom_onnx.study.engine.workers import ProcessWorkers, WorkerCall

if __name__ == "__main__":
    with ProcessWorkers(Path({logs!r})) as workers:
        list(workers.run([WorkerCall("a", leave_a_file, 60)]))
"""


def _works(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells whether a process works")
def test_a_killed_study_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    script, logs = tmp_path / "script.py", tmp_path / "logs"
    script.write_text(_KILLED.format(logs=str(logs)))
    paths = os.pathsep.join([str(ROOT), str(ROOT / "exporters"), str(ROOT / "tests")])
    killed = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": paths})
    waited = time.monotonic()
    while not (left := list((logs / "scratch").glob("*.pid"))) or not left[0].read_text():
        assert time.monotonic() - waited < 60
        assert killed.poll() is None
        time.sleep(0.05)
    worker = int(left[0].read_text())
    assert _works(worker)
    killed.kill()
    killed.wait()
    waited = time.monotonic()
    while _works(worker):
        assert time.monotonic() - waited < 5
        time.sleep(0.05)
    with ProcessWorkers(logs):
        assert not (logs / "scratch").exists()
