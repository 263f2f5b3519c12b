"""A plan carried out: graphs, checks, runs, the frameworks' own runs, the machine's ceilings."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fathom_onnx.study.cells.plan import Job, Role
from fathom_onnx.study.cells.results import CellResult, FinishedRun, StageResult

from .ceilings import CeilingsKey, ceilings_key
from .engine import Engine, StageResults
from .runs import PREPARED
from .stages import Stage, Stages
from .store import key

if TYPE_CHECKING:
    from fathom_onnx.runtime.ceilings import Ceilings

__all__ = ["PlanResult", "carry_out", "compile_steps", "measure_machine"]


@dataclass(frozen=True)
class PlanResult:
    """What became of a plan.

    Attributes:
        runs: A result a job, in the plan's order; without the frameworks' own runs where the stages leave them out.
        checks: Results of the verification.
    """

    runs: tuple[CellResult, ...]
    checks: tuple[dict[str, Any], ...]


def carry_out(engine: Engine, plan: Sequence[Job], stages: Stages, rounds: int = 1) -> PlanResult:
    """Make the graphs of a plan, verify and compare them where the stages say so, and run them.

    Jobs of a plan may share a graph, which is then made once. Every job is run once in a round, so that the rounds of a
    job are as far apart in time as a round takes; then they are pooled. Those with fewer threads, which only show how
    ops scale, are run in the first round alone.

    Args:
        engine: What does the work.
        plan: The jobs; those whose role is native are run in the frameworks themselves, after the others of a round.
        stages: What is done for each.
        rounds: How often each is run.
    """
    native = [job for job in plan if job.role is Role.NATIVE]
    jobs = [job for job in plan if job.role is not Role.NATIVE]
    graphs: dict[Path, Job] = {}
    for job in jobs:
        graphs.setdefault(job.graph(), replace(job, role=Role.GRAPH))
    exports = engine.run_stage(stages.export, list(graphs.values()))
    # in the plan's order, not in that of finishing
    exported = [graph for graph in graphs.values() if graph in exports.results]
    checks, structures, unprepared = _examine(engine, stages, exported, native)
    for under in ("runs", "rounds"):
        _clear_partial(engine.folder / under)
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
    runs: dict[bool, list[CellResult]] = {False: [], True: []}
    for cell in started:
        if cell.export:
            runs[cell.job.role is Role.FEWER_THREADS].append(cell)
    kinds = [_Kind(stages.profile, stages.read, "runs", cells, once, stages.explain) for once, cells in runs.items()]
    frameworks_own: list[CellResult] = []
    if stages.native is not None and stages.read_native is not None:
        frameworks_own = [CellResult(job) for job in native]
        kinds.append(_Kind(stages.native, stages.read_native, "native", frameworks_own, errors=unprepared))
    for number in range(1, rounds + 1):
        for kind in kinds:
            if number == 1 or not kind.once:
                _measure(engine, kind, number if rounds > 1 and not kind.once else 0)
    finished = {cell.job: cell for cell in _finish(engine, kinds, stages.pool)}
    return PlanResult(tuple(finished.get(cell.job, cell) for cell in (*started, *frameworks_own)), checks)


def compile_steps(engine: Engine, plan: Sequence[Job], stages: Stages) -> list[CellResult]:
    """Have the frameworks' own compilers make the steps of a plan, and time them: once each, not in rounds.

    Args:
        engine: What does the work.
        plan: The jobs.
        stages: What is done for each; nothing where they leave compiled steps out.
    """
    if stages.compiled is None or stages.read_compiled is None:
        return []
    kind = _Kind(stages.compiled, stages.read_compiled, "compiled", [CellResult(job) for job in plan])
    _measure(engine, kind, 0)
    return _finish(engine, [kind], None)


def _examine(
    engine: Engine, stages: Stages, graphs: Sequence[Job], native: Sequence[Job]
) -> tuple[tuple[dict[str, Any], ...], StageResults, dict[Job, str]]:
    """Results of the checks of exported graphs, the modelled costs of all of them, and errors of native steps.

    What is compiled for native steps is compiled beside the checks, so that both cores have work to the end.
    """
    checked = graphs if stages.verify or stages.compare else ()
    if checked and stages.export_checked is not None:
        exports = engine.run_stage(stages.export_checked, [job for job in checked if job.draws_noise()])
        checked = [job for job in checked if job not in exports.errors]
    prepared = [job for job in native if job.cell.framework in PREPARED] if stages.native is not None else []
    comparisons = _comparisons(checked)
    stages_and_jobs = (
        (stages.prepare, _longest_first(prepared)),
        (stages.verify, checked),
        (stages.compare, _longest_first(comparisons)),
        (stages.structure, graphs),
    )
    work = [(stage, jobs) for stage, jobs in stages_and_jobs if stage is not None]
    found = {stage.name: results for (stage, _), results in zip(work, engine.run_stages(work), strict=True)}
    checks = [
        check
        for stage, jobs in ((stages.verify, checked), (stages.compare, comparisons))
        if stage is not None
        for job in jobs
        if job in found[stage.name].results
        for check in found[stage.name].results[job]["checks"]
    ]
    structures = found[stages.structure.name] if stages.structure is not None else StageResults()
    unprepared = dict(found[stages.prepare.name].errors) if stages.prepare is not None else {}
    return tuple(checks), structures, unprepared


def _longest_first(jobs: Sequence[Job]) -> list[Job]:
    """Jobs, training before inference, which takes less: none of the long ones is begun last, and ends alone."""
    return sorted(jobs, key=lambda job: job.cell.mode, reverse=True)


def _comparisons(graphs: Sequence[Job]) -> list[Job]:
    """A job for every workload and mode that more than one framework exported in the same configuration."""

    def what(job: Job) -> tuple[str, str, str]:
        return job.cell.workload, job.cell.mode, job.options.graphs

    groups = (tuple(group) for _, group in groupby(sorted(graphs, key=what), what))
    return [
        replace(first, role=Role.COMPARISON, others=tuple(job.cell for job in rest)) for first, *rest in groups if rest
    ]


@dataclass
class _Kind:
    """Runs of one kind: the stage that measures them, what reads them, where they lie, and what became of them.

    Attributes:
        stage: The stage that measures.
        read: Reads a finished run.
        under: Folder for the runs.
        cells: The cells that are run.
        once: Whether they are measured once, in the first round.
        explain: The stage that makes a run of what was measured; None where what is measured is a run.
        measured: Cell's job to the results of its rounds.
        errors: Cell's job to the error of the round that failed.
    """

    stage: Stage
    read: Callable[[Path, StageResult], FinishedRun]
    under: str
    cells: Sequence[CellResult]
    once: bool = False
    explain: Stage | None = None
    measured: dict[Job, list[StageResult]] = field(default_factory=dict)
    errors: dict[Job, str] = field(default_factory=dict)


def _measure(engine: Engine, kind: _Kind, number: int) -> None:
    """Measure a round of cells, one at a time; a cell whose earlier round failed is left out.

    Args:
        engine: What does the work.
        kind: The cells; takes the results.
        number: The round's number from 1, or 0 where there is only one.
    """
    under = "rounds" if number or kind.explain else kind.under
    # a run's folder is named by what the run depends on, so that none replaces another
    jobs = {
        cell.job: replace(
            cell.job, round=number, output=_run_folder(replace(cell.job, round=number), kind.stage, under)
        )
        for cell in kind.cells
        if cell.job not in kind.errors
    }
    found = engine.run_stage(kind.stage, list(jobs.values()), alone=True)
    for planned, job in jobs.items():
        if job in found.results:
            kind.measured.setdefault(planned, []).append(found.results[job])
        else:
            kind.errors[planned] = found.errors.get(job, "")


def _finish(engine: Engine, kinds: Sequence[_Kind], pool: Stage | None) -> list[CellResult]:
    """Make one run of the rounds of each cell, of all kinds side by side, and read the runs."""
    made = [_made_of_rounds(kind, kind.explain or pool) for kind in kinds]
    work = [
        (stage, _longest_first(list(jobs.values())))
        for kind, jobs in zip(kinds, made, strict=True)
        if (stage := kind.explain or pool) is not None and jobs
    ]
    found = StageResults()
    for results in engine.run_stages(work):
        found.results |= results.results
        found.errors |= results.errors
    return [cell for kind, jobs in zip(kinds, made, strict=True) for cell in _read_all(engine, kind, jobs, found)]


def _made_of_rounds(kind: _Kind, stage: Stage | None) -> dict[Job, Job]:
    """A cell's job to the one that makes a run of its rounds, of cells for which that is to be done."""
    jobs = {}
    for job, results in kind.measured.items():
        if stage is not None and (kind.explain or len(results) > 1):
            made_of = replace(job, rounds=tuple(Path(result["folder"]) for result in results))
            jobs[job] = replace(made_of, output=_run_folder(made_of, stage, kind.under))
    return jobs


def _read_all(engine: Engine, kind: _Kind, jobs: Mapping[Job, Job], found: StageResults) -> list[CellResult]:
    """The runs of a kind.

    Of some cells a round may have failed. Where finished runs cannot be pooled, the failure is recorded and the first
    of them is the run.
    """
    finished: dict[Job, CellResult] = {}
    for cell in kind.cells:
        rounds = kind.measured.get(cell.job, [])
        made = jobs.get(cell.job)
        run = found.results.get(made) if made else None
        if run is None and not kind.explain:
            run = next(iter(rounds), None)
        if run is None:
            error = kind.errors.get(cell.job, "") or (found.errors.get(made, "") if made else "")
            finished[cell.job] = replace(cell, error=error)
        else:
            seconds = sum(float(one.get("seconds", 0.0)) for one in rounds)
            of_each = [{name: one.get(name) for name in ("folder", "attempts", "gauge", "seconds")} for one in rounds]
            finished[cell.job] = replace(cell, profile={**run, "seconds": seconds, "rounds": of_each})
    readings = {
        job: _Reading(kind.read, engine.folder, dict(cell.profile)) for job, cell in finished.items() if cell.profile
    }
    for job, read in zip(readings, engine.both("read", _read, list(readings.values())), strict=True):
        if read.result is None:
            engine.fail(job, "read", read.error)
            finished[job] = replace(finished[job], error=read.error)
        else:
            finished[job] = replace(finished[job], **read.result)
    return list(finished.values())


class _Reading(NamedTuple):
    """What reads a finished run: the function, the study's folder, the result of the stage that made the run."""

    read: Callable[[Path, StageResult], FinishedRun]
    folder: Path
    made: StageResult


def _read(reading: _Reading) -> dict[str, Any]:
    return reading.read(reading.folder, reading.made)._asdict()


def _run_folder(job: Job, stage: Stage, under: str) -> Path:
    return job.folder / under / f"{job.cell.slug}-{key(stage.inputs_of(job))}"


def _clear_partial(runs: Path) -> None:
    """Remove what a killed process left half written: a run is written under a hidden name first."""
    for left in runs.glob(".*"):
        shutil.rmtree(left, ignore_errors=True)


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
