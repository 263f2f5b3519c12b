"""Lanes of worker processes, and which of them does which call when."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Self

from fathom_onnx.graph.files import ensure_folder
from fathom_onnx.runtime.environment import cpu_cores

from .calls import CallOutcome, WorkerCall
from .memory import available_part
from .process import SCRATCH, Worker, copied

__all__ = ["ProcessWorkers"]

_LOOK_S = 0.5
"""Seconds between two looks at the machine's memory."""
_ENOUGH, _TOO_LITTLE = 0.25, 0.08
"""Part of the machine's memory that is there when a call begins beside others, and below which one is set aside."""


class _Queue:
    """Calls that are to be done, and those that were set aside, which are done last, one at a time.

    Args:
        calls: The calls.
    """

    def __init__(self, calls: Sequence[WorkerCall]) -> None:
        self._waiting = list(calls)
        self._aside: list[WorkerCall] = []
        self._lane_of: dict[str, str] = {}  # of groups

    def __bool__(self) -> bool:
        return bool(self._waiting or self._aside)

    def take(self, lane: str, beside_others: bool) -> tuple[WorkerCall, bool] | None:
        """The next call of a lane that is free, and whether it was set aside and is to be alone; None where none is.

        Args:
            lane: The lane.
            beside_others: Whether other lanes are at work.
        """
        if beside_others and available_part() < _ENOUGH:
            return None
        alone = not self._waiting and not beside_others
        calls = self._aside if alone else self._waiting
        may = (call for call in calls if lane in call.lanes and self._lane_of.get(call.group, lane) == lane)
        call = next(may, None)
        if call is None:
            return None
        calls.remove(call)
        if call.group:
            self._lane_of[call.group] = lane
        return call, alone

    def set_aside(self, call: WorkerCall) -> None:
        """Leave a call for the end, since beside others it found too little memory."""
        self._aside.append(call)


class ProcessWorkers:
    """Calls done in other processes; a context manager that ends them all on leaving.

    Args:
        logs: Folder for what the processes print, one file a lane.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = ensure_folder(logs)
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Self:
        self._clear()  # what was left by processes that were killed
        return self

    def _clear(self) -> None:
        shutil.rmtree(self._logs / SCRATCH, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in list(self._workers):
            self._stop(lane)
        self._clear()

    def _stop(self, lane: str) -> None:
        self._workers.pop(lane).stop()

    def run(self, calls: Sequence[WorkerCall], fresh: bool = False) -> Iterator[tuple[WorkerCall, CallOutcome | None]]:
        """Do calls; see :meth:`Workers.run`."""
        queue = _Queue(calls)
        lanes = list(dict.fromkeys(lane for call in calls for lane in call.lanes))
        busy: dict[str, tuple[WorkerCall, float, bool]] = {}
        threads = None if fresh else max(1, cpu_cores() // max(1, len(lanes)))
        while queue or busy:
            for lane in [lane for lane in lanes if lane not in busy]:
                taken = queue.take(lane, beside_others=bool(busy))
                if taken is None:
                    continue
                call, alone = taken
                for other in list(self._workers) if alone else ():
                    self._stop(other)  # with the memory that it has
                if lane not in self._workers:
                    log, shared = self._logs / f"{lane}.log", None if alone else threads
                    self._workers[lane] = Worker(log, shared, gives_way=bool(call.others))
                yield call, None
                busy[lane] = call, time.perf_counter(), alone
                self._workers[lane].give(call, copied(call, fresh))
            # while something is measured nothing is looked at
            ready = wait([self._workers[lane].connection for lane in busy], None if fresh else _LOOK_S)
            side_by_side = len(busy) > 1
            if not ready and side_by_side and available_part() < _TOO_LITTLE:
                newest = max(busy, key=lambda lane: busy[lane][1])
                queue.set_aside(busy.pop(newest)[0])
                self._stop(newest)
            for lane in [lane for lane in busy if self._workers[lane].connection in ready]:
                call, started, alone = busy.pop(lane)
                worker = self._workers[lane]
                result, error = worker.answer()
                is_alive = worker.process.is_alive()
                if (fresh and not copied(call, fresh)) or alone or not is_alive:
                    self._stop(lane)
                if side_by_side and not is_alive and worker.was_killed:
                    queue.set_aside(call)
                else:
                    yield call, CallOutcome(result, error, time.perf_counter() - started)
