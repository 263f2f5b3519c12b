"""A worker process: what it does with calls, how it is given them, and how it ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fathom_onnx.errors import FathomError, one_line
from fathom_onnx.graph.files import ensure_folder
from fathom_onnx.processes import ended_at_import

from .calls import WorkerCall
from .memory import give_memory_back, keep_memory
from .threads import limit_threads

__all__ = ["SCRATCH", "Worker", "copied"]

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
SCRATCH = "scratch"
"""Folder, beside the logs, for the temporary files of the processes."""
_TO_END_S = 5.0
"""Seconds that a process that waits for a call has to end by itself."""
_READY = "ready"
"""What a process says when it has started, the user's script imported: if it never does, no other one will."""
_NICENESS = 10
"""What lanes that give way are nicer by: they have a tenth of what others have of a core."""


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


class Worker:
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
        scratch = ensure_folder(log.parent / SCRATCH)
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

    @property
    def was_killed(self) -> bool:
        """Whether something killed the process: the system does where memory runs out."""
        return bool(self.process.exitcode == -signal.SIGKILL)

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


def copied(call: WorkerCall, fresh: bool) -> bool:
    """Whether the process of its own that a call gets is a copy of one that has imported what it needs."""
    # elsewhere the system's own libraries may not bear a copy without a new start
    return fresh and call.imports is not None and sys.platform == "linux"
