"""Profile a workload's step in its framework, without onnxruntime: same model, values and batches as the graph's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fathom_onnx.analysis.runs.compiled import SCHEMA as COMPILED_SCHEMA
from fathom_onnx.analysis.runs.compiled import CompiledRun
from fathom_onnx.analysis.runs.native_run import NativeRun, build_native_run
from fathom_onnx.graph.files import check_replaceable, ensure_folder
from fathom_onnx.runtime.environment import cpu_cores, process_facts
from fathom_onnx.runtime.speed.gauge import Gauge
from fathom_onnx.workloads.contract import Array, Mode, NoiseSource, Workload

from .data import DISTINCT_BATCHES, batches_for, usual_source
from .errors import ExportError, UsageError
from .native import NativeProfiler, NativeRequest, Progress, find_native

__all__ = ["profile_compiled", "profile_native"]


def profile_native(
    workload: Workload,
    framework: str,
    mode: Mode = "training",
    *,
    threads: int | None = None,
    warmup: int = 3,
    steps: int = 10,
    seed: int = 0,
    noise: NoiseSource = "graph",
    folder: Path | None = None,
    kept: Path | None = None,
    progress: Progress | None = None,
) -> NativeRun:
    """Profile a workload's step by the framework's own profiler.

    Args:
        workload: The workload.
        framework: One with a native profiler: ``torch``, ``tensorflow`` or ``jax``.
        mode: ``inference``, or ``training``: forward, loss, the framework's own backward pass, the optimizer.
        threads: Threads inside an operator; all the cores this process may use when not given.
        warmup: Steps to run and not to count, before each series.
        steps: Steps to count, with the profiler and without.
        seed: Seed of the starting values and of the data.
        noise: ``input`` gives random tensors with the batch, so that a step can be compared with another's.
        folder: Folder to write: manifest, table of operations, samples, summary.
        kept: Folder where the framework may keep what it makes of this very step before it runs; see
            :class:`~fathom_onnx.native.NativeRequest`.
        progress: Called with what is being done, how much of it is done, and how much there is.

    Raises:
        UsageError: A setting that cannot work; the workload lacks the mode; TensorFlow's threads were set to another
            number in this process.
        UnknownNameError: No native profiler of this framework.
        MissingDependencyError: The framework is not installed.
        ExportError: The framework has no model of the workload.
        DataError: The workload's data source cannot feed it.
        RunError: The trace cannot be trusted.
        OutputError: The folder cannot be written, or holds something else.
    """
    profiler, request = _prepared(workload, framework, mode, threads, warmup, steps, seed, noise)
    request = replace(request, kept=kept)
    if folder is not None:
        check_replaceable(folder, ("manifest.json", "ops.csv"), "the folder of a native run")
        ensure_folder(folder)
    gauge = Gauge()
    measured = profiler.measure(request, gauge.around(progress))
    run = build_native_run(measured, {**_manifest(profiler, request, measured.first), "gauge": gauge.facts()})
    if folder is not None:
        run.save(folder)
    return run


def prepare_native(
    workload: Workload,
    framework: str,
    mode: Mode = "training",
    *,
    kept: Path,
    threads: int | None = None,
    warmup: int = 3,
    steps: int = 10,
    seed: int = 0,
) -> None:
    """Make what a folder keeps of a step for :func:`profile_native` with the same arguments, and run nothing.

    Frameworks that keep nothing, or make it quickly, leave that to the first profile.

    Raises:
        FathomError: As for :func:`profile_native`.
    """
    profiler, request = _prepared(workload, framework, mode, threads, warmup, steps, seed, "graph")
    if hasattr(profiler, "prepare"):
        profiler.prepare(replace(request, kept=kept))


def profile_compiled(
    workload: Workload,
    framework: str,
    mode: Mode = "training",
    *,
    threads: int | None = None,
    warmup: int = 3,
    steps: int = 10,
    seed: int = 0,
    noise: NoiseSource = "graph",
    folder: Path | None = None,
    progress: Progress | None = None,
) -> CompiledRun:
    """Time a workload's step as the framework's own compiler makes it, ``torch.compile`` or XLA.

    Arguments and errors are those of :func:`profile_native`; the folder takes one file.

    Raises:
        UsageError: The framework's profiler knows no compiler.
        RunError: The framework could not compile the step.
    """
    profiler, request = _prepared(workload, framework, mode, threads, warmup, steps, seed, noise)
    if folder is not None:
        check_replaceable(folder, ("compiled.json",), "the folder of a compiled run")
        ensure_folder(folder)
    if not hasattr(profiler, "compiled"):
        raise UsageError(f"{framework} has no compiler that this profiler knows", "leave --compiled out")
    gauge = Gauge()
    measured = profiler.compiled(request, gauge.around(progress))
    facts = {
        "schema": COMPILED_SCHEMA,
        **_manifest(profiler, request, measured.first),
        "compiler": measured.compiler,
        "first_us": measured.first_us,
        "step_us": list(measured.step_us),
        "unknown": measured.unknown,
        "gauge": gauge.facts(),
    }
    run = CompiledRun(facts, measured.kernels)
    if folder is not None:
        run.save(folder)
    return run


def _prepared(
    workload: Workload,
    framework: str,
    mode: Mode,
    threads: int | None,
    warmup: int,
    steps: int,
    seed: int,
    noise: NoiseSource,
) -> tuple[NativeProfiler, NativeRequest]:
    """The framework's profiler, and what it is to run."""
    if steps < 1 or warmup < 0 or (threads is not None and threads < 1):
        raise UsageError(
            f"cannot profile {steps} steps after {warmup} on {threads or 'all'} threads",
            "give 1 or more steps and threads, and 0 or more steps of warm-up",
        )
    profiler = find_native(framework)
    if workload.name not in profiler.workloads():
        raise ExportError(
            f"workload '{workload.name}' has no model in {framework}",
            f"add one by the entry-point group 'fathom_onnx.models.{framework}'",
        )
    workload.check_mode(mode)
    drawn = itertools.islice(batches_for(workload, mode, seed, noise=noise), min(DISTINCT_BATCHES, warmup + steps))
    request = NativeRequest(
        workload=workload,
        mode=mode,
        batches=list(drawn),
        noise=noise,
        threads=cpu_cores() if threads is None else threads,
        warmup=warmup,
        steps=steps,
        seed=seed,
    )
    return profiler, request


def _manifest(profiler: NativeProfiler, request: NativeRequest, first: Mapping[str, Array]) -> dict[str, Any]:
    workload = request.workload
    source = usual_source(workload.data)
    return {
        "workload": workload.name,
        "mode": request.mode,
        "preset": workload.preset,
        "config": asdict(workload.config),
        "framework": profiler.framework,
        "framework_version": profiler.version(),
        "data": {"source": source.name, "kind": source.kind, "description": source.description},
        "noise": request.noise,
        "threads": request.threads,
        "warmup": request.warmup,
        "steps": request.steps,
        "seed": request.seed,
        "first_loss": _loss(first),
        **process_facts(),
    }


def _loss(first: Mapping[str, Array]) -> float | None:
    """The loss of the first step, None in inference."""
    return float(first[Workload.LOSS]) if Workload.LOSS in first else None
