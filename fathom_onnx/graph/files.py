"""Atomic writing: files are written under a temporary name and renamed, so that no reader ever sees half of one.

A process that is killed leaves its temporary file; the next one that writes the same file takes it away.

A folder of several files is sealed when all of them are written: a list of their hashes says what belongs together.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from fathom_onnx.errors import DataError, OutputError, one_line

__all__ = [
    "ABANDONED_S",
    "check_replaceable",
    "check_sealed",
    "ensure_folder",
    "hold",
    "publish",
    "remove_abandoned",
    "seal",
    "write_aside",
    "write_bytes",
    "write_text",
]

ABANDONED_S = 60.0
"""Age of a temporary file that nobody holds from which on it is taken to be left by a process that was killed.

One from as far in the future is too: the clock was set since.
"""

_SEAL = "files.json"
"""The list of a sealed folder: name of a file to its size and SHA-256."""


def ensure_folder(folder: Path) -> Path:
    """Create a folder for output.

    Raises:
        OutputError: It cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make folder '{folder}' ({error.strerror})", "choose another with -o") from error
    try:  # permissions do not tell: root has them all, and is refused by some systems of files
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise OutputError(
            f"cannot write to folder '{folder}' ({error.strerror})", "choose another with -o or change its permissions"
        ) from error


@contextlib.contextmanager
def write_aside(path: Path) -> Iterator[IO[Any]]:
    """A binary file beside ``path`` that takes its place only when everything was written.

    Raises:
        OutputError: The folder cannot be written to or the disk is full; ``path`` is then as it was.
    """
    ensure_folder(path.parent)
    remove_abandoned(path)
    part = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as file:
            part = Path(file.name)
            with contextlib.suppress(OSError):  # some systems of files have no locks
                hold(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        publish(part, 0o666)
        part.replace(path)
        part = None
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise OutputError(f"cannot write '{path}' ({reason})", "free some space or choose another folder") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def hold(file: IO[Any] | int) -> None:
    """Lock an open file, or the descriptor of a folder, for as long as this process has it open, where the system can.

    Raises:
        OSError: Another process holds it, or its system of files has no locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where a file that is open cannot be removed
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove_abandoned(path: Path, folder: bool = False) -> None:
    """Remove what killed processes left half written of a file: nobody holds it, and it is not just being made.

    Args:
        path: What they wrote, beside which they left something.
        folder: Whether it is a folder.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{'' if folder else '.part'}"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as ends:
            if left.is_dir() is folder and abs(time.time() - left.stat().st_mtime) > ABANDONED_S:
                opened = os.open(left, os.O_RDONLY)
                ends.callback(os.close, opened)
                hold(opened)
                if folder:
                    shutil.rmtree(left)
                else:
                    left.unlink()


def check_replaceable(folder: Path, files: Collection[str], kind: str) -> None:
    """Refuse to write a folder in the place of anything but one of its kind.

    Args:
        folder: The folder to be written.
        files: Names of files that every folder of this kind has.
        kind: What such a folder is called in the error, for example "a run folder".

    Raises:
        OutputError: ``folder`` is a file, or a folder that holds something else.
    """
    if folder.is_dir():
        if any(folder.iterdir()) and not all((folder / name).is_file() for name in files):
            raise OutputError(f"'{folder}' is not empty and not {kind}", "choose another folder with -o")
    elif folder.exists() or folder.is_symlink():
        raise OutputError(f"'{folder}' is not a folder", "choose another with -o")


def publish(path: Path, mode: int) -> None:
    """Give a temporary file or folder, which is private, the mode that any new one would have.

    Args:
        path: The file or folder.
        mode: The mode before the process's umask is applied: 0o666 for a file, 0o777 for a folder.
    """
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(mode & ~umask)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file at once."""
    with write_aside(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file at once, in UTF-8."""
    write_bytes(path, text.encode())


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def seal(folder: Path, names: Collection[str]) -> None:
    """Say that files of a folder are written and belong together; the last thing that is written there.

    Args:
        folder: The folder.
        names: Names of the files; the list itself is none of them.
    """
    listed = {name: _fingerprint(folder / name) for name in sorted(set(names) - {_SEAL})}
    write_text(folder / _SEAL, json.dumps(listed, indent=2) + "\n")


def check_sealed(folder: Path, fix: str) -> None:
    """Refuse a folder whose files are not what was written: cut short, changed, exchanged or never finished.

    Args:
        folder: The folder.
        fix: What to do about it.

    Raises:
        DataError: It is not as it was sealed; the message names the file.
    """
    try:
        listed = json.loads((folder / _SEAL).read_text())
        entries = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in listed.items()}
    except FileNotFoundError as error:
        raise DataError(f"folder '{folder}' was not written to its end: it has no {_SEAL}", fix) from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DataError(f"'{folder / _SEAL}' cannot be read ({one_line(error)})", fix) from error
    for name, (size, digest) in entries.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise DataError(f"folder '{folder}' has no '{name}', which was written with the others", fix)
        found = _fingerprint(path)
        if found["bytes"] != size:
            raise DataError(f"'{path}' has {found['bytes']} bytes, not the {size} that were written", fix)
        if found["sha256"] != digest:
            raise DataError(f"'{path}' was changed after it was written", fix)
