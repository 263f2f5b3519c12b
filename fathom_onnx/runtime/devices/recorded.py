"""Steps with a device recorder, with and without onnxruntime's profiler."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fathom_onnx.errors import FathomError, RunError
from fathom_onnx.runtime.traces.runs import StepRun

from .records import DeviceRecorder, Recording
from .times import RecordedSteps, device_times

__all__ = ["Ended", "RecordedAlone", "recorded_alone", "recorded_trace", "times_alone"]


@dataclass
class Ended:
    """What profiled steps left behind: onnxruntime's trace, and what a recorder saw."""

    trace: Path
    recording: Recording | None = None


@contextlib.contextmanager
def recorded_trace(session: Any, opening_ns: int, recorder: DeviceRecorder | None) -> Iterator[Ended]:
    """Record the device while a session is profiled; the trace is there when the block was left.

    Args:
        session: An onnxruntime session with its profiler on.
        opening_ns: The system's real time before it was opened.
        recorder: Records the device; None where there is none.

    Raises:
        RunError: onnxruntime's profiler is on another clock than the system's real-time clock.
    """
    ended = Ended(Path())
    start = int(session.get_profiling_start_time_ns())
    finished = False
    try:
        if recorder is not None:
            if not opening_ns <= start <= time.time_ns():
                raise RunError(
                    "onnxruntime's profiler is not on the system's real-time clock: its nodes cannot be matched with "
                    "the device's work",
                    "give --serialize for host times under blocking launches",
                )
            recorder.start()
        yield ended
        finished = True
    finally:
        ended.trace = Path(session.end_profiling())
        if recorder is not None and not finished:
            _abandon(recorder)
    if recorder is not None:
        ended.recording = recorder.stop().beside(start)


@dataclass(frozen=True)
class RecordedAlone:
    """Steps that ran with the recorder alone: what recording costs, and the device's time when nothing waits.

    Attributes:
        wall_us: Their wall times.
        runs: When the session's run of each began and how long it took, by the clock that the recording is beside.
        recording: What was recorded.
    """

    wall_us: tuple[float, ...]
    runs: tuple[StepRun, ...]
    recording: Recording


def recorded_alone(recorder: DeviceRecorder, steps: Callable[[Callable[[float], None]], list[float]]) -> RecordedAlone:
    """Run steps with the recorder, without onnxruntime's profiler.

    Args:
        recorder: Records the device.
        steps: Runs the steps, calls what it is given after each with the seconds that the session's run took, and
            returns their microseconds.
    """
    begun_ns = time.time_ns()
    runs: list[StepRun] = []

    def after(seconds: float) -> None:
        ended, took = (time.time_ns() - begun_ns) // 1000, int(seconds * 1e6)
        runs.append(StepRun(ended - took, took, ()))
        recorder.step_done()

    finished = False
    recorder.start()
    try:
        walls = steps(after)
        finished = True
    finally:
        if not finished:
            _abandon(recorder)
    return RecordedAlone(tuple(walls), tuple(runs), recorder.stop().beside(begun_ns))


def times_alone(rounds: Sequence[RecordedAlone], provider: str) -> RecordedSteps:
    """What the device did in such steps of some rounds.

    Args:
        rounds: The steps of each round.
        provider: Provider whose nodes work on the device.
    """
    walls = tuple(us for one in rounds for us in one.wall_us)
    return RecordedSteps(walls, device_times([one.runs for one in rounds], [one.recording for one in rounds], provider))


def _abandon(recorder: DeviceRecorder) -> None:
    """End a recording that something went wrong in: what it has to say would hide what that was."""
    with contextlib.suppress(FathomError):
        recorder.stop()
