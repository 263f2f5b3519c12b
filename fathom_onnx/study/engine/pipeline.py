"""A plan carried out: graphs, checks, runs, the frameworks' own runs, the machine's ceilings."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fathom_onnx.errors import FathomError, one_line
from fathom_onnx.study.cells.plan import Job, Role
from fathom_onnx.study.cells.results import CellResult, FinishedRun, StageResult

from .ceilings import CeilingsKey, ceilings_key
from .engine import Engine, StageResults
from .stages import Stage, Stages
from .store import key

if TYPE_CHECKING:
    from fathom_onnx.runtime.ceilings import Ceilings

__all__ = ["PlanResult", "carry_out", "measure_machine"]


@dataclass(frozen=True)
class PlanResult:
    """What became of a plan.

    Attributes:
        runs: A result a job, in the plan's order; without the frameworks' own runs where the stages leave them out.
        checks: Results of the verification.
    """

    runs: tuple[CellResult, ...]
    checks: tuple[dict[str, Any], ...]


def carry_out(engine: Engine, plan: Sequence[Job], stages: Stages) -> PlanResult:
    """Make the graphs of a plan, verify and compare them where the stages say so, and run them.

    Jobs of a plan may share a graph, which is then made once.

    Args:
        engine: What does the work.
        plan: The jobs; those whose role is native are run in the frameworks themselves, after all others.
        stages: What is done for each.
    """
    native = [job for job in plan if job.role is Role.NATIVE]
    jobs = [job for job in plan if job.role is not Role.NATIVE]
    graphs: dict[Path, Job] = {}
    for job in jobs:
        graphs.setdefault(job.graph(), replace(job, role=Role.GRAPH))
    exports = engine.run_stage(stages.export, list(graphs.values()))
    # in the plan's order, not in that of finishing
    exported = [graph for graph in graphs.values() if graph in exports.results]
    checks = _check(engine, stages, exported)
    structures = StageResults() if stages.structure is None else engine.run_stage(stages.structure, exported)
    _clear_partial(engine.folder / "runs")
    started = [
        CellResult(
            job,
            exports.results.get(graph, {}),
            structure=structures.results.get(graph, {}),
            error=exports.errors.get(graph, ""),
        )
        for job in jobs
        for graph in [graphs[job.graph()]]
    ]
    finished = _run(engine, [cell for cell in started if cell.export], stages.profile, stages.read, "runs")
    by_job = {cell.job: cell for cell in finished}
    runs = [by_job.get(cell.job, cell) for cell in started]
    if stages.native is not None and stages.read_native is not None:
        runs += _run(engine, [CellResult(job) for job in native], stages.native, stages.read_native, "native")
    return PlanResult(tuple(runs), checks)


def _check(engine: Engine, stages: Stages, graphs: Sequence[Job]) -> tuple[dict[str, Any], ...]:
    """Results of the checks of exported graphs."""
    if stages.verify is None and stages.compare is None:
        return ()
    if stages.export_checked is not None:
        exports = engine.run_stage(stages.export_checked, [job for job in graphs if job.draws_noise()])
        graphs = [job for job in graphs if job not in exports.errors]
    checks: list[dict[str, Any]] = []
    for stage, jobs in ((stages.verify, graphs), (stages.compare, _comparisons(graphs))):
        if stage is not None:
            results = engine.run_stage(stage, jobs).results
            checks += [check for job in jobs if job in results for check in results[job]["checks"]]
    return tuple(checks)


def _comparisons(graphs: Sequence[Job]) -> list[Job]:
    """A job for every workload and mode that more than one framework exported in the same configuration."""

    def what(job: Job) -> tuple[str, str, str]:
        return job.cell.workload, job.cell.mode, job.options.graphs

    groups = (tuple(group) for _, group in groupby(sorted(graphs, key=what), what))
    return [
        replace(first, role=Role.COMPARISON, others=tuple(job.cell for job in rest)) for first, *rest in groups if rest
    ]


def _run(
    engine: Engine,
    cells: Sequence[CellResult],
    stage: Stage,
    read: Callable[[Path, StageResult], FinishedRun],
    under: str,
) -> list[CellResult]:
    """Run cells, one at a time, and read their runs."""
    # a run's folder is named by what the run depends on, so that none replaces another
    runs = [replace(cell.job, output=_run_folder(cell.job, stage, under)) for cell in cells]
    profiled = engine.run_stage(stage, runs, alone=True)
    results = []
    for cell, run in zip(cells, runs, strict=True):
        if run in profiled.results:
            results.append(_read(engine, run, replace(cell, profile=profiled.results[run]), read))
        else:
            results.append(replace(cell, error=profiled.errors.get(run, "")))
    return results


def _run_folder(job: Job, stage: Stage, under: str) -> Path:
    return job.folder / under / f"{job.cell.slug}-{key(stage.inputs(job))}"


def _clear_partial(runs: Path) -> None:
    """Remove what a killed process left half written: a run is written under a hidden name first."""
    for left in runs.glob(".*"):
        shutil.rmtree(left, ignore_errors=True)


def _read(engine: Engine, run: Job, cell: CellResult, read: Callable[[Path, StageResult], FinishedRun]) -> CellResult:
    try:
        finished = read(engine.folder, dict(cell.profile))
    except FathomError as error:
        engine.fail(run, "read", one_line(error, 500))
        return replace(cell, error=one_line(error, 500))
    return replace(cell, summary=finished.summary, manifest=finished.manifest, op_mix=finished.op_mix)


def measure_machine(engine: Engine, stage: Stage | None, runs: Sequence[Job]) -> dict[CeilingsKey, Ceilings]:
    """The ceilings for every provider and number of threads of some runs, without those that cannot be measured.

    Args:
        engine: What does the work.
        stage: The stage that measures, or None.
        runs: The runs.
    """
    from fathom_onnx.runtime.ceilings import ceilings_of

    if stage is None:
        return {}
    jobs = {ceilings_key(run): replace(run, role=Role.MACHINE) for run in runs}
    measured = engine.run_stage(stage, list(jobs.values()), alone=True).results
    return {settings: ceilings_of(measured[job], str(settings)) for settings, job in jobs.items() if job in measured}
