"""Hand-made traces in onnxruntime's form, and traces of ordinary sessions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fathom_onnx.runtime.settings import LEVELS, Optimization


@dataclass(frozen=True)
class Event:
    """One execution of a node: from ``start`` for ``us`` microseconds; children come before their parents.

    ``index`` None leaves the index out, as old versions do.
    """

    name: str
    op_type: str
    index: int | None
    us: int
    start: int | None = None
    inputs: Sequence[Sequence[int]] = ()
    outputs: Sequence[Sequence[int]] = ()
    provider: str = "CPUExecutionProvider"
    thread: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)


def _line(cat: str, name: str, thread: int, start: int, us: int, args: Mapping[str, Any]) -> dict[str, Any]:
    return {"cat": cat, "pid": 1, "tid": thread, "dur": us, "ts": start, "ph": "X", "name": name, "args": dict(args)}


def events_of(runs: Sequence[Sequence[Event]], fences: bool = False, outside: int = 10) -> list[dict[str, Any]]:
    """The events of a trace: runs on thread 1, each ``outside`` microseconds longer than its last node ends."""
    lines = [_line("Session", "session_initialization", 1, 5, 50, {})]
    clock = 100
    for run in runs:
        begin = at = clock
        for event in run:
            start = at if event.start is None else begin + event.start
            args: dict[str, Any] = {"op_name": event.op_type, "provider": event.provider, **event.more}
            args["input_type_shape"] = [{"float": list(shape)} for shape in event.inputs]
            args["output_type_shape"] = [{"float": list(shape)} for shape in event.outputs]
            if event.index is not None:
                args["node_index"] = str(event.index)
            if fences:
                told = {"op_name": event.op_type}
                lines.append(_line("Node", f"{event.name}_fence_before", event.thread, start, 0, told))
            lines.append(_line("Node", f"{event.name}_kernel_time", event.thread, start, event.us, args))
            if fences:
                told = {"op_name": event.op_type}
                lines.append(_line("Node", f"{event.name}_fence_after", event.thread, start + event.us, 3, told))
            at = max(at, start + event.us)
        lines.append(_line("Session", "SequentialExecutor::Execute", 1, begin, at - begin, {}))
        lines.append(_line("Session", "model_run", 1, begin, at - begin + outside, {}))
        clock = at + outside + 100
    return lines


def write_trace(path: Path, runs: Sequence[Sequence[Event]], fences: bool = False) -> Path:
    """Write a trace, one event a line."""
    lines = ",\n".join(json.dumps(line) for line in events_of(runs, fences))
    path.write_text(f"[\n{lines}\n]\n")
    return path


def session_trace(
    model: onnx.ModelProto, folder: Path, level: Optimization = "all", runs: int = 3
) -> tuple[Path, Path, Path]:
    """A model, the trace that an ordinary session of it writes, and the model that the session saved."""
    import onnxruntime

    files = folder / "model.onnx", folder / "trace.json", folder / "optimized.onnx"
    onnx.save(model, files[0])
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.optimized_model_filepath = str(files[2])
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(files[0]), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feeds = {i.name: rng.normal(size=[d if isinstance(d, int) else 3 for d in i.shape]) for i in session.get_inputs()}
    for _ in range(runs):
        session.run(None, {name: value.astype(np.float32) for name, value in feeds.items()})
    shutil.move(session.end_profiling(), files[1])
    return files
