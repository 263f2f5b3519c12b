"""Events of onnxruntime's trace, read as a stream.

The file is a JSON array with one event a line, written in the order in which events ended, so that a child comes before
its parent. Times are whole microseconds.
"""

from __future__ import annotations

import gzip
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import orjson

from fathom_onnx.errors import RunError

__all__ = [
    "FULL",
    "NODE_SUFFIX",
    "RUN",
    "Row",
    "TraceEvent",
    "open_trace",
    "read_blocks",
    "read_event",
    "read_events",
    "read_lines",
]

NODE_SUFFIX = "_kernel_time"
"""What the name of a node's event ends in."""

RUN = "model_run"
"""The event that ends a run."""

FULL = "profile_truncated"
"""The event that tells how many events were lost."""


# A node that was renamed (k0, k1, ...) is the only one of that name, so that from its second execution on the start of
# the line, whose form is fixed, tells all that is needed.
_ROW = re.compile(
    rb'^({"cat" : "Node","pid" :\d+,"tid" :(\d+),"dur" :(\d+),"ts" :(\d+),"ph" : "X",'
    rb'"name" :"(k\d+)_kernel_time","args" : {.*}}|.+?),?$',
    re.MULTILINE,
)

_BLOCK = 1 << 18
"""Bytes that are read at a time."""

Row = tuple[bytes, bytes, bytes, bytes, bytes]
"""An event as it stands in the file: its JSON text; and the thread, duration, start and name in it where it is an
execution of a renamed node, or nothing."""


class TraceEvent(NamedTuple):
    """One event: ``start_us`` and ``duration_us`` in whole microseconds since the session's profiler began.

    A tuple and not a dataclass: a trace has up to a million of them.
    """

    name: str
    is_node: bool
    thread: int
    start_us: int
    duration_us: int
    op_type: str = ""
    provider: str = ""


def open_trace(path: Path) -> io.BufferedReader:
    """A trace file (``.json`` or ``.json.gz``), to be read as bytes."""
    if path.suffix != ".gz":
        return path.open("rb")
    # a compressed file by itself gives a line in three times the time
    return io.BufferedReader(cast(io.RawIOBase, gzip.open(path, "rb")), _BLOCK)


def read_event(line: bytes, path: Path, count: int) -> TraceEvent:
    """The event of a line; ``count`` events of the trace came before it.

    Raises:
        RunError: It is no event, or tells that events were lost.
    """
    try:
        raw = orjson.loads(line)
        name, arguments = raw["name"], raw.get("args", {})
        if name == FULL:
            lost = arguments.get("dropped_event_count", "an unknown number of")
            raise RunError(
                f"onnxruntime's profiler was full: {lost} events were lost (trace '{path.name}' holds {count})",
                "profile fewer steps",
            )
        op_type, provider = arguments.get("op_name", ""), arguments.get("provider", "")
        times = raw["tid"], raw["ts"], raw["dur"]
        if not all(isinstance(text, str) for text in (name, op_type, provider)) or {*map(type, times)} != {int}:
            raise TypeError("a name that is no text, or a time that is no whole number")
        if raw["cat"] == "Node" and name.endswith(NODE_SUFFIX):
            return TraceEvent(name[: -len(NODE_SUFFIX)], True, *times, op_type, provider)
        return TraceEvent(name, False, *times)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"trace '{path.name}' is broken after {count} events: the rest, an unknown number, is lost",
            "profile again; end the process only after the profile is written",
        ) from error


def _blocks(file: io.BufferedReader) -> Iterator[bytes]:
    """The whole lines of a file, many at a time."""
    begun: list[bytes] = []
    while block := file.read1(_BLOCK):
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join([*begun, block[:end]])
            begun.clear()
        begun.append(block[end:])
    yield b"".join(begun)


def _read(path: Path, split: Callable[[bytes], Iterable[Row]]) -> Iterator[list[Row]]:
    """The events of a trace file in blocks; the file is never held whole.

    Args:
        path: The file.
        split: Makes rows of the lines of a block; the text of one without a name is a line as it is.

    Raises:
        RunError: The file is missing or cut short.
    """
    count, closed, opened = 0, False, False
    try:
        with open_trace(path) as file:
            for block in _blocks(file):
                rows = []
                for row in split(block):
                    if row[-1]:
                        rows.append(row)
                        continue
                    text = row[0].strip()
                    if text == b"]":
                        closed = True
                    elif text == b"[":
                        opened = True
                    elif text:
                        rows.append((text.rstrip(b","), b"", b"", b"", b""))
                yield rows
                count += len(rows)
    except (OSError, EOFError) as error:
        raise RunError(f"trace '{path.name}' cannot be read after {count} events ({error})", "profile again") from error
    if not (opened and closed):
        raise RunError(
            f"trace '{path.name}' is cut short after {count} events: the rest, an unknown number, is lost",
            "profile again; end the process only after the profile is written",
        )


def read_lines(path: Path) -> Iterator[bytes]:
    """The events of a trace file (``.json`` or ``.json.gz``) as JSON texts; the file is never held whole.

    Raises:
        RunError: The file is missing or cut short.
    """
    lines = _read(path, lambda block: ((line, b"", b"", b"", b"") for line in block.split(b"\n")))
    return (text for rows in lines for text, *_ in rows)


def read_blocks(path: Path) -> Iterator[list[Row]]:
    """The events of a trace file as they stand in it, some hundreds at a time.

    Raises:
        RunError: The file is missing or cut short.
    """
    return _read(path, _ROW.findall)


def read_events(path: Path) -> Iterator[TraceEvent]:
    """The events of a trace file in file order.

    Raises:
        RunError: The file is missing, cut short, or lost events; the message says how many.
    """
    known: dict[bytes, tuple[str, str, str]] = {}
    for count, (text, thread, duration, start, key) in enumerate(itertools.chain.from_iterable(read_blocks(path))):
        if key in known:
            name, op_type, provider = known[key]
            yield TraceEvent(name, True, int(thread), int(start), int(duration), op_type, provider)
            continue
        event = read_event(text, path, count)
        if key:
            known[key] = event.name, event.op_type, event.provider
        yield event
