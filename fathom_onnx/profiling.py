"""Profile a graph: run it, find out what each executed node stands for, and keep it all in a run folder."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fathom_onnx.analysis.attribution.attribution import Attribution, Matching
from fathom_onnx.analysis.runs.control_flow import control_facts
from fathom_onnx.analysis.runs.kernels import device_facts
from fathom_onnx.analysis.runs.memory_use import memory_facts
from fathom_onnx.analysis.runs.run import Run, build_run
from fathom_onnx.analysis.runs.steps import count_steps
from fathom_onnx.analysis.runs.timeline import timeline_lines
from fathom_onnx.graph.files import check_replaceable, ensure_folder, publish, seal
from fathom_onnx.graph.tensors import tensors_of
from fathom_onnx.runtime.devices.times import DeviceTimes
from fathom_onnx.runtime.environment import cpu_cores, environment, graph_facts
from fathom_onnx.runtime.fingerprint import fingerprints, perturbed
from fathom_onnx.runtime.optimized import STRUCTURE, executed_name, write_structure
from fathom_onnx.runtime.prepare import Prepared, prepare
from fathom_onnx.runtime.profiler import Measurement, Progress, measure, profiled_runs
from fathom_onnx.runtime.settings import DEFAULT_SETTINGS, Optimization, SessionSettings
from fathom_onnx.runtime.speed.gauge import Gauge
from fathom_onnx.runtime.traces.memory import traced_memory
from fathom_onnx.runtime.traces.shapes import read_shapes
from fathom_onnx.runtime.traces.steps import StepTimes
from fathom_onnx.runtime.value_files import ValueFile
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.workloads.contract import Array

from .data import Feeds, run_batches
from .dynamic_sizes import dynamic_facts
from .errors import OutputError, StepError, UsageError, one_line
from .graph import Graph, Tensor

MOST_BLAMED = 4
"""Drawn inputs that are told, at most, when a step fails."""

__all__ = ["explain", "profile", "profile_graph", "run_output"]


def profile(
    graph: Graph,
    *,
    ep: str = "cpu",
    threads: int | None = None,
    warmup: int = 3,
    steps: int = 10,
    optimization: Optimization = "all",
    seed: int = 0,
    feeds: Feeds | None = None,
    allow_fallback: bool = False,
    tf32: bool = False,
    serialize: bool = False,
    custom_ops: Sequence[Path] = (),
    keep_dynamic: bool = False,
    folder: Path | None = None,
    progress: Progress | None = None,
    values: Path | None = None,
) -> Run:
    """Profile a graph and attribute every microsecond of its node time.

    Args:
        graph: One of our graphs, or any other.
        ep: Execution provider, ``cpu`` or ``cuda``.
        threads: Threads inside an operator; all the cores this process may use when not given.
        warmup: Steps to run and not to count.
        steps: Steps to run after these, with the profiler and without; steps that are still warm-up are dropped.
        optimization: onnxruntime's graph optimization level.
        seed: Seed of the starting values and of the data.
        feeds: A batch, or several to take in turn; inputs that they leave out are drawn. From the graph's data source
            when not given. Of files: :func:`fathom_onnx.data.read_inputs`.
        allow_fallback: Whether nodes may run on the CPU when another provider was asked for; without it only the
            arithmetic of shapes may.
        tf32: Whether CUDA may multiply in TensorFloat-32.
        serialize: Whether each launch waits for its kernel: host times, for where a device cannot be recorded.
        custom_ops: Libraries of operators of someone's own.
        keep_dynamic: Whether dimensions that the file leaves open stay open, though they were given a size to feed.
            With fixed sizes onnxruntime may fold and fuse more; the manifest says what.
        folder: Run folder to write: tables, manifest, the raw trace compressed, a timeline. It appears whole or not at
            all, and replaces an older run folder.
        progress: Called with what is being done, how much of it is done, and how much there is.
        values: File that the variables take their values from where it has them: a checkpoint of a training run.

    Raises:
        UsageError: A setting that cannot work.
        GraphError: The graph cannot be run as it is.
        DataError: The graph cannot be fed.
        MissingDependencyError: onnxruntime, the provider or what records its device is absent.
        RunError: onnxruntime fails, or the trace cannot be trusted.
        OutputError: The run folder cannot be written.
    """
    settings = SessionSettings(
        ep,
        cpu_cores() if threads is None else threads,
        optimization,
        allow_fallback,
        tf32,
        serialize,
        tuple(custom_ops),
    )
    return profile_graph(
        graph,
        settings,
        warmup=warmup,
        steps=steps,
        seed=seed,
        feeds=feeds,
        keep_dynamic=keep_dynamic,
        folder=folder,
        progress=progress,
        values=values,
    )


def _start(graph: Graph, seed: int, values: Path | None) -> dict[str, Array]:
    """Starting values of the variables, from a file where one is given."""
    start = variable_values(graph, seed)
    if values is None:
        return start
    held = graph.metadata
    if held is None or not held.variables:
        raise UsageError(f"graph '{graph.name}' has no variables to give values to", "leave out --values")
    file = ValueFile(values, [v for v in held.variables if v.name in held.parameters])
    return {**start, **{v.name: file.read(v) for v in held.variables if v.name in file.names}}


def profile_graph(
    graph: Graph,
    settings: SessionSettings,
    *,
    warmup: int = 3,
    steps: int = 10,
    seed: int = 0,
    feeds: Feeds | None = None,
    keep_dynamic: bool = False,
    folder: Path | None = None,
    progress: Progress | None = None,
    values: Path | None = None,
) -> Run:
    """Profile a graph under the settings of a session; for arguments and errors see :func:`profile`."""
    if steps < 1 or warmup < 0:
        raise UsageError(f"cannot profile {steps} steps after {warmup}", "give 1 or more steps and 0 or more warm-up")
    batches, data = run_batches(graph, feeds, seed, warmup + steps)
    prepared = prepare(graph, _start(graph, seed, values), seed, keep_dynamic=keep_dynamic)
    gauge = Gauge()
    with run_output(folder) as place, _blamed_on(data):
        measured = measure(
            prepared, settings, batches, place, warmup=warmup, steps=steps, progress=gauge.around(progress)
        )
        attribution = explain(graph, prepared, measured, batches[0], settings)
        if folder is not None:
            write_structure(measured.optimized, measured.model_folder, place / STRUCTURE)
        shutil.rmtree(measured.model_folder)
        counted = count_steps(
            measured.times, measured.step_us, measured.control_us, measured.session_steps, measured.warmup
        )
        device = measured.device.without(counted.dropped) if measured.device else None
        manifest = {
            **_manifest(graph, settings, seed, data, measured),
            "values": str(values) if values else None,
            **counted.facts(),
            "gauge": gauge.facts(),
            "device_time": device_facts(device, measured.recorded, counted.control_us)
            if device and measured.recorded
            else None,
            **_absences(attribution, counted.times),
            "dynamic": dynamic_facts(graph, prepared, measured.optimized, settings, kept=keep_dynamic),
            "control_flow": control_facts(attribution, counted.times),
            "memory": memory_facts(
                graph, measured.optimized, attribution, counted.times.names, traced_memory(measured.traces[0])
            ),
        }
        shapes = read_shapes(measured.traces, counted.skipped)
        run = build_run(
            attribution, counted.times, counted.step_us, manifest, graph, device, measured.optimized, shapes
        )
        if folder is not None:
            run.save(place)
            _write_timeline(place / "timeline.json.gz", measured.traces, counted.skipped, attribution, device)
    return run


def explain(
    graph: Graph,
    prepared: Prepared,
    measured: Measurement,
    batch: Mapping[str, Any],
    settings: SessionSettings = DEFAULT_SETTINGS,
) -> Attribution:
    """Attribute the executed nodes of a measured graph; values are compared only where names leave a question.

    Args:
        graph: The graph.
        prepared: The graph as it was run.
        measured: What was measured, its model folder still there.
        batch: Values of every input that is not state.
        settings: How it ran: the values are computed on the same provider.

    Raises:
        RunError: onnxruntime cannot run the graph again to compare values.
    """
    matching = Matching(graph, measured.optimized)
    if not matching.questions:
        return matching.attribution()
    feeds = {**batch, **perturbed(prepared.initial)}
    executed_values = fingerprints(
        measured.optimized,
        _names_of(q.executed for q in matching.questions),
        feeds,
        sizes=_sizes(tensors_of(measured.optimized.graph)),
        folder=measured.model_folder,
        ep=settings.ep,
        custom_ops=settings.custom_ops,
    )
    original_values = fingerprints(
        prepared.model,
        _names_of(q.original for q in matching.questions),
        feeds,
        values=prepared.values,
        sizes=_sizes(graph.tensors),
        folder=prepared.folder,
        ep=settings.ep,
        custom_ops=settings.custom_ops,
    )
    return matching.attribution(original_values, executed_values)


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    return {name: t.size_bytes for name, t in tensors.items() if t.size_bytes is not None}


def _names_of(tables: Iterable[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table))


def _manifest(
    graph: Graph, settings: SessionSettings, seed: int, data: dict[str, Any], measured: Measurement
) -> dict[str, Any]:
    return {
        **graph_facts(graph),
        **environment(settings, seed, dict(measured.provider_options)),
        "custom_ops": [library.name for library in settings.custom_ops],
        "node_times": measured.node_times,
        "data": data,
        "warmup": measured.warmup,
        "steps_asked": len(measured.step_us),
        "sessions": len(measured.traces),
        "optimized_nodes": len(measured.optimized.graph.node),
        "nodes_elsewhere": len(measured.foreign),
        "device_copies_per_step": measured.copies,
        **measured.placed.facts(),
    }


def _absences(attribution: Attribution, times: StepTimes) -> dict[str, Any]:
    """Nodes of the optimized model that no counted step ran: they are in branches that were not taken."""
    ran = set(times.names)
    absent = [e for e in attribution.executed if executed_name(e.index) not in ran]
    return {"nodes_never_ran": [e.node.name or f"{e.node.op_type}#{e.index}" for e in absent]}


def _write_timeline(
    path: Path,
    traces: Sequence[Path],
    skipped: Sequence[int],
    attribution: Attribution,
    device: DeviceTimes | None,
) -> None:
    steps = profiled_runs(traces, skipped)
    with gzip.open(path, "wb", compresslevel=3) as file:
        file.writelines(timeline_lines(steps, attribution, device))


@contextlib.contextmanager
def _blamed_on(data: dict[str, Any]) -> Iterator[None]:
    """What onnxruntime says of a step that failed, with how the inputs were drawn that the graph may not take so.

    Values of floating-point inputs are no cause of a failure, unless they are used as whole numbers.
    """
    try:
        yield
    except StepError as error:
        plain = "drawn from a normal distribution"
        drawn = [f"{name} {said}" for name, said in data["inputs"].items() if "drawn" in said and plain not in said]
        if not drawn or "memory" in error.fix:  # which no other values would save
            raise
        shown = "; ".join(drawn[:MOST_BLAMED]) + (f"; and {len(drawn) - MOST_BLAMED} more" * (len(drawn) > MOST_BLAMED))
        raise StepError(f"{error.message}, fed with {shown}", "give real values with --inputs FILE.npz") from error


@contextlib.contextmanager
def run_output(folder: Path | None) -> Iterator[Path]:
    """A temporary folder that becomes the run folder ``folder`` on success and is removed on failure.

    Raises:
        OutputError: ``folder`` cannot be written, or holds something else than a run.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="fathom-onnx-") as temporary:
            yield Path(temporary)
        return
    check_replaceable(folder, ("manifest.json", "nodes.csv"), "a run folder")
    ensure_folder(folder.parent)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield aside
        seal(aside, [path.name for path in aside.iterdir()])
        publish(aside, 0o777)
        old = None
        if folder.exists():
            old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
            folder.rename(old / "run")
        try:
            aside.rename(folder)
        except OSError:
            if old is not None:
                (old / "run").rename(folder)
            raise
        finally:
            if old is not None:
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"cannot write run folder '{folder}' ({one_line(error)})", "choose another with -o"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
