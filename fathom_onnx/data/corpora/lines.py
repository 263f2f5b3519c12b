"""Lines of text files, one at a time, whatever their ends.

A line ends with LF or CR LF, and with CR in a file that has no LF (as text from an old Macintosh). Nothing else ends a
line: not U+2028, U+0085 or a form feed, by which other programs lose the alignment of parallel texts. Text is UTF-8; a
byte order mark at the start is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fathom_onnx.errors import DataError

from .files import blocks

__all__ = ["Lines", "lines_of"]

_LONGEST = 1 << 26
_OTHER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_MARK = b"\xef\xbb\xbf"

Lines = Iterator[tuple[int, str]]
"""Pairs of a line's number, from 1, and its text without its end."""


def _raw(path: Path, expected: str) -> Iterator[bytes]:
    """Lines without their ends. Whether CR ends a line is known where the file's first LF is, or its end."""
    rest, has_lf = b"", False
    for block in blocks(path, expected):
        rest += block
        if b"\n" in block:
            has_lf = True
            *lines, rest = rest.split(b"\n")
            yield from (line.removesuffix(b"\r") for line in lines)
        elif len(rest) > _LONGEST:
            raise DataError(f"'{path}' has no line end in {len(rest)} bytes", "expected lines that end with LF")
    if not has_lf:
        yield from rest.removesuffix(b"\r").split(b"\r") if rest else ()
    elif rest:
        yield rest.removesuffix(b"\r")


def lines_of(path: Path, expected: str) -> Lines:
    """The lines of a file of text, packed by gzip or not.

    Args:
        path: The file.
        expected: What should be there, in words.

    Raises:
        DataError: It cannot be read, is not UTF-8, or is no text; the line and the byte are named.
    """
    for number, line in enumerate(_raw(path, expected), 1):
        if number == 1:
            encoding = _OTHER_MARKS.get(line[:2])
            if encoding is not None:
                raise DataError(f"'{path}' is {encoding} text", "expected UTF-8")
            line = line.removeprefix(_MARK)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"'{path}' is not UTF-8 in line {number}, at its byte {error.start} (0x{line[error.start]:02x})",
                "expected UTF-8 text",
            ) from error
        if "\0" in text:
            raise DataError(f"'{path}' has a zero byte in line {number}, at its byte {line.index(0)}", "expected text")
        yield number, text
