"""A timeline of the profiled steps for Chrome's tracing view and Perfetto: a track a phase and a track a layer.

Where a device was recorded there is a track a stream as well: what ran there, for which node.

The format is the Trace Event JSON of Chromium: complete events (``ph`` X) with ``ts`` and ``dur`` in microseconds, and
metadata events (``ph`` M) that name processes and threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.graph.labels import label_nodes
from fathom_onnx.runtime.devices.step import Work
from fathom_onnx.runtime.devices.times import DeviceTimes
from fathom_onnx.runtime.optimized import executed_name
from fathom_onnx.runtime.traces.trace import NodeRun, StepRun

__all__ = ["timeline_lines"]

_PHASES, _LAYERS, _DEVICE = 1, 2, 3
_NOWHERE = "unattributed"
_STEPS = "steps"


def timeline_lines(
    steps: Iterable[StepRun], attribution: Attribution, device: DeviceTimes | None = None
) -> Iterator[bytes]:
    """The lines of a timeline file.

    Steps follow each other on one time axis that begins at 0, as they did in the run; between the sessions of a profile
    that took several, the axis goes on.

    Args:
        steps: The profiled steps, in order.
        attribution: What each executed node stands for; a node's track is that of its largest part.
        device: What a device did in the very same steps; None where none was recorded.
    """
    labels = label_nodes(attribution.originals)
    track: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for entry, found in zip(attribution.executed, attribution.nodes, strict=True):
        main = max(found.shares, key=lambda share: share.weight, default=None)
        details: dict[str, Any] = {
            "node": entry.node.name,
            "op_type": entry.node.op_type,
            "kind": found.kind,
            "originals": [labels[s.original].name for s in found.shares],
        }
        where = (labels[main.original].phase, labels[main.original].layer) if main else (_NOWHERE, _NOWHERE)
        track[executed_name(entry.index)] = (*where, details)

    yield b'{"displayTimeUnit": "ms", "traceEvents": ['
    names: dict[tuple[int, str], int] = {(_PHASES, _STEPS): 0}
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
            # another session, whose clock began again
            shift += previous_end - step.start_us
        previous_end = step.start_us + step.run_us
        offset = shift - begin
        yield _line(_event(f"step {number}", _PHASES, 0, step.start_us + offset, step.run_us, {"step": number}))
        for node in _by_start(step.nodes):
            phase, layer, details = track.get(node.name, (_NOWHERE, _NOWHERE, {"node": node.name}))
            for process, name in ((_PHASES, phase), (_LAYERS, layer)):
                if (process, name) not in names:
                    names[process, name] = len(names)
                    yield _line(_meta("thread_name", process, names[process, name], name))
                    yield _line(_sort(process, names[process, name]))
                title = str(details.get("node") or node.op_type)
                place = names[process, name]
                yield _line(_event(title, process, place, node.start_us + offset, node.duration_us, details))
        if device is not None:
            work = zip(device.work[number], device.begins_ns[number].tolist(), strict=True)
            yield from _device_lines(work, step, offset, track, names)
    yield b"]}\n"


def _device_lines(
    work: Iterable[tuple[Work, int]],
    step: StepRun,
    offset: int,
    track: Mapping[str, tuple[str, str, dict[str, Any]]],
    names: dict[tuple[int, str], int],
) -> Iterator[bytes]:
    """The device's events in a step, a track a stream; each says for which node it was."""
    for one, begin_ns in work:
        stream = f"device {one.activity.device} stream {one.activity.stream}"
        if (_DEVICE, stream) not in names:
            names[_DEVICE, stream] = len(names)
            yield _line(_meta("thread_name", _DEVICE, names[_DEVICE, stream], stream))
        details: dict[str, Any] = {"node": None}
        if one.node is not None:
            executed = step.nodes[one.node].name
            details = track[executed][2] if executed in track else {"node": executed}
        told = {**details, "kind": one.activity.kind, "idle_before_us": one.gap_ns / 1000}
        begin, took = begin_ns / 1000 + offset, one.duration_ns / 1000
        yield _line(_event(one.activity.name, _DEVICE, names[_DEVICE, stream], begin, took, told))


def _by_start(nodes: Sequence[NodeRun]) -> list[NodeRun]:
    return sorted(nodes, key=lambda node: (node.start_us, -node.duration_us))


def _meta(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}


def _sort(process: int, thread: int) -> dict[str, Any]:
    return {"ph": "M", "name": "thread_sort_index", "pid": process, "tid": thread, "args": {"sort_index": thread}}


def _event(name: str, process: int, thread: int, start: float, duration: float, args: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "X", "name": name, "pid": process, "tid": thread, "ts": start, "dur": duration, "args": args}


def _line(event: dict[str, Any], first: bool = False) -> bytes:
    return (b"\n" if first else b",\n") + orjson.dumps(event)
