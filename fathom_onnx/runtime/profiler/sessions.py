"""The sessions of a round: unprofiled control steps of a graph, then profiled steps of the same optimized model."""

from __future__ import annotations

import gzip
import itertools
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnx

from fathom_onnx.errors import OutputError, UsageError, one_line
from fathom_onnx.graph.bodies import numbered
from fathom_onnx.runtime.devices.recorded import recorded_alone, recorded_trace
from fathom_onnx.runtime.devices.records import Recording, write_recording
from fathom_onnx.runtime.node_times import device_recorder
from fathom_onnx.runtime.optimized import load_optimized, write_renamed
from fathom_onnx.runtime.prepare import Prepared
from fathom_onnx.runtime.providers.names import PROVIDERS
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import Stepper, open_stepper
from fathom_onnx.runtime.traces.events import read_events
from fathom_onnx.workloads.contract import Array

from .round import Round, recording_of

__all__ = ["Progress", "record"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

EVENTS_PER_SESSION = 200_000
"""onnxruntime keeps a profile in memory (2.6 kB an event) and drops what comes after a million events."""


def _steps(
    stepper: Stepper,
    batches: Sequence[Mapping[str, Array]],
    warmup: int,
    steps: int,
    what: str,
    progress: Progress,
    after: Callable[[float], None] | None = None,
) -> list[float]:
    """Wall time in microseconds of ``steps`` steps after ``warmup`` of them, over the batches in turn.

    ``after`` is called after each step with the seconds that it took.
    """
    seconds = []
    for number, batch in enumerate(itertools.islice(itertools.cycle(batches), warmup + steps), 1):
        seconds.append(stepper.step(batch))
        if after is not None:
            after(seconds[-1])
        progress(what, number, warmup + steps)
    return [s * 1e6 for s in seconds[warmup:]]


def _compress(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as raw, gzip.open(target, "wb", compresslevel=3) as packed:
            shutil.copyfileobj(raw, packed, 1 << 20)
        source.unlink()
    except OSError as error:
        raise OutputError(f"cannot write '{target}' ({one_line(error)})", "free some space") from error


def _events_a_step(
    optimized: onnx.ModelProto,
    prepared: Prepared,
    settings: SessionSettings,
    renamed: Path,
    batch: Mapping[str, Array],
) -> int:
    """Events that the profiler writes in a step: one a node and two a run.

    A body runs as often as its data says, so that the events of a model that has one are counted in a step of its own.
    """
    nodes = numbered(optimized.graph)
    if all(entry.parent is None for entry in nodes):
        return len(nodes) + 2
    prefix = renamed.parent / f"count-{uuid.uuid4().hex}"
    stepper = open_stepper(prepared, settings, model=renamed, profile_prefix=prefix)
    try:
        stepper.step(batch)
    finally:
        raw = Path(stepper.session.end_profiling())
    events = sum(1 for _ in read_events(raw))
    raw.unlink()
    return events


def record(
    prepared: Prepared,
    settings: SessionSettings,
    batches: Sequence[Mapping[str, Array]],
    folder: Path,
    *,
    warmup: int = 3,
    steps: int = 10,
    progress: Progress | None = None,
) -> Round:
    """Run unprofiled control steps, then the profiled ones, with the same batches from the same starting state.

    Args:
        prepared: The graph and its values.
        settings: How it runs.
        batches: The batches, taken in turn.
        folder: An existing folder for the compressed traces; the optimized model is left in ``model`` in it.
        warmup: Steps to run and not to count, in each session.
        steps: Steps to count.
        progress: Told how far it is.

    Raises:
        UsageError: ``steps`` below 1, ``warmup`` below 0, or no batch.
        RunError: onnxruntime fails.
    """
    if steps < 1 or warmup < 0 or not batches:
        raise UsageError(f"cannot measure {steps} steps after {warmup} with {len(batches)} batches", "give 1 or more")
    report: Progress = progress or (lambda what, done, total: None)
    recorder = device_recorder(settings)
    work = folder / "model"
    work.mkdir()
    plain, renamed = work / "optimized.onnx", work / "renamed.onnx"
    stepper = open_stepper(prepared, settings, optimized_to=plain)
    options = stepper.session.get_provider_options().get(PROVIDERS[settings.ep].full_name, {})
    control = _steps(stepper, batches, warmup, steps, "control", report)
    alone = None
    if recorder is not None:
        alone = recorded_alone(recorder, lambda after: _steps(stepper, batches, 0, steps, "record", report, after))
    del stepper  # frees its weights and state before the next session takes as much again

    optimized = load_optimized(plain)
    write_renamed(optimized, renamed)
    fitting = EVENTS_PER_SESSION // _events_a_step(optimized, prepared, settings, renamed, batches[0])
    per_session = max(1, fitting - warmup)
    walls: list[float] = []
    traces: list[Path] = []
    counted: list[int] = []
    recordings: list[Recording] = []
    while len(walls) < steps:
        counted.append(min(per_session, steps - len(walls)))
        prefix = work / f"trace-{uuid.uuid4().hex}"
        opening_ns = time.time_ns()
        stepper = open_stepper(prepared, settings, model=renamed, profile_prefix=prefix)
        with recorded_trace(stepper.session, opening_ns, recorder) as ended:
            after = None if recorder is None else lambda seconds: recorder.step_done()
            walls += _steps(stepper, batches, warmup, counted[-1], "profile", report, after)
        del stepper
        number = f"-{len(traces) + 1}" if traces else ""
        traces.append(folder / f"trace{number}.json.gz")
        _compress(ended.trace, traces[-1])
        if ended.recording is not None:
            recordings.append(ended.recording)
            write_recording(recording_of(traces[-1]), ended.recording)
    return Round(
        optimized=optimized,
        control_us=tuple(control),
        step_us=tuple(walls),
        traces=tuple(traces),
        warmup=warmup,
        session_steps=tuple(counted),
        provider_options={str(k): str(v) for k, v in options.items()},
        recordings=tuple(recordings),
        alone=alone,
        model_folder=work,
    )
