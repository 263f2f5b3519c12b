"""Files of a corpus: that they are there and what they should be, and their bytes, packed by gzip or not."""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from fathom_onnx.errors import DataError, one_line

__all__ = [
    "blocks",
    "folder_entries",
    "in_home",
    "path_pair",
    "read_bytes",
    "require_file",
    "require_folder",
    "what_is",
]

_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 20


def what_is(path: Path) -> str:
    """``file``, ``folder``, ``nothing`` or, of a pipe, a device or the like, ``special file``.

    Raises:
        DataError: It cannot be asked, for want of permission.
    """
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        raise DataError(f"'{path}' cannot be reached: {error.strerror}", "check its permissions") from error
    except (OSError, ValueError):  # no such file, a name that no file can have, links in a circle
        return "nothing"
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "special file"


def _require(path: Path, wanted: str, expected: str) -> Path:
    found = what_is(path)
    if found == wanted:
        return path
    if found == "nothing":
        raise DataError(f"no {wanted} '{path}'", f"expected {expected}")
    raise DataError(f"'{path}' is a {found}, not a {wanted}", f"expected {expected}")


def require_file(path: Path, expected: str) -> Path:
    """The path, if it is a regular file.

    Args:
        path: The path.
        expected: What should be there, in words.

    Raises:
        DataError: It is not.
    """
    return _require(path, "file", expected)


def require_folder(path: Path, expected: str) -> Path:
    """The path, if it is a folder.

    Raises:
        DataError: It is not.
    """
    return _require(path, "folder", expected)


def folder_entries(folder: Path) -> list[Path]:
    """What is in a folder, by name.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"folder '{folder}' cannot be read: {error.strerror}", "check its permissions") from error


def blocks(path: Path, expected: str) -> Iterator[bytes]:
    """The bytes of a file, in blocks; those of a gzip file, which is known by its first bytes, are unpacked.

    Raises:
        DataError: It is no regular file, cannot be read, or is gzip that is cut short or broken.
    """
    require_file(path, expected)
    try:
        with path.open("rb") as file:
            packed = file.peek(2)[:2] == _GZIP
            unpacked = gzip.GzipFile(fileobj=file) if packed else file
            while block := unpacked.read(_BLOCK):
                yield block
    except EOFError as error:
        size = path.stat().st_size
        raise DataError(f"'{path}' is gzip that is cut short at byte {size}", "get the file again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"'{path}' is gzip that is broken: {one_line(error, 80)}", "get the file again") from error
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror or one_line(error, 80)}", "check it") from error


def read_bytes(path: Path, expected: str) -> bytes:
    """All bytes of a file, unpacked.

    Raises:
        DataError: As for :func:`blocks`.
    """
    return b"".join(blocks(path, expected))


def in_home(path: str) -> str:
    """A path with the user's home folder for a leading ``~``, which no shell puts in after a colon or a comma."""
    return str(Path.home()) + path[1:] if path == "~" or path.startswith("~/") else path


def path_pair(path: str) -> tuple[Path, Path] | None:
    """The two files of ``FIRST,SECOND``; where there are several commas, the one that has a file on either side.

    None where there is no comma, or none that divides it so.
    """
    parts = path.split(",")
    ways = [(",".join(parts[:i]), in_home(",".join(parts[i:]))) for i in range(1, len(parts))]
    pairs = [(Path(first), Path(second)) for first, second in ways if first and second]
    there = [pair for pair in pairs if all(what_is(one) == "file" for one in pair)]
    fitting = there or pairs
    return fitting[0] if len(fitting) == 1 else None
