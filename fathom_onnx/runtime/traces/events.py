"""Events of onnxruntime's trace, read as a stream.

The file is a JSON array with one event a line, written in the order in which events ended, so that a child comes before
its parent. Times are whole microseconds.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

import orjson

from fathom_onnx.errors import RunError

__all__ = ["TraceEvent", "open_trace", "read_events", "read_lines"]

_SUFFIX = "_kernel_time"


_FULL = "profile_truncated"


# Most of a line is shapes and sizes. A node that was renamed (k0, k1, ...) is the only one of that name, so that from
# its second execution on the start of the line, whose form is fixed, tells all that is needed.
_RENAMED = re.compile(
    rb'{"cat" : "Node","pid" :\d+,"tid" :(\d+),"dur" :(\d+),"ts" :(\d+),"ph" : "X",'
    rb'"name" :"(k\d+)_kernel_time","args" : {'
)


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


def open_trace(path: Path) -> IO[bytes]:
    """A trace file (``.json`` or ``.json.gz``), to be read as bytes."""
    if path.suffix != ".gz":
        return path.open("rb")
    # a compressed file by itself gives a line in three times the time
    return io.BufferedReader(cast(io.RawIOBase, gzip.open(path, "rb")), 1 << 18)


def _event(line: bytes, path: Path, count: int) -> TraceEvent:
    try:
        raw = orjson.loads(line)
        name, arguments = raw["name"], raw.get("args", {})
        if raw["cat"] == "Node" and name.endswith(_SUFFIX):
            op_type, provider = arguments.get("op_name", ""), arguments.get("provider", "")
            return TraceEvent(name[: -len(_SUFFIX)], True, raw["tid"], raw["ts"], raw["dur"], op_type, provider)
        if name == _FULL:
            lost = arguments.get("dropped_event_count", "an unknown number of")
            raise RunError(
                f"onnxruntime's profiler was full: {lost} events were lost (trace '{path.name}' holds {count})",
                "profile fewer steps",
            )
        return TraceEvent(name, False, raw["tid"], raw["ts"], raw["dur"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"trace '{path.name}' is broken after {count} events: the rest, an unknown number, is lost",
            "profile again; end the process only after the profile is written",
        ) from error


def read_lines(path: Path) -> Iterator[bytes]:
    """The events of a trace file (``.json`` or ``.json.gz``) as JSON texts; the file is never held whole.

    Raises:
        RunError: The file is missing or cut short.
    """
    count, closed, opened = 0, False, False
    try:
        with open_trace(path) as file:
            for line in file:
                text = line.strip()
                if not text or text == b"[":
                    opened = opened or bool(text)
                    continue
                if text == b"]":
                    closed = True
                    continue
                yield text.rstrip(b",")
                count += 1
    except (OSError, EOFError) as error:
        raise RunError(f"trace '{path.name}' cannot be read after {count} events ({error})", "profile again") from error
    if not (opened and closed):
        raise RunError(
            f"trace '{path.name}' is cut short after {count} events: the rest, an unknown number, is lost",
            "profile again; end the process only after the profile is written",
        )


def read_events(path: Path) -> Iterator[TraceEvent]:
    """The events of a trace file in file order.

    Raises:
        RunError: The file is missing, cut short, or lost events; the message says how many.
    """
    known: dict[bytes, tuple[str, str, str]] = {}
    for count, line in enumerate(read_lines(path)):
        renamed = _RENAMED.match(line)
        if renamed is None:
            yield _event(line, path, count)
            continue
        thread, duration, start, key = renamed.groups()
        if key in known and line.endswith(b"}}"):
            name, op_type, provider = known[key]
            yield TraceEvent(name, True, int(thread), int(start), int(duration), op_type, provider)
        else:
            event = _event(line, path, count)
            known[key] = event.name, event.op_type, event.provider
            yield event
