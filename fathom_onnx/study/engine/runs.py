"""The runs of a study: a graph under onnxruntime's profiler, a step under the framework's own, both read back."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fathom_onnx.runtime.speed.gauge import gauge_summary
from fathom_onnx.study.cells.plan import Job
from fathom_onnx.study.cells.results import FinishedRun, StageResult

from .inputs import native_inputs
from .store import key

if TYPE_CHECKING:
    from fathom_onnx.analysis.runs.compiled import CompiledRun
    from fathom_onnx.analysis.runs.native_run import NativeRun
    from fathom_onnx.profiling import FedGraph

__all__ = [
    "ATTEMPTS",
    "PREPARED",
    "compile_native_step",
    "compiled_run_exists",
    "explain_cell",
    "is_prepared",
    "measure_cell",
    "measure_steadily",
    "native_imports",
    "pool_rounds",
    "prepare_native_step",
    "profile_imports",
    "profile_native_step",
    "read_compiled_run",
    "read_native_run",
    "read_run",
    "round_exists",
    "run_exists",
]


_PROGRAMS = "programs"
"""Folder, in that of the study, for what frameworks keep between rounds."""

PREPARED = frozenset({"jax"})
"""Frameworks whose steps are compiled before anything is measured, two at a time: XLA takes minutes for all of them."""

ATTEMPTS = 3
"""How often a run is measured at most where the machine changes its speed meanwhile."""


def measure_steadily(job: Job, measure: Callable[[], Mapping[str, Any]]) -> StageResult:
    """Measure a run again, :data:`ATTEMPTS` times at most, until the machine keeps its speed; the last one stays.

    Args:
        job: The job.
        measure: Measures the run into the job's folder, in place of an earlier one, and returns its manifest.

    Returns:
        ``folder``, ``attempts``, and the ``gauge``'s spread and whether it is steady.
    """
    attempts, gauge = 0, None
    while attempts < ATTEMPTS:
        attempts += 1
        gauge = gauge_summary(measure())
        if gauge is None or gauge["steady"] is not False:
            break
    return {"folder": job.output.relative_to(job.folder).as_posix(), "attempts": attempts, "gauge": gauge}


def measure_cell(job: Job) -> StageResult:
    """Measure a round of a cell's graph into a folder, again where the machine changes speed."""
    from fathom_onnx.profiling import measure_round

    fed, options = _fed(job), job.options

    def measure() -> Mapping[str, Any]:
        return measure_round(fed, options.session, job.output, warmup=options.warmup, steps=options.steps)

    return measure_steadily(job, measure)


def explain_cell(job: Job) -> StageResult:
    """Make one run of the rounds of a job, into a run folder; the rounds stay as they are."""
    from fathom_onnx.profiling import explain_rounds

    explain_rounds(_fed(job), job.options.session, [job.folder / folder for folder in job.rounds], job.output)
    return {"folder": job.output.relative_to(job.folder).as_posix()}


def _fed(job: Job) -> FedGraph:
    """A cell's graph and what it is fed."""
    from fathom_onnx.data import load_with_inputs
    from fathom_onnx.graph import load_exported
    from fathom_onnx.profiling import FedGraph

    options, count = job.options, job.options.warmup + job.options.steps
    if job.source is None and not options.inputs:
        return FedGraph(load_exported(job.graph()), options.seed, count, values=job.values)
    graph, feeds = load_with_inputs(job.graph(), dict(options.dimensions), [Path(name) for name in options.inputs])
    return FedGraph(graph, options.seed, count, feeds, job.values)


def profile_imports(job: Job) -> tuple[str, Callable[[], object]] | None:
    """What a run of a graph imports: onnxruntime, whose threads start with a session, and what statistics take.

    Nothing for a device, whose libraries do not bear being copied.
    """
    return ("onnxruntime", _import_for_profiles) if job.options.ep == "cpu" else None


def _import_for_profiles() -> None:
    for name in ("onnxruntime", "scipy.stats", "fathom_onnx.profiling", "fathom_onnx.data"):
        importlib.import_module(name)


def native_imports(job: Job) -> tuple[str, Callable[[], object]]:
    """What a run in a framework imports: the framework, whose threads start with the first operation."""
    return job.cell.framework, partial(_import_framework, job)


def _import_framework(job: Job) -> None:
    from fathom_onnx.native import find_native

    importlib.import_module("fathom_onnx.native_profiling")
    find_native(job.cell.framework)
    _kept(job)  # reads sources, whose hashes copies of this process then have


def read_run(folder: Path, result: StageResult) -> FinishedRun:
    """Summary, manifest and op mix of a run; no op mix of a graph of another origin, which is no workload's."""
    from fathom_onnx.analysis.runs.run import Run
    from fathom_onnx.analysis.similarity.op_mix import run_op_mix

    run = Run.load(folder / result["folder"])
    mix = run_op_mix(run) if run.manifest.get("workload") else None
    return FinishedRun(run.summary(), run.manifest, mix, run.crossed("layer", "phase"), run.crossed("layer", "op"))


def _measure_in_framework(job: Job, profile: Callable[..., NativeRun | CompiledRun]) -> StageResult:
    """Measure a cell's step in its framework by a function of :mod:`fathom_onnx.native_profiling`, again if need be."""
    options, cell = job.options, job.cell

    def measure() -> Mapping[str, Any]:
        run = profile(
            job.workload,
            cell.framework,
            cell.mode,
            threads=options.threads,
            warmup=options.warmup,
            steps=options.steps,
            seed=options.seed,
            folder=job.output,
        )
        return run.manifest

    return measure_steadily(job, measure)


def profile_native_step(job: Job) -> StageResult:
    """Have the framework itself run a cell's step under its own profiler, into a run folder, again if need be."""
    from fathom_onnx.native_profiling import profile_native

    return _measure_in_framework(job, partial(profile_native, kept=_kept(job)))


def prepare_native_step(job: Job) -> StageResult:
    """Have the framework compile a cell's step for the processes that measure it."""
    from fathom_onnx.native_profiling import prepare_native

    options, cell, folder = job.options, job.cell, _kept(job)
    prepare_native(
        job.workload,
        cell.framework,
        cell.mode,
        kept=folder,
        threads=options.threads,
        warmup=options.warmup,
        steps=options.steps,
        seed=options.seed,
    )
    return {"kept": folder.relative_to(job.folder).as_posix()}


def is_prepared(job: Job, result: StageResult) -> bool:
    """Whether what a stored result names is still kept."""
    return (job.folder / str(result.get("kept", ""))).is_dir()


def _kept(job: Job) -> Path:
    """The folder for what a framework makes of a step before it is run, which may take longer than to measure it."""
    return job.folder / _PROGRAMS / key(native_inputs(job))


def read_native_run(folder: Path, result: StageResult) -> FinishedRun:
    """Summary, manifest and op mix of a framework's own run."""
    from fathom_onnx.analysis.runs.native_run import NativeRun
    from fathom_onnx.analysis.similarity.op_mix import native_op_mix

    run = NativeRun.load(folder / result["folder"])
    return FinishedRun(
        run.summary(), run.manifest, native_op_mix(run), run.crossed("layer", "phase"), run.crossed("layer", "op")
    )


def compile_native_step(job: Job) -> StageResult:
    """Have the framework's own compiler make a cell's step and time it, into a folder, again if need be."""
    from fathom_onnx.native_profiling import profile_compiled

    return _measure_in_framework(job, profile_compiled)


def read_compiled_run(folder: Path, result: StageResult) -> FinishedRun:
    """Summary and manifest of a compiled run, which has no op mix."""
    from fathom_onnx.analysis.runs.compiled import CompiledRun

    run = CompiledRun.load(folder / result["folder"])
    return FinishedRun(run.summary(), run.manifest, None)


def compiled_run_exists(job: Job, result: StageResult) -> bool:
    """Whether the folder of a compiled run that a stored result names still exists."""
    return (job.folder / str(result.get("folder", "")) / "compiled.json").is_file()


def pool_rounds(job: Job) -> StageResult:
    """Make one run of the rounds of a step in its framework, into a folder; the rounds stay as they are."""
    from fathom_onnx.analysis.runs.native_run import NativeRun
    from fathom_onnx.analysis.runs.pooled import pool_native_runs
    from fathom_onnx.profiling import run_output

    with run_output(job.output) as place:
        pool_native_runs([NativeRun.load(job.folder / folder) for folder in job.rounds]).save(place)
    return {"folder": job.output.relative_to(job.folder).as_posix()}


def run_exists(job: Job, result: StageResult) -> bool:
    """Whether the run folder that a stored result names still exists."""
    return (job.folder / str(result.get("folder", "")) / "manifest.json").is_file()


def round_exists(job: Job, result: StageResult) -> bool:
    """Whether the folder of a round that a stored result names still exists."""
    return (job.folder / str(result.get("folder", "")) / "round.json").is_file()
