"""The stages of a study or a sweep: what each does to a cell, what its result depends on, and in which process it runs.

Each stage's work is a module-level function from a :class:`Job` to a dict that JSON can hold; it runs in another
process and imports what it needs there. A table of stages can be put in place of :data:`STAGES`, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..exporting import ExportRequest, export_file
from .machine import are_ceilings, ceilings_cell, ceilings_inputs
from .plan import Job
from .providers import device_inputs
from .store import exporter_facts, sha256, source_hash, version_of

if TYPE_CHECKING:
    from ..analysis.profiles import StepProfile
    from ..verification import Check

__all__ = [
    "STAGES",
    "Reading",
    "Stage",
    "Stages",
    "compare_cells",
    "export_cell",
    "native_cell",
    "profile_cell",
    "read_native",
    "read_run",
    "structure_cell",
    "verify_cell",
]

Result = dict[str, Any]

_EXPORT_SOURCES = ("graph", "workloads", "vocabulary.py", "exporting.py")
_STRUCTURE_SOURCES = ("graph", "vocabulary.py", "analysis")
_SHOWING = (
    *("__init__.py", "__main__.py", "api.py", "cli", "compat", "convert", "native.py", "native_profiling.py", "study"),
    *("analysis/claims.py", "analysis/clusters.py", "analysis/comparison.py", "analysis/distances.py"),
    *("analysis/drawing.py", "analysis/evidence.py", "analysis/figures.py", "analysis/findings.py"),
    *("analysis/inspect.py", "analysis/mix_judgements.py", "analysis/model_explorer.py", "analysis/native_run.py"),
    *("analysis/netron.py", "analysis/overlays.py", "analysis/paper.py", "analysis/paper_figures.py"),
    *("analysis/placement.py", "analysis/profiles.py", "analysis/report.py", "analysis/report_parts.py"),
    *("analysis/resampling.py", "analysis/roofline.py", "analysis/roofline_figure.py", "analysis/run_facts.py"),
    *("analysis/significance.py", "analysis/similarity.py", "analysis/time_judgements.py", "analysis/verdicts.py"),
    *("analysis/provider_comparison.py", "analysis/provider_figures.py", "analysis/workload_figures.py"),
    *("runtime/ceilings.py", "runtime/usable.py"),
)
"""What only shows results, or orders the work: a change there makes no result wrong."""


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


class Reading(NamedTuple):
    """A finished run as it is read back: summary, manifest, and what it spent by op in every step."""

    summary: dict[str, Any]
    manifest: dict[str, Any]
    spent: StepProfile


@dataclass(frozen=True)
class Stages:
    """The stages, in the order in which they are done.

    Attributes:
        export: Makes the graph file of a cell.
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
    ceilings: Stage | None = None


def _onnxruntime() -> dict[str, str]:
    return {name: found for name in ("onnxruntime", "onnxruntime-gpu") if (found := version_of(name))}


# export


def export_cell(job: Job) -> Result:
    """Write the graph file of a cell."""
    request = ExportRequest(job.workload, job.cell.mode, lowering=job.options.lowering)
    made = export_file(job.cell.framework, request, job.graph())
    return {
        "path": made.path.relative_to(job.folder).as_posix(),
        "sha256": sha256(made.path),
        "nodes": made.nodes,
        "size_bytes": made.size_bytes,
        "seconds": made.seconds,
    }


def _export_inputs(job: Job) -> dict[str, Any]:
    return {
        "workload": job.cell.workload,
        "mode": job.cell.mode,
        "framework": job.cell.framework,
        "preset": job.options.preset,
        "config": asdict(job.workload.config),
        "lowering": job.options.lowering,
        "package": version_of("fathom-onnx"),
        "sources": source_hash(_EXPORT_SOURCES),
        **exporter_facts(job.cell.framework),
    }


def _graph_is_there(job: Job, result: Result) -> bool:
    return bool(sha256(job.graph()) == result.get("sha256"))


# verify and compare


def _row(check: Check) -> Result:
    """A check as the report shows it, with all of its numbers beside it."""
    parts = [f"{check.steps} steps"]
    if check.mode == "training":
        parts.append(f"loss error {check.loss_error:.1e}")
        parts.append(f"parameter error {check.parameter.error:.1e}")
    parts.append(f"{'state' if check.mode == 'training' else 'output'} error {check.state.error:.1e}")
    if check.flips.count:
        parts.append(f"{check.flips.count} branches flipped by rounding (at most {check.flips.margin:.1e} from them)")
    return {
        "name": f"{check.workload} {check.mode}: {check.left} against {check.right}",
        "passed": check.passed,
        "detail": "; ".join(check.faults or parts),
        "numbers": check.json(),
    }


def verify_cell(job: Job) -> Result:
    """Judge a cell's graph against its own framework in float64."""
    from ..verification import verify

    o = job.options
    asked: dict[str, Any] = {"steps": o.checked_steps, "seed": o.seed, "threads": o.threads}
    check = verify(job.workload, job.cell.framework, job.cell.mode, lowering=o.lowering, **asked)
    return {"checks": [_row(check)]}


def compare_cells(job: Job) -> Result:
    """Judge the graphs of further frameworks against the first one's."""
    from ..verification import verify_pair

    o = job.options
    asked: dict[str, Any] = {"steps": o.checked_steps, "seed": o.seed, "threads": o.threads}
    checks = []
    for other in job.others:
        pair = (job.cell.framework, other.framework)
        checks.append(verify_pair(job.workload, pair, job.cell.mode, lowering=o.lowering, **asked))
    return {"checks": [_row(check) for check in checks]}


def _data(job: Job) -> list[str]:
    """The data source that feeds a cell, which depends on what is installed, and the version of what it needs."""
    from ..data import usual_source

    used = usual_source(job.workload.data)
    return [used.name, version_of(used.needs) if used.needs else ""]


def _verify_inputs(job: Job) -> dict[str, Any]:
    """The graphs' own inputs, and all code but that which only shows results: it judges, and feeds the graphs."""
    made = [_export_inputs(replace(job, cell=cell, others=())) for cell in (job.cell, *job.others)]
    return {
        "graphs": made,
        "data": _data(job),
        "steps": job.options.checked_steps,
        "seed": job.options.seed,
        "threads": job.options.threads,
        "onnxruntime": _onnxruntime(),
        "sources": source_hash(without=_SHOWING),
    }


# structure


def structure_cell(job: Job) -> Result:
    """Modelled cost of a cell's graph by op."""
    from ..analysis.profiles import structure
    from ..graph import load

    return structure(load(job.graph()))


def _structure_inputs(job: Job) -> dict[str, Any]:
    return {
        "graph": sha256(job.graph()),
        "onnx": version_of("onnx"),
        "package": version_of("fathom-onnx"),
        "sources": source_hash(_STRUCTURE_SOURCES),
    }


# profile


def _profile_inputs(job: Job) -> dict[str, Any]:
    import platform

    from ..runtime.environment import cpu_cores, cpu_model

    options = asdict(job.options)
    return {
        "graph": sha256(job.graph()),
        "data": _data(job),
        **{name: options[name] for name in ("ep", "threads", "optimization", "warmup", "steps", "seed")},
        "onnxruntime": _onnxruntime(),
        "python": platform.python_version(),
        "machine": [platform.machine(), cpu_model(), cpu_cores()],
        **device_inputs(job.options.ep),
        "package": version_of("fathom-onnx"),
        "sources": source_hash(without=(*_SHOWING, "verification")),
    }


def profile_cell(job: Job) -> Result:
    """Run a cell's graph under the profiler, into a run folder."""
    from ..graph import load
    from ..profiling import profile

    options = job.options
    profile(
        load(job.graph()),
        ep=options.ep,
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
    from ..analysis.profiles import run_profile
    from ..analysis.run import Run

    run = Run.load(folder / result["folder"])
    return Reading(run.summary(), run.manifest, run_profile(run))


def _run_is_there(job: Job, result: Result) -> bool:
    return (job.folder / str(result.get("folder", "")) / "manifest.json").is_file()


# native


def native_cell(job: Job) -> Result:
    """Have the framework itself run a cell's step under its own profiler."""
    from ..native_profiling import profile_native

    o, cell = job.options, job.cell
    measured: dict[str, Any] = {"threads": o.threads, "warmup": o.warmup, "steps": o.steps, "seed": o.seed}
    profile_native(job.workload, cell.framework, cell.mode, folder=job.output, **measured)
    return {"folder": job.output.relative_to(job.folder).as_posix()}


def _native_inputs(job: Job) -> dict[str, Any]:
    made = {name: value for name, value in _export_inputs(job).items() if name not in ("lowering", "sources")}
    run = {name: value for name, value in _profile_inputs(job).items() if name in _NATIVE_FACTS}
    return {**made, **run, "sources": source_hash(_NATIVE_SOURCES)}


_NATIVE_FACTS = ("data", "threads", "warmup", "steps", "seed", "python", "machine")
_NATIVE_SOURCES = (
    *("data", "workloads", "vocabulary.py", "native.py", "native_profiling.py"),
    *("analysis/native_run.py", "analysis/optable.py"),
)


def read_native(folder: Path, result: Result) -> Reading:
    """Summary, manifest and step profile of a framework's own run."""
    from ..analysis.native_run import NativeRun
    from ..analysis.profiles import native_profile

    run = NativeRun.load(folder / result["folder"])
    return Reading(run.summary(), run.manifest, native_profile(run))


STAGES = Stages(
    export=Stage("export", export_cell, _export_inputs, _graph_is_there),
    verify=Stage("verify", verify_cell, _verify_inputs),
    compare=Stage("compare", compare_cells, _verify_inputs),
    structure=Stage("structure", structure_cell, _structure_inputs),
    profile=Stage("profile", profile_cell, _profile_inputs, _run_is_there),
    read=read_run,
    native=Stage("native", native_cell, _native_inputs, _run_is_there),
    read_native=read_native,
    ceilings=Stage("ceilings", ceilings_cell, ceilings_inputs, are_ceilings),
)
"""The stages of an ordinary study; a sweep leaves out all but export and profile."""
