"""A plan from one end to the other: graphs, checks, runs, the frameworks' own runs, what the machine can do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fathom_onnx.errors import FathomError, one_line
from fathom_onnx.study.cells.plan import Job
from fathom_onnx.study.cells.results import CellResult, Reading

from .ceilings import Settings, settings_of
from .engine import Done, Engine
from .stages import Stage, Stages
from .store import key

if TYPE_CHECKING:
    from fathom_onnx.runtime.ceilings import Ceilings

__all__ = ["Made", "carry_out", "measured_ceilings"]


@dataclass(frozen=True)
class Made:
    """What became of a plan: a result a job, in its order, the verification's checks, and the frameworks' own runs."""

    cells: tuple[CellResult, ...]
    checks: tuple[dict[str, Any], ...]
    natives: tuple[CellResult, ...] = ()


def carry_out(engine: Engine, plan: Sequence[Job], stages: Stages, native: Sequence[Job] = ()) -> Made:
    """Make the graphs of a plan, verify and compare them where the stages say so, and run them.

    Jobs of a plan may share a graph, which is then made once.

    Args:
        engine: What does the work.
        plan: The jobs.
        stages: What is done to each.
        native: Jobs whose step the framework itself runs as well.
    """
    of_graph: dict[Path, Job] = {}
    for job in plan:
        of_graph.setdefault(job.graph(), replace(job, note=""))
    exports = engine.stage(stages.export, list(of_graph.values()))
    exported = {job: exports.results[g] for job in plan if (g := of_graph[job.graph()]) in exports.results}
    ready = [job for job in of_graph.values() if job in exports.results]  # in the plan's order, not that of finishing
    checks = _checks(engine, stages, ready)
    costs = Done() if stages.structure is None else engine.stage(stages.structure, ready)
    runs = _run_jobs(list(exported), stages.profile)
    _clear_partial(engine.folder / "runs")
    profiled = engine.stage(stages.profile, list(runs.values()), alone=True)
    cells = []
    for job in plan:
        graph, run = of_graph[job.graph()], runs.get(job)
        error = exports.errors.get(graph, "") or (profiled.errors.get(run, "") if run else "")
        cell = CellResult(job, exported.get(job, {}), structure=costs.results.get(graph, {}), error=error)
        if run in profiled.results:
            cell = _read(engine, run, replace(cell, profile=profiled.results[run]), stages.read)
        cells.append(cell)
    return Made(tuple(cells), checks, _natives(engine, native, stages))


def _checks(engine: Engine, stages: Stages, jobs: Sequence[Job]) -> tuple[dict[str, Any], ...]:
    """What came of the checks of exported graphs."""
    if stages.verify is None and stages.compare is None:
        return ()
    if stages.draws is not None:
        made = engine.stage(stages.draws, [job for job in jobs if job.draws()])
        jobs = [job for job in jobs if job not in made.errors]
    checks: list[dict[str, Any]] = []
    for stage, judged in ((stages.verify, jobs), (stages.compare, _comparisons(jobs))):
        if stage is not None:
            found = engine.stage(stage, judged)
            checks += [check for job in judged if job in found.results for check in found.results[job]["checks"]]
    return tuple(checks)


def _natives(engine: Engine, jobs: Sequence[Job], stages: Stages) -> tuple[CellResult, ...]:
    """The frameworks' own runs, a result a job."""
    if stages.native is None or stages.read_native is None:
        return ()
    runs = _run_jobs(jobs, stages.native, "native")
    done = engine.stage(stages.native, list(runs.values()), alone=True)
    made = []
    for job, run in runs.items():
        cell = CellResult(job, error=done.errors.get(run, ""))
        if run in done.results:
            cell = _read(engine, run, replace(cell, profile=done.results[run]), stages.read_native)
        made.append(cell)
    return tuple(made)


def _comparisons(made: Sequence[Job]) -> list[Job]:
    """A job for every workload and mode that more than one framework exported in the same configuration."""

    def same(job: Job) -> tuple[str, str, str]:
        return job.cell.workload, job.cell.mode, job.options.graphs

    groups = (tuple(group) for _, group in groupby(sorted(made, key=same), same))
    return [replace(first, others=tuple(job.cell for job in rest)) for first, *rest in groups if rest]


def _run_jobs(jobs: Sequence[Job], stage: Stage, under: str = "runs") -> dict[Job, Job]:
    """The job that runs each; its folder is named by what the run depends on, so that none is written over another."""
    return {job: replace(job, output=job.folder / under / f"{job.cell.slug}-{key(stage.inputs(job))}") for job in jobs}


def _clear_partial(runs: Path) -> None:
    """Remove what was left half written by a process that was killed; a run is made aside, under a hidden name."""
    for left in runs.glob(".*"):
        shutil.rmtree(left, ignore_errors=True)


def _read(engine: Engine, run: Job, cell: CellResult, read: Callable[[Path, dict[str, Any]], Reading]) -> CellResult:
    try:
        held = read(engine.folder, dict(cell.profile))
    except FathomError as error:
        engine.fail(run, "read", one_line(error, 500))
        return replace(cell, error=one_line(error, 500))
    return replace(cell, summary=held.summary, manifest=held.manifest, spent=held.spent)


def measured_ceilings(engine: Engine, stage: Stage | None, runs: Sequence[Job]) -> dict[Settings, Ceilings]:
    """The ceilings for every provider and number of threads among some runs; none for what could not be measured.

    Args:
        engine: What does the work.
        stage: The stage that measures, or None.
        runs: The runs.
    """
    from fathom_onnx.runtime.ceilings import ceilings_of

    if stage is None:
        return {}
    jobs = {settings_of(run): replace(run, machine=True) for run in runs}
    done = engine.stage(stage, list(jobs.values()), alone=True)
    return {
        settings: ceilings_of(done.results[job], str(settings)) for settings, job in jobs.items() if job in done.results
    }
