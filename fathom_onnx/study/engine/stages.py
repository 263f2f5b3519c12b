"""The stages of a study or a sweep: what each does to a cell, what its result depends on, and in which process it runs.

Each stage's work is a module-level function from a :class:`Job` to a dict that JSON can hold; it runs in another
process and imports what it needs there. A table of stages can be put in place of :data:`STAGES`, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fathom_onnx.study.cells.plan import Job
from fathom_onnx.study.cells.results import Reading

from .ceilings import are_ceilings, ceilings_cell
from .graphs import checked_graph_is_there, compare_cells, export_cell, export_checked, graph_is_there, verify_cell
from .inputs import ceilings_inputs, export_inputs, native_inputs, profile_inputs, structure_inputs, verify_inputs

__all__ = [
    "STAGES",
    "Stage",
    "Stages",
    "native_cell",
    "profile_cell",
    "read_native",
    "read_run",
    "structure_cell",
]

Result = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: Its name, in events and file names.
        work: What it does; the result must be JSON.
        inputs: Everything its result depends on.
        complete: Whether what a stored result points to is still there.
    """

    name: str
    work: Callable[[Job], Result]
    inputs: Callable[[Job], Mapping[str, Any]]
    complete: Callable[[Job, Result], bool] = lambda job, result: True


@dataclass(frozen=True)
class Stages:
    """The stages, in the order in which they are done.

    Attributes:
        export: Makes the graph file of a cell.
        draws: Makes a second graph of a cell whose step draws random tensors, which takes them as inputs and can be
            checked, or None.
        verify: Checks a cell's graph against its framework, or None. Its result is ``{"checks": [{"name", "passed",
            "detail"}, ...]}``.
        compare: Checks the graphs of one workload and mode from several frameworks against each other, or None; its
            result is as that of ``verify``.
        structure: Sums up the modelled cost of a cell's graph, which is not run, or None.
        profile: Runs a cell's graph.
        read: What a finished run says, from the folder and the profile stage's result.
        native: Has the framework itself run a cell's step, or None.
        read_native: What such a run says, as ``read``.
        ceilings: Measures what the machine can do with a job's provider and threads, or None.
    """

    export: Stage
    verify: Stage | None
    compare: Stage | None
    structure: Stage | None
    profile: Stage
    read: Callable[[Path, Result], Reading]
    native: Stage | None = None
    read_native: Callable[[Path, Result], Reading] | None = None
    draws: Stage | None = None
    ceilings: Stage | None = None


# structure


def structure_cell(job: Job) -> Result:
    """Modelled cost of a cell's graph by op."""
    from fathom_onnx.analysis.similarity.op_mix import structure
    from fathom_onnx.graph import load

    return structure(load(job.graph()))


# profile


def profile_cell(job: Job) -> Result:
    """Run a cell's graph under the profiler, into a run folder."""
    from fathom_onnx.graph import load
    from fathom_onnx.profiling import profile

    options = job.options
    profile(
        load(job.graph()),
        ep=options.ep,
        tf32=options.tf32,
        serialize=options.serialize,
        threads=options.threads,
        optimization=options.optimization,
        warmup=options.warmup,
        steps=options.steps,
        seed=options.seed,
        folder=job.output,
    )
    return {"folder": job.output.relative_to(job.folder).as_posix()}


def read_run(folder: Path, result: Result) -> Reading:
    """Summary, manifest and step profile of a run."""
    from fathom_onnx.analysis.runs.run import Run
    from fathom_onnx.analysis.similarity.op_mix import run_profile

    run = Run.load(folder / result["folder"])
    return Reading(run.summary(), run.manifest, run_profile(run))


def _run_is_there(job: Job, result: Result) -> bool:
    return (job.folder / str(result.get("folder", "")) / "manifest.json").is_file()


# native


def native_cell(job: Job) -> Result:
    """Have the framework itself run a cell's step under its own profiler."""
    from fathom_onnx.native_profiling import profile_native

    o, cell = job.options, job.cell
    measured: dict[str, Any] = {"threads": o.threads, "warmup": o.warmup, "steps": o.steps, "seed": o.seed}
    profile_native(job.workload, cell.framework, cell.mode, folder=job.output, **measured)
    return {"folder": job.output.relative_to(job.folder).as_posix()}


def read_native(folder: Path, result: Result) -> Reading:
    """Summary, manifest and step profile of a framework's own run."""
    from fathom_onnx.analysis.runs.native_run import NativeRun
    from fathom_onnx.analysis.similarity.op_mix import native_profile

    run = NativeRun.load(folder / result["folder"])
    return Reading(run.summary(), run.manifest, native_profile(run))


STAGES = Stages(
    export=Stage("export", export_cell, export_inputs, graph_is_there),
    draws=Stage("export-noise", export_checked, export_inputs, checked_graph_is_there),
    verify=Stage("verify", verify_cell, verify_inputs),
    compare=Stage("compare", compare_cells, verify_inputs),
    structure=Stage("structure", structure_cell, structure_inputs),
    profile=Stage("profile", profile_cell, profile_inputs, _run_is_there),
    read=read_run,
    native=Stage("native", native_cell, native_inputs, _run_is_there),
    read_native=read_native,
    ceilings=Stage("ceilings", ceilings_cell, ceilings_inputs, are_ceilings),
)
"""The stages of an ordinary study; a sweep leaves out verification, structure and the frameworks' own runs."""
