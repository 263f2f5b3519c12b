"""Worker processes where memory runs short: what waits, what is set aside, and that it is done in the end."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fathom_onnx.study.engine.workers import CallOutcome, ProcessWorkers, WorkerCall, pool
from fathom_onnx.study.engine.workers.memory import available_part


def nap(seconds: float) -> dict[str, Any]:
    started = time.time()
    time.sleep(seconds)
    return {"from": started, "to": time.time()}


def be_killed_at_first(begun: Path) -> dict[str, Any]:
    """Dies as a process does that the system kills, but not a second time."""
    if not begun.exists():
        begun.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return nap(0.01)


def tell_process(told: Path) -> dict[str, Any]:
    """Writes which process it is in, and naps."""
    told.write_text(str(os.getpid()))
    return nap(2.0)


def be_killed_beside(other: Path) -> dict[str, Any]:
    """Dies where the process that another call told of is there; else says so, and what it may use."""
    while not other.exists():
        time.sleep(0.01)
    try:
        os.kill(int(other.read_text()), 0)
    except ProcessLookupError:
        return {"threads": os.environ.get("OPENBLAS_NUM_THREADS")}
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def be_killed(argument: Any) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def nap_and_tell(begun: Path) -> dict[str, Any]:
    """Naps, and writes when it was begun."""
    with begun.open("a") as file:
        file.write(f"{time.time()}\n")
    return nap(2.0)


def run(folder: Path, *calls: WorkerCall) -> list[tuple[WorkerCall, CallOutcome]]:
    with ProcessWorkers(folder) as workers:
        return [(call, outcome) for call, outcome in workers.run(calls) if outcome is not None]


def span(outcome: CallOutcome) -> tuple[float, float]:
    assert outcome.result is not None, outcome.error
    return outcome.result["from"], outcome.result["to"]


def test_what_is_killed_beside_others_is_done_alone(tmp_path: Path) -> None:
    large = WorkerCall("a", be_killed_at_first, tmp_path / "begun")
    others = [WorkerCall("b", nap, 3.0), WorkerCall("b", nap, 0.1)]
    found = dict(run(tmp_path, large, *others))
    assert set(found) == {large, *others}
    assert span(found[large])[0] >= max(span(found[other])[1] for other in others)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for by signals")
def test_what_was_set_aside_has_the_machine_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    told = tmp_path / "told"
    large, other = WorkerCall("a", be_killed_beside, told), WorkerCall("b", tell_process, told)
    found = dict(run(tmp_path, large, other))
    assert found[large].result == {"threads": None}, found[large].error


def test_what_is_killed_alone_fails(tmp_path: Path) -> None:
    hopeless, other = WorkerCall("a", be_killed, 0), WorkerCall("b", nap, 3.0)
    found = dict(run(tmp_path, hopeless, other))
    assert found[hopeless].result is None
    assert found[hopeless].error == "its process died (SIGKILL; out of memory?)"
    span(found[other])


def test_two_that_are_killed_beside_each_other_are_done_one_after_the_other(tmp_path: Path) -> None:
    calls = [WorkerCall(lane, be_killed_at_first, tmp_path / lane) for lane in "ab"]
    found = run(tmp_path, *calls, WorkerCall("c", nap, 3.0))
    (_, first), (_, second) = found[1:]
    assert span(first)[1] <= span(second)[0]


def test_where_memory_is_short_nothing_begins_beside_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "available_part", lambda: 0.2)
    one, two = (span(outcome) for _, outcome in run(tmp_path, *(WorkerCall(lane, nap, 0.2) for lane in "ab")))
    assert one[1] <= two[0]


def test_where_memory_runs_out_what_began_last_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older, newer = (WorkerCall(lane, nap_and_tell, tmp_path / f"{lane}.begun") for lane in "ab")
    both_begun = [call.argument for call in (older, newer)]

    def there_is() -> float:
        return 0.05 if all(path.exists() for path in both_begun) else 1.0

    monkeypatch.setattr(pool, "available_part", there_is)
    found = run(tmp_path, older, newer)
    assert [call for call, _ in found] == [older, newer]
    assert [len(path.read_text().split()) for path in both_begun] == [1, 2]
    assert span(found[1][1])[0] >= span(found[0][1])[1]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is available")
def test_what_is_available_is_a_part_of_what_there_is() -> None:
    free = os.sysconf("SC_AVPHYS_PAGES") / os.sysconf("SC_PHYS_PAGES")  # the system's own count of pages
    assert free - 0.1 < available_part() < 1
