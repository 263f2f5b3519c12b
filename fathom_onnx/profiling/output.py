"""The folder of a run, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from fathom_onnx.errors import OutputError, one_line
from fathom_onnx.graph.files import check_replaceable, ensure_folder, hold, publish, remove_abandoned, seal

__all__ = ["run_output"]

_HERE = -100
"""AT_FDCWD of Linux's ``fcntl.h``: paths are relative to the current folder."""

_EXCHANGE = 2
"""RENAME_EXCHANGE of Linux's ``fs.h``."""


@contextlib.contextmanager
def run_output(
    folder: Path | None, files: Collection[str] = ("manifest.json", "nodes.csv"), kind: str = "a run folder"
) -> Iterator[Path]:
    """A temporary folder that becomes the run folder ``folder`` on success and is removed on failure.

    Args:
        folder: The folder; None where nothing is to be kept.
        files: Names of files that every folder of the kind has: one that has not is not replaced.
        kind: What such a folder is called in an error.

    Raises:
        OutputError: ``folder`` cannot be written, or holds something else than a run.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="fathom-onnx-") as temporary:
            yield Path(temporary)
        return
    check_replaceable(folder, files, kind)
    ensure_folder(folder.parent)
    remove_abandoned(folder, folder=True)
    with contextlib.ExitStack() as ends:
        try:
            aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
            ends.callback(shutil.rmtree, aside, ignore_errors=True)
            _held(aside, ends)
            yield aside
            seal(aside, [path.name for path in aside.iterdir()])
            publish(aside, 0o777)
            _put(aside, folder)
        except OSError as error:
            raise OutputError(
                f"cannot write {kind.removeprefix('a ')} '{folder}' ({one_line(error)})", "choose another with -o"
            ) from error


def _put(aside: Path, folder: Path) -> None:
    """Put a folder in the place of another, which is then in its place or gone.

    On Linux that is one step: a process that is killed leaves the old one or the new one.
    """
    if not folder.exists():
        aside.rename(folder)
        return
    if _exchange(aside, folder):
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
    folder.rename(old / "run")
    try:
        aside.rename(folder)
    except OSError:
        (old / "run").rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places; whether the system and its system of files can."""
    call = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return call is not None and call(_HERE, bytes(one), _HERE, bytes(other), _EXCHANGE) == 0


def _held(folder: Path, ends: contextlib.ExitStack) -> None:
    """Hold a folder until the end, so that others see that somebody writes it; where that can be."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        ends.callback(os.close, opened)
        hold(opened)
