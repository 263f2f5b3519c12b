"""Steps with a device recorder, with and without onnxruntime's profiler."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fathom_onnx.errors import FathomError, RunError
from fathom_onnx.runtime.traces.steps import StepRun

from .records import DeviceRecorder, Recording
from .times import RecordedSteps, device_times

__all__ = ["Ended", "recorded_steps", "recorded_trace"]


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


def recorded_steps(
    recorder: DeviceRecorder, steps: Callable[[Callable[[float], None]], list[float]], provider: str
) -> RecordedSteps:
    """Steps with the recorder alone: what recording costs, and the device's time when nothing waits for a profiler.

    Args:
        recorder: Records the device.
        steps: Runs the steps, calls what it is given after each with the seconds that the session's run took, and
            returns their microseconds.
        provider: Provider whose nodes work on the device.
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
    recording = recorder.stop().beside(begun_ns)
    return RecordedSteps(tuple(walls), device_times([runs], [recording], provider))


def _abandon(recorder: DeviceRecorder) -> None:
    """End a recording that something went wrong in: what it has to say would hide what that was."""
    with contextlib.suppress(FathomError):
        recorder.stop()
