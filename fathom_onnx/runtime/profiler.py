"""The profiler: unprofiled control steps of a graph, then profiled steps of the same optimized model."""

from __future__ import annotations

import gzip
import itertools
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from fathom_onnx.errors import OutputError, RunError, UsageError, one_line
from fathom_onnx.graph.bodies import numbered
from fathom_onnx.runtime.devices.recorded import recorded_steps, recorded_trace
from fathom_onnx.runtime.devices.records import Recording, write_recording
from fathom_onnx.runtime.devices.times import DeviceTimes, RecordedSteps, device_times
from fathom_onnx.runtime.providers.names import PROVIDERS
from fathom_onnx.runtime.providers.placement import MEMCPY, Placement, placement, refuse_compute
from fathom_onnx.runtime.traces.events import read_events
from fathom_onnx.runtime.traces.steps import StepRun, StepTimes, read_runs, step_times
from fathom_onnx.workloads.contract import Array

from .node_times import NodeTimes, device_recorder, host_node_times
from .optimized import load_optimized, write_renamed
from .prepare import Prepared
from .settings import SessionSettings
from .stepper import Stepper, open_stepper

__all__ = ["Measurement", "Progress", "foreign_nodes", "measure", "profiled_runs"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

EVENTS_PER_SESSION = 200_000
"""onnxruntime keeps a profile in memory (2.6 kB an event) and drops what comes after a million events."""


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        optimized: The model as it was run, nodes under their names before renaming; large weights not loaded.
        times: Times of the profiled steps, by executed name ``k<number>``; the device's where it was recorded.
        node_times: What these times are.
        device: What was recorded of the device; None where nothing was.
        recorded: Steps that were recorded and not profiled; None where nothing was recorded.
        control_us: Wall time of the unprofiled steps.
        step_us: Wall time of the profiled steps.
        traces: The compressed raw traces.
        warmup: Runs at the start of each trace that are not counted.
        session_steps: Steps that were counted in each session, one a trace.
        provider_options: The provider's options as the session reports them.
        foreign: Executed name to provider, for nodes that ran on another provider than the one asked for.
        copies: Copies between devices that onnxruntime inserted, per step.
        placed: Where the node time went, with nodes elsewhere and copies by name.
        model_folder: Where the optimized model's weights lie, until the caller removes it.
    """

    optimized: onnx.ModelProto
    times: StepTimes
    node_times: NodeTimes
    device: DeviceTimes | None
    recorded: RecordedSteps | None
    control_us: tuple[float, ...]
    step_us: tuple[float, ...]
    traces: tuple[Path, ...]
    warmup: int
    session_steps: tuple[int, ...]
    provider_options: dict[str, str]
    foreign: dict[str, str]
    copies: float
    placed: Placement
    model_folder: Path


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


def profiled_runs(traces: Sequence[Path], warmup: Sequence[int]) -> Iterator[StepRun]:
    """The counted runs of some traces, without the first ``warmup`` runs of each."""
    for path, skipped in zip(traces, warmup, strict=True):
        yield from itertools.islice(read_runs(read_events(path)), skipped, None)


def _device_times(
    traces: Sequence[Path], warmup: int, recordings: Sequence[Recording], settings: SessionSettings
) -> DeviceTimes:
    runs = [list(profiled_runs([trace], [warmup])) for trace in traces]
    return device_times(runs, recordings, PROVIDERS[settings.ep].full_name)


def foreign_nodes(times: StepTimes, settings: SessionSettings) -> dict[str, str]:
    """Executed name to provider, for the nodes that did not run where they were asked to."""
    wanted = PROVIDERS[settings.ep].full_name
    return {name: ran_on for name, ran_on in zip(times.names, times.providers, strict=True) if ran_on != wanted}


def measure(
    prepared: Prepared,
    settings: SessionSettings,
    batches: Sequence[Mapping[str, Array]],
    folder: Path,
    *,
    warmup: int = 3,
    steps: int = 10,
    progress: Progress | None = None,
) -> Measurement:
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
        RunError: onnxruntime fails, nodes ran on another provider than the one asked for, or the trace is broken.
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
    recorded = None
    if recorder is not None:
        provider = PROVIDERS[settings.ep].full_name
        recorded = recorded_steps(
            recorder, lambda after: _steps(stepper, batches, 0, steps, "record", report, after), provider
        )
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
        target = folder / f"trace{number}.json.gz"
        _compress(ended.trace, target)
        traces.append(target)
        if ended.recording is not None:
            recordings.append(ended.recording)
            write_recording(folder / f"device{number}.jsonl.gz", ended.recording)
    times = step_times(profiled_runs(traces, [warmup] * len(traces)))
    if len(times.run_us) != steps:
        raise RunError(f"the traces hold {len(times.run_us)} of {steps} profiled steps", "profile again")
    foreign = foreign_nodes(times, settings)
    placed = placement(times, optimized, settings.ep, traces[0])
    if not settings.allow_fallback:
        refuse_compute(placed.elsewhere, settings.ep)
    device = _device_times(traces, warmup, recordings, settings) if recordings else None
    if device is not None:  # shares and copies are then of the device's time
        times = device.times
        placed = placement(times, optimized, settings.ep, traces[0])
    copied = [int(times.calls[:, i].sum()) for i, kind in enumerate(times.op_types) if kind in MEMCPY]
    return Measurement(
        optimized=optimized,
        times=times,
        node_times="device" if device else host_node_times(settings),
        device=device,
        recorded=recorded,
        control_us=tuple(control),
        step_us=tuple(walls),
        traces=tuple(traces),
        warmup=warmup,
        session_steps=tuple(counted),
        provider_options={str(k): str(v) for k, v in options.items()},
        foreign=foreign,
        copies=sum(copied) / steps,
        placed=placed,
        model_folder=work,
    )
