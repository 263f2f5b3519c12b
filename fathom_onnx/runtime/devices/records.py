"""Records of a device: calls that launch work, the work on the device, and readings of both clocks.

Neutral of the tool that recorded it, so that what is made of it can be tested on records from a file. A file holds one
JSON object a line, compressed with gzip; the first is a header.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

import orjson

from fathom_onnx.errors import OutputError, RunError, one_line

from .clocks import ClockPair

__all__ = [
    "FORMAT",
    "ActivityKind",
    "DeviceActivity",
    "DeviceRecorder",
    "Launch",
    "Recording",
    "read_recording",
    "write_recording",
]

FORMAT = "fathom-onnx/device-records/1"
"""Name and version of the file format of device records."""

ActivityKind = Literal["kernel", "copy", "set"]
"""Kind of work on a device: a kernel, a copy, or setting memory."""


class Launch(NamedTuple):
    """A call of the host that put work on the device.

    Attributes:
        correlation: Number that it shares with its work.
        thread: The system's number of the calling thread.
        start_ns: When it was called, on the recorder's clock.
        end_ns: When it returned.
        call: Its name, empty where the recorder does not say.
    """

    correlation: int
    thread: int
    start_ns: int
    end_ns: int
    call: str = ""


class DeviceActivity(NamedTuple):
    """One kernel, copy or set on the device.

    Attributes:
        kind: What it is.
        name: The kernel's name, or the direction of the copy.
        correlation: Number that it shares with the call that launched it.
        start_ns: When it began, on the recorder's clock.
        end_ns: When it ended.
        device: Number of the device.
        stream: Number of the stream.
        grid: Blocks of a kernel, else empty.
        block: Threads of a block, else empty.
        registers: Registers a thread of a kernel; None for the rest.
        shared_bytes: Shared memory a block of a kernel, static and dynamic; None for the rest.
        size_bytes: Bytes copied or set; None for a kernel.
    """

    kind: ActivityKind
    name: str
    correlation: int
    start_ns: int
    end_ns: int
    device: int = 0
    stream: int = 0
    grid: tuple[int, ...] = ()
    block: tuple[int, ...] = ()
    registers: int | None = None
    shared_bytes: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class Recording:
    """What was recorded beside one trace of onnxruntime.

    Attributes:
        source: The tool, for example ``cupti 13.4.0``.
        launches: The calls whose work is in ``activities``.
        activities: What the device did.
        clock: Readings of the recorder's clock beside the host's, in order of time.
        dropped: Records that the tool lost.
        trace_start_ns: The time on the host's clock at which the trace's microseconds begin; 0: not known yet.
    """

    source: str
    launches: tuple[Launch, ...]
    activities: tuple[DeviceActivity, ...]
    clock: tuple[ClockPair, ...]
    dropped: int
    trace_start_ns: int = 0

    def beside(self, trace_start_ns: int) -> Recording:
        """The same, beside the trace that begins at a time of the host's clock."""
        return replace(self, trace_start_ns=trace_start_ns)


class DeviceRecorder(Protocol):
    """Records what the device does between ``start`` and ``stop``; may be started again."""

    def start(self) -> None:
        """Begin to record."""

    def step_done(self) -> None:
        """Take in what was recorded so far; called after each step, outside its time."""

    def stop(self) -> Recording:
        """End recording and hand over all of it."""


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording to a file.

    Raises:
        OutputError: It cannot be written.
    """
    header: dict[str, Any] = {
        "format": FORMAT,
        "source": recording.source,
        "trace_start_ns": recording.trace_start_ns,
        "dropped": recording.dropped,
    }
    parts = (("clock", recording.clock), ("launch", recording.launches), ("activity", recording.activities))
    try:
        with gzip.open(path, "wb", compresslevel=6) as file:
            file.write(orjson.dumps(header) + b"\n")
            for kind, records in parts:
                file.writelines(orjson.dumps({"record": kind, **record._asdict()}) + b"\n" for record in records)
    except OSError as error:
        raise OutputError(f"cannot write '{path}' ({one_line(error)})", "free some space") from error


def read_recording(path: Path) -> Recording:
    """Read a recording from its file.

    Raises:
        RunError: It cannot be read or is not a recording.
    """
    clock: list[ClockPair] = []
    launches: list[Launch] = []
    activities: list[DeviceActivity] = []
    try:
        with gzip.open(path, "rb") as file:
            header = orjson.loads(file.readline())
            if header.get("format") != FORMAT:
                raise ValueError(f"format '{header.get('format')}', not '{FORMAT}'")
            for line in file:
                record = orjson.loads(line)
                kind = record.pop("record")
                if kind == "clock":
                    clock.append(ClockPair(**record))
                elif kind == "launch":
                    launches.append(Launch(**record))
                elif kind == "activity":
                    activities.append(_activity(record))
                else:
                    raise ValueError(f"a record of kind '{kind}'")
        facts = (str(header["source"]), int(header["dropped"]), int(header["trace_start_ns"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"device records '{path.name}' cannot be read ({one_line(error)})", "profile again") from error
    return Recording(facts[0], tuple(launches), tuple(activities), tuple(clock), facts[1], facts[2])


def _activity(record: dict[str, Any]) -> DeviceActivity:
    if record["kind"] not in get_args(ActivityKind):
        raise ValueError(f"device work of kind '{record['kind']}'")
    return DeviceActivity(**{**record, "grid": tuple(record["grid"]), "block": tuple(record["block"])})
