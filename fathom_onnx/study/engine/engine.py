"""The engine of studies and sweeps: does each stage's jobs that are not done yet, and keeps what comes of them.

A study is a fixed plan with verification; a sweep is any product of settings. Both are a list of jobs, carried out in
the same way: graphs are made one framework a process, side by side; runs are measured one at a time, each in a process
of its own, with nothing beside them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from fathom_onnx.errors import FathomError, one_line
from fathom_onnx.study.cells.plan import Event, EventKind, Job, OnEvent
from fathom_onnx.study.result import CellResult, Failure

from .stages import Reading, Stage, Stages
from .store import Store, key
from .workers import Call, Workers

__all__ = ["Done", "Engine", "Made", "carry_out"]

Result = dict[str, Any]


def _name(job: Job) -> str:
    """A job's cell and what is changed in it or, for a comparison, its workload, mode and frameworks."""
    if job.machine:
        return f"{job.options.ep}, {job.options.threads} threads"
    if job.others:
        frameworks = ", ".join(c.framework for c in (job.cell, *job.others))
        return f"{job.cell.workload} {job.cell.mode} ({frameworks})"
    return " ".join([str(job.cell), *(f"{name}={value}" for name, value in job.options.changes), job.note]).rstrip()


def _slug(job: Job) -> str:
    if job.machine:
        return "machine"
    return f"{job.cell.workload}-{job.cell.mode}" if job.others else job.cell.slug


def _lane(stage: Stage, job: Job, alone: bool, number: int) -> str:
    """The process that does a job: one a framework; comparisons, which need several, go to two in turn."""
    if alone:
        return stage.name
    return f"{stage.name} {number % 2}" if job.others else job.cell.framework


@dataclass
class Done:
    """What a stage gave: results of the jobs that succeeded and errors of those that did not."""

    results: dict[Job, Result] = field(default_factory=dict)
    errors: dict[Job, str] = field(default_factory=dict)


class Engine:
    """Work under way in a folder.

    Args:
        folder: Where everything goes.
        workers: What does the work.
        on_event: Told what happens.
        retry: Whether what failed before with the same inputs is tried again.
    """

    def __init__(self, folder: Path, workers: Workers, on_event: OnEvent, retry: bool = True) -> None:
        self.folder = folder
        self.store = Store(folder / "cells")
        self.workers = workers
        self.on_event = on_event
        self.retry = retry
        self.failures: list[Failure] = []
        self.reused = self.worked = 0

    def fail(self, job: Job, stage: str, error: str) -> None:
        """Note a failure."""
        self.failures.append(Failure(_name(job), stage, error))

    def stage(self, stage: Stage, jobs: Sequence[Job], alone: bool = False) -> Done:
        """Do a stage's jobs.

        Args:
            stage: The stage.
            jobs: Its jobs.
            alone: Whether the jobs are done one at a time, each in a process of its own (for what is measured).
        """
        done = Done()

        def tell(kind: EventKind, job: Job, detail: str = "", seconds: float = 0.0) -> None:
            number = len(done.results) + len(done.errors)
            self.on_event(Event(kind, stage.name, _name(job), number, len(jobs), detail, seconds))

        def fail(job: Job, error: str, seconds: float = 0.0) -> None:
            done.errors[job] = error
            self.fail(job, stage.name, error)
            tell("failed", job, error, seconds)

        inputs: dict[Job, Any] = {}
        calls: list[Call] = []
        for job in jobs:
            inputs[job] = dict(stage.inputs(job))
            held = self.store.get(_slug(job), stage.name, inputs[job])
            if held is not None and stage.complete(job, held):
                done.results[job] = held
                self.reused += 1
                tell("reused", job)
                continue
            before = "" if self.retry else self.store.error(_slug(job), stage.name, inputs[job])
            if before:
                fail(job, f"{before} (failed before, not tried again)")
            else:
                calls.append(Call(_lane(stage, job, alone, len(calls)), stage.work, job))
        for call, outcome in self.workers.run(calls, fresh=alone):
            job = call.argument
            if outcome is None:
                tell("started", job)
            elif outcome.result is None:
                self.store.put_error(_slug(job), stage.name, inputs[job], outcome.error)
                fail(job, outcome.error, outcome.seconds)
            else:
                result = {"seconds": outcome.seconds, **outcome.result}
                self.store.put(_slug(job), stage.name, inputs[job], result)
                done.results[job] = result
                self.worked += 1
                tell("done", job, seconds=outcome.seconds)
        return done


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
