"""Worker processes: one process a lane; the calls of a lane are done in order, lanes side by side.

A call that several lanes may do is done by the first of them that is free. Such lanes give way to the others: what
waits for one lane alone would else end last, with a core left over.

A framework is imported once, in its own lane. A call that needs a process of its own gets a new one, or a copy of one
that has only imported what such calls need, which takes seconds for a framework. When a process dies (killed for lack
of memory, say), only the call it was doing fails; the lane continues in a new process. What libraries print goes to a
log file. When this process dies, even by a signal that none can catch, its workers die with it, and their temporary
files lie where the next run clears.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from fathom_onnx.errors import FathomError, one_line
from fathom_onnx.graph.files import ensure_folder
from fathom_onnx.processes import ended_at_import
from fathom_onnx.runtime.environment import cpu_cores

from .memory import give_memory_back, keep_memory
from .threads import limit_threads

__all__ = ["CallOutcome", "ProcessWorkers", "WorkerCall", "Workers"]

_PRELOADED = (
    "fathom_onnx.graph",
    "fathom_onnx.profiling",
    "fathom_onnx.native_profiling",
    "scipy.ndimage",
    "scipy.signal",
    "scipy.stats",
    "sklearn.datasets",
)
"""Modules that most calls import. Neither frameworks nor onnxruntime: each process loads these with its own threads."""


def _context() -> Any:
    """How processes start: as copies of one that has only imported modules, or from scratch where there is no fork.

    Never as copies of this process: the copy of a process with running thread pools may hang.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


_CONTEXT = _context()
_SCRATCH = "scratch"
"""Folder, beside the logs, for the temporary files of the processes."""
_TO_END_S = 5.0
"""Seconds that a process that waits for a call has to end by itself."""
_READY = "ready"
"""What a process says when it has started, the user's script imported: if it never does, no other one will."""


@dataclass(frozen=True)
class WorkerCall:
    """A module-level function and its argument, both of which can be pickled, and the lane that runs it.

    Attributes:
        lane: The lane.
        function: What is done.
        argument: What it is done for.
        imports: Imports what the call needs, and starts nothing; None where the call does that itself. A lane has one.
        others: Further lanes that may run it: the first one that is free does.
        group: Calls of one group are done by the lane that did the first of them; of none where it is empty.
    """

    lane: str
    function: Callable[[Any], dict[str, Any]]
    argument: Any
    imports: Callable[[], object] | None = None
    others: tuple[str, ...] = ()
    group: str = ""

    @property
    def lanes(self) -> tuple[str, ...]:
        """All lanes that may run it."""
        return (self.lane, *self.others)


@dataclass(frozen=True)
class CallOutcome:
    """The end of a call: a result, or None and the one-line error; and how long it took."""

    result: dict[str, Any] | None
    error: str
    seconds: float


_NICENESS = 10
"""What lanes that give way are nicer by: they have a tenth of what others have of a core."""


class Workers(Protocol):
    """Anything that can do calls."""

    def run(self, calls: Sequence[WorkerCall], fresh: bool = False) -> Iterator[tuple[WorkerCall, CallOutcome | None]]:
        """Do calls; yields a call with None when it starts, and with its outcome when it is done.

        Args:
            calls: The calls; those of one lane are begun in order.
            fresh: Whether each call gets a process of its own, so that no thread pool outlives it.
        """


def _die_with_parent(original: Connection | None = None) -> None:
    """Let this process end at once when the one that asked for it does, even in the middle of a call.

    Args:
        original: In a copy of a process, the end of a pipe to that: the copy ends when it does.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel, *([] if original is None else [original])])
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _serve(connection: Connection, log: str, scratch: str, threads: int | None, gives_way: bool) -> None:
    """The main loop of a worker process: answer calls until the pipe is closed."""
    _die_with_parent()
    if gives_way and hasattr(os, "nice"):
        os.nice(_NICENESS)
    if threads is not None:
        limit_threads(threads)
        keep_memory()
    tempfile.tempdir = scratch
    connection.send(_READY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    while True:
        try:
            call, in_a_copy = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = _answer_of_a_copy(call) if in_a_copy else _answer(call)
        except KeyboardInterrupt:
            return
        if threads is not None:
            give_memory_back()
        connection.send(answer)


_Answer = tuple[dict[str, Any] | None, str]
"""(result, error) of a call."""


def _answer(call: WorkerCall) -> _Answer:
    """Do a call in this process."""
    try:
        return call.function(call.argument), ""
    except KeyboardInterrupt:
        raise
    except FathomError as error:
        return None, one_line(error, 500)
    except BaseException as error:
        import traceback

        traceback.print_exc()  # to the log: an unexpected error
        return None, f"{type(error).__name__}: {one_line(error, 500)}"


def _answer_of_a_copy(call: WorkerCall) -> _Answer:
    """Do a call in a copy of this process, which has imported what it needs and has run nothing."""
    if call.imports is not None:
        with contextlib.suppress(Exception):  # the call says what is missing
            call.imports()
    ours, theirs = _CONTEXT.Pipe()
    child = os.fork()
    if not child:
        try:
            ours.close()  # this copy would otherwise keep the pipe open whose end says that its original died
            _die_with_parent(theirs)
            theirs.send(_answer(call))
        finally:
            os._exit(0)
    theirs.close()
    try:
        answer: _Answer = ours.recv()
    except (EOFError, ConnectionResetError):
        answer = None, ""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    ours.close()
    return answer if any(answer) else (None, f"its process died ({_ending(status)})")


class _Worker:
    """A worker process and the end of the pipe to it.

    Args:
        log: File for what it prints.
        threads: How many threads it may use; None where it has the machine to itself.
        gives_way: Whether other processes are to have the cores first.

    Raises:
        UsageError: The process ended while it imported the user's script.
    """

    def __init__(self, log: Path, threads: int | None, gives_way: bool) -> None:
        self.connection, child_end = _CONTEXT.Pipe()
        scratch = ensure_folder(log.parent / _SCRATCH)
        arguments = child_end, str(log), str(scratch), threads, gives_way
        self.process = _CONTEXT.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        child_end.close()
        self._idle = False
        try:
            self.connection.recv()
            self._idle = True
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            if code is None or code >= 0:  # one that was killed fails its call, see answer
                raise ended_at_import() from None

    def give(self, call: WorkerCall, in_a_copy: bool = False) -> None:
        """Send a call, to be done by the process or by a copy of it; that it died is said by its answer."""
        self._idle = False
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send((call, in_a_copy))

    def answer(self) -> tuple[dict[str, Any] | None, str]:
        """(result, error) of the call that was sent."""
        try:
            result, error = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return None, f"its process died ({_ending(self.process.exitcode)})"
        self._idle = True
        return result, error

    def stop(self) -> None:
        """End the process, even during a call; one that waits for a call ends by itself, and cleans up after itself."""
        self.connection.close()
        if self._idle:
            self.process.join(_TO_END_S)
        self.process.terminate()
        self.process.join()


def _ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}; out of memory?" if -code == signal.SIGKILL else name


def _copied(call: WorkerCall, fresh: bool) -> bool:
    """Whether the process of its own that a call gets is a copy of one that has imported what it needs."""
    # elsewhere the system's own libraries may not bear a copy without a new start
    return fresh and call.imports is not None and sys.platform == "linux"


class ProcessWorkers:
    """Calls done in other processes; a context manager that ends them all on leaving.

    Args:
        logs: Folder for what the processes print, one file a lane.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = ensure_folder(logs)
        self._workers: dict[str, _Worker] = {}

    def __enter__(self) -> Self:
        self._clear()  # what was left by processes that were killed
        return self

    def _clear(self) -> None:
        shutil.rmtree(self._logs / _SCRATCH, ignore_errors=True)

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
        waiting = list(calls)
        lanes = list(dict.fromkeys(lane for call in calls for lane in call.lanes))
        lane_of: dict[str, str] = {}  # of groups
        busy: dict[str, tuple[WorkerCall, float]] = {}
        threads = None if fresh else max(1, cpu_cores() // max(1, len(lanes)))
        while waiting or busy:
            for lane in [lane for lane in lanes if lane not in busy]:
                may = (c for c in waiting if lane in c.lanes and lane_of.get(c.group, lane) == lane)
                call = next(may, None)
                if call is None:
                    continue
                waiting.remove(call)
                if call.group:
                    lane_of[call.group] = lane
                if lane not in self._workers:
                    self._workers[lane] = _Worker(self._logs / f"{lane}.log", threads, gives_way=bool(call.others))
                yield call, None
                busy[lane] = call, time.perf_counter()
                self._workers[lane].give(call, _copied(call, fresh))
            ready = wait([self._workers[lane].connection for lane in busy])
            for lane in [lane for lane in busy if self._workers[lane].connection in ready]:
                call, started = busy.pop(lane)
                result, error = self._workers[lane].answer()
                if (fresh and not _copied(call, fresh)) or not self._workers[lane].process.is_alive():
                    self._stop(lane)
                yield call, CallOutcome(result, error, time.perf_counter() - started)
