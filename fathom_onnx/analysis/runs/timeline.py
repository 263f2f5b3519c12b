"""A Perfetto trace of the profiled steps: one track per phase, one per layer, and one per device stream if recorded.

The format is Chromium's Trace Event JSON, which Perfetto and Chrome's tracing view read: complete events (``ph`` X)
with ``ts`` and ``dur`` in microseconds, and metadata events (``ph`` M) that name processes and threads.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.runtime.devices.step import Work
from fathom_onnx.runtime.devices.times import DeviceTimes
from fathom_onnx.runtime.optimized import executed_name
from fathom_onnx.runtime.traces.node_runs import Kind, NodeRuns
from fathom_onnx.runtime.traces.runs import StepRun

from .executed import UNATTRIBUTED, main_labels

__all__ = ["timeline_lines", "write_timeline"]

_PHASES, _LAYERS, _DEVICE = 1, 2, 3
_STEPS = "steps"

Track = tuple[str, str, dict[str, Any]]
"""Phase and layer of an executed node, and its facts for the panel of a chosen event."""


def write_timeline(
    path: Path, steps: Iterable[StepRun], attribution: Attribution, device: DeviceTimes | None = None
) -> None:
    """Write the lines of :func:`timeline_lines` to a file, compressed."""
    with gzip.open(path, "wb", compresslevel=3) as packed, io.BufferedWriter(packed, 1 << 18) as file:
        file.writelines(timeline_lines(steps, attribution, device))


def timeline_lines(
    steps: Iterable[StepRun], attribution: Attribution, device: DeviceTimes | None = None
) -> Iterator[bytes]:
    """The lines of a timeline file.

    All steps are on one time axis that begins at 0, in the order of the run; the steps of a further profiling session
    continue the axis of the session before.

    Args:
        steps: The profiled steps, in order.
        attribution: The attribution of the executed nodes; a node's track is that of its largest original node.
        device: Device times of the same steps; None where no device was recorded.
    """
    tracks = _tracks(attribution)
    around: dict[Kind, list[tuple[bytes, bytes, bytes]]] = {}
    yield b'{"displayTimeUnit": "ms", "traceEvents": ['
    threads: dict[tuple[int, str], int] = {(_PHASES, _STEPS): 0}
    yield _line(_meta("process_name", _PHASES, 0, "phases"), first=True)
    yield _line(_meta("process_name", _LAYERS, 0, "layers"))
    if device is not None:
        yield _line(_meta("process_name", _DEVICE, 0, "device"))
    yield _line(_meta("thread_name", _PHASES, 0, _STEPS))
    previous_end, shift, begin = 0, 0, 0
    for number, step in enumerate(steps):
        if number == 0:
            begin = step.start_us
        elif step.start_us < previous_end:
            # the clock of another session starts at 0 again
            shift += previous_end - step.start_us
        previous_end = step.start_us + step.run_us
        offset = shift - begin
        yield _line(_event(f"step {number}", _PHASES, 0, step.start_us + offset, step.run_us, {"step": number}))
        nodes = NodeRuns.of(step.nodes)
        for place in _by_start(nodes):
            kind = nodes.kinds[nodes.which[place]]
            first = kind not in around
            if first:
                around[kind] = _around(kind, tracks, threads)
            # all of a node's events are the same but for their times
            start, duration = (orjson.dumps(us) for us in (nodes.start_us[place] + offset, nodes.duration_us[place]))
            for opening, before, after in around[kind]:
                yield b'%b%b"ts":%b,"dur":%b%b' % (opening if first else b"", before, start, duration, after)
        if device is not None:
            work = zip(device.work[number], device.begins_ns[number].tolist(), strict=True)
            yield from _device_lines(work, step, offset, tracks, threads)
    yield b"]}\n"


def _tracks(attribution: Attribution) -> dict[str, Track]:
    """Name of an executed node in the trace to its track."""
    labels = attribution.labels
    tracks: dict[str, Track] = {}
    for entry, node, main in zip(
        attribution.executed, attribution.nodes, main_labels(attribution, labels), strict=True
    ):
        details: dict[str, Any] = {
            "node": entry.node.name,
            "op_type": entry.node.op_type,
            "kind": node.kind,
            "originals": [labels[s.original].name for s in node.shares],
        }
        phase, layer = (main.phase, main.layer) if main else (UNATTRIBUTED, UNATTRIBUTED)
        tracks[executed_name(entry.index)] = (phase, layer, details)
    return tracks


def _device_lines(
    work: Iterable[tuple[Work, int]],
    step: StepRun,
    offset: int,
    tracks: Mapping[str, Track],
    threads: dict[tuple[int, str], int],
) -> Iterator[bytes]:
    """The device's events in a step, one track per stream, each with the node that it ran for."""
    for item, begin_ns in work:
        activity = item.activity
        stream = f"device {activity.device} stream {activity.stream}"
        if (_DEVICE, stream) not in threads:
            threads[_DEVICE, stream] = len(threads)
            yield _line(_meta("thread_name", _DEVICE, threads[_DEVICE, stream], stream))
        details: dict[str, Any] = {"node": None}
        if item.node is not None:
            executed = step.nodes[item.node].name
            details = tracks[executed][2] if executed in tracks else {"node": executed}
        facts = {**details, "kind": activity.kind, "idle_before_us": item.gap_ns / 1000}
        begin_us, duration_us = begin_ns / 1000 + offset, item.duration_ns / 1000
        yield _line(_event(activity.name, _DEVICE, threads[_DEVICE, stream], begin_us, duration_us, facts))


def _by_start(nodes: NodeRuns) -> list[int]:
    """Places of executions in the order of their start, a parent before its children."""
    order: list[int] = np.lexsort((-np.array(nodes.duration_us), np.array(nodes.start_us))).tolist()
    return order


def _around(
    kind: Kind, tracks: Mapping[str, Track], threads: dict[tuple[int, str], int]
) -> list[tuple[bytes, bytes, bytes]]:
    """What stands around the times of a node's events, one a track: lines before the first, its text before and after.

    Tracks that the node is the first on get numbers.
    """
    phase, layer, details = tracks.get(kind.name, (UNATTRIBUTED, UNATTRIBUTED, {"node": kind.name}))
    title = str(details.get("node") or kind.op_type)
    texts = []
    for process, name in ((_PHASES, phase), (_LAYERS, layer)):
        opening = b""
        if (process, name) not in threads:
            threads[process, name] = len(threads)
            opening = _line(_meta("thread_name", process, threads[process, name], name))
            opening += _line(_sort(process, threads[process, name]))
        before = {"ph": "X", "name": title, "pid": process, "tid": threads[process, name]}
        texts.append((opening, _line(before)[:-1] + b",", b',"args":' + orjson.dumps(details) + b"}"))
    return texts


def _meta(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}


def _sort(process: int, thread: int) -> dict[str, Any]:
    return {"ph": "M", "name": "thread_sort_index", "pid": process, "tid": thread, "args": {"sort_index": thread}}


def _event(name: str, process: int, thread: int, start: float, duration: float, args: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "X", "name": name, "pid": process, "tid": thread, "ts": start, "dur": duration, "args": args}


def _line(event: dict[str, Any], first: bool = False) -> bytes:
    return (b"\n" if first else b",\n") + orjson.dumps(event)
