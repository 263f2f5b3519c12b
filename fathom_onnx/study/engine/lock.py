"""One measurement at a time on a machine, so that two studies or sweeps do not slow each other down.

The lock is the operating system's lock of a file, so that it ends with the process that holds it, even if that is
killed. A note next to the file says which process holds it.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fathom_onnx.errors import OutputError, RunError, one_line

__all__ = ["LOCK_VARIABLE", "lock_path", "machine_lock"]

LOCK_VARIABLE = "FATHOM_ONNX_LOCK"
"""Environment variable that names another lock file, for processes that are pinned to cores of their own."""

_FOLDER_LOCK = ".lock"
"""Name of the lock file in the folder of a study or sweep."""


def lock_path() -> Path:
    """The lock file: that of :data:`LOCK_VARIABLE`, or one a user in the machine's folder for temporary files."""
    named = os.environ.get(LOCK_VARIABLE)
    if named:
        return Path(named)
    # one a user: the file of another user in this folder cannot be opened for writing
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir()) / f"fathom-onnx{user}.lock"


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _holder(path: Path) -> str:
    """The process that holds the lock, in words."""
    try:
        note = json.loads(_note(path).read_text("utf-8"))
        return f"process {note['process']}, since {note['since']}, for '{note['folder']}'"
    except (OSError, ValueError, KeyError, TypeError):
        return "which did not say more"


@contextlib.contextmanager
def machine_lock(folder: Path, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the machine for a measurement, and the folder that it is written to.

    The folder too: processes with locks of their own for the machine would take each other's files for left-overs.

    Args:
        folder: The study's or sweep's folder, reported to processes that wait.
        wait: Whether to wait for a measurement that is under way, or to raise an error.
        on_wait: Called once for each wait, with one line that says that it waits and for which process.

    Raises:
        RunError: Another measurement is under way, and ``wait`` is false.
        OutputError: A lock file cannot be made.
    """
    machine, own = lock_path(), folder / _FOLDER_LOCK
    with (
        _held(machine, "another measurement is running on this machine", folder, wait, on_wait),
        _held(own, "another measurement is written to this folder", folder, wait, on_wait),
    ):
        yield


@contextlib.contextmanager
def _held(path: Path, busy: str, folder: Path, wait: bool, on_wait: Callable[[str], None] | None) -> Iterator[None]:
    """Hold a lock file; ``busy`` says what it means that another process holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            said = f"{busy} ({_holder(path)})"
            if not wait:
                raise RunError(said, "wait for its end") from None
            if on_wait is not None:
                on_wait(f"waiting: {said}")
            lock.acquire()
    except OSError as error:
        raise OutputError(
            f"cannot use lock file '{path}' ({one_line(error)})", f"name another with {LOCK_VARIABLE}"
        ) from error
    note = _note(path)
    try:
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        with contextlib.suppress(OSError):  # nothing depends on the note
            note.write_text(json.dumps({"process": os.getpid(), "since": now, "folder": str(folder)}), "utf-8")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()
