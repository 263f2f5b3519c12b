"""A study from one end to the other: export, verify, compare, profile, report."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import FathomError, UsageError, one_line
from ..exporting import frameworks as known_frameworks
from ..graph.files import ensure_folder
from ..runtime.environment import cpu_cores
from .plan import Cell, Event, Job, OnEvent, Options, cells
from .result import CellResult, Failure, StudyResult, write
from .stages import STAGES, Stage, Stages
from .store import Store, key
from .workers import Call, ProcessWorkers, Workers

__all__ = ["run_study"]

Result = dict[str, Any]


def _name(job: Job) -> str:
    """A job's cell or, for a comparison, its workload, mode and frameworks."""
    if not job.others:
        return str(job.cell)
    frameworks = ", ".join(c.framework for c in (job.cell, *job.others))
    return f"{job.cell.workload} {job.cell.mode} ({frameworks})"


def _slug(job: Job) -> str:
    return f"{job.cell.workload}-{job.cell.mode}" if job.others else job.cell.slug


class _Conductor:
    """A study under way: does a stage's jobs that are not done yet and keeps count of what happens."""

    def __init__(self, folder: Path, workers: Workers, on_event: OnEvent) -> None:
        self.folder = folder
        self.store = Store(folder / "cells")
        self.workers = workers
        self.on_event = on_event
        self.failures: list[Failure] = []
        self.reused = self.worked = 0

    def stage(self, stage: Stage, jobs: Sequence[Job], alone: bool = False) -> dict[Job, Result]:
        """Results by job, without those of jobs that failed.

        Args:
            stage: The stage.
            jobs: Its jobs.
            alone: Whether the jobs are done one at a time, each in a process of its own (for what is measured).
        """
        done: dict[Job, Result] = {}
        finished = 0

        def tell(kind: Any, job: Job, detail: str = "", seconds: float = 0.0) -> None:
            self.on_event(Event(kind, stage.name, _name(job), finished, len(jobs), detail, seconds))

        inputs: dict[Job, Any] = {}
        calls: list[Call] = []
        for job in jobs:
            inputs[job] = dict(stage.inputs(job))
            held = self.store.get(_slug(job), stage.name, inputs[job])
            if held is not None and stage.complete(job, held):
                done[job] = held
                finished += 1
                self.reused += 1
                tell("reused", job)
            else:
                calls.append(Call(stage.name if alone or job.others else job.cell.framework, stage.work, job))
        for call, outcome in self.workers.run(calls, fresh=alone):
            job = call.argument
            if outcome is None:
                tell("started", job)
                continue
            finished += 1
            if outcome.result is None:
                self.failures.append(Failure(_name(job), stage.name, outcome.error))
                tell("failed", job, outcome.error, outcome.seconds)
                continue
            self.store.put(_slug(job), stage.name, inputs[job], outcome.result)
            done[job] = outcome.result
            self.worked += 1
            tell("done", job, seconds=outcome.seconds)
        return done


def _comparisons(exported: Sequence[Cell], options: Options, folder: Path) -> list[Job]:
    """A job for every workload and mode that more than one framework exported."""

    def same(cell: Cell) -> tuple[str, str]:
        return cell.workload, cell.mode

    groups = (tuple(group) for _, group in groupby(sorted(exported, key=same), same))
    return [Job(first, options, folder, tuple(rest)) for first, *rest in groups if rest]


def _profile_jobs(exported: Sequence[Cell], stage: Stage, options: Options, folder: Path) -> list[Job]:
    """A job a graph; the run's folder is named by what it depends on, so that no run is written over another."""
    jobs = []
    for cell in exported:
        job = Job(cell, options, folder)
        jobs.append(Job(cell, options, folder, output=folder / "runs" / f"{cell.slug}-{key(stage.inputs(job))}"))
    return jobs


def _clear_partial(runs: Path) -> None:
    """Remove what a killed study left half written; a run is made aside, under a hidden name."""
    for left in runs.glob(".*"):
        shutil.rmtree(left, ignore_errors=True)


def _commands(folder: Path, options: Options, chosen: Sequence[Cell], verify: bool) -> list[str]:
    """The command lines that do the same again: one, or one a framework where they are some but not all."""
    used = list(dict.fromkeys(c.framework for c in chosen))
    modes = list(dict.fromkeys(c.mode for c in chosen))
    common = ["--mode", modes[0] if len(modes) == 1 else "all", "--ep", options.ep]
    for name in ("threads", "steps", "warmup", "seed"):
        common += [f"--{name}", str(getattr(options, name))]
    common += [] if verify else ["--no-verify"]
    workloads = list(dict.fromkeys(c.workload for c in chosen))
    start = ["fathom-onnx", "study", *workloads, "-o", str(folder), "--preset", options.preset]
    whole = len(used) > 1 and set(used) == set(known_frameworks())
    return [shlex.join([*start, "--framework", name, *common]) for name in (["all"] if whole else used)]


def _conduct(
    folder: Path, options: Options, chosen: Sequence[Cell], stages: Stages, conductor: _Conductor
) -> StudyResult:
    exports = conductor.stage(stages.export, [Job(cell, options, folder) for cell in chosen])
    exported = {job.cell: result for job, result in exports.items()}
    ready = [cell for cell in chosen if cell in exported]
    checks: list[dict[str, Any]] = []
    for stage, jobs in (
        (stages.verify, [Job(cell, options, folder) for cell in ready]),
        (stages.compare, _comparisons(ready, options, folder)),
    ):
        if stage is not None:
            results = conductor.stage(stage, jobs)
            checks += [check for job in jobs if job in results for check in results[job]["checks"]]
    jobs = _profile_jobs(ready, stages.profile, options, folder)
    _clear_partial(folder / "runs")
    profiled = {job.cell: result for job, result in conductor.stage(stages.profile, jobs, alone=True).items()}
    made = []
    for cell in chosen:
        summary: Result = {}
        manifest: Result = {}
        if cell in profiled:
            try:
                summary, manifest = stages.read(folder, profiled[cell])
            except FathomError as error:
                conductor.failures.append(Failure(str(cell), "read", one_line(error, 500)))
        made.append(CellResult(cell, exported.get(cell, {}), profiled.get(cell, {}), summary, manifest))
    return StudyResult(
        folder=folder,
        options=options,
        cells=tuple(made),
        checks=tuple(checks),
        verified=stages.verify is not None or stages.compare is not None,
        failures=tuple(conductor.failures),
        reused=conductor.reused,
        worked=conductor.worked,
    )


def run_study(
    folder: str | Path,
    preset: str = "small",
    workloads: Sequence[str] | None = None,
    frameworks: Sequence[str] | None = None,
    modes: Sequence[str] | None = None,
    *,
    ep: str = "cpu",
    threads: int | None = None,
    steps: int = 20,
    warmup: int = 3,
    seed: int = 0,
    lowering: str = "plain",
    verify: bool = True,
    checked_steps: int = 1,
    on_event: OnEvent | None = None,
    stages: Stages = STAGES,
    workers: Callable[[Path], AbstractContextManager[Workers]] = ProcessWorkers,
) -> StudyResult:
    """Export, verify, run and compare workloads from several frameworks, and write a report.

    Work that was already done with the same inputs (configuration, versions, source, machine, options) is not done
    again, so an interrupted study goes on where it was. A cell that fails is recorded and does not stop the others.
    Graphs are made one framework a process, side by side; runs are measured one at a time with nothing beside them.

    Args:
        folder: Where everything goes: ``graphs/``, ``runs/``, ``cells/`` (what is done), ``logs/``, ``report.html``,
            ``study.json``, ``classes.csv``, ``ops.csv``.
        preset: Preset of every workload.
        workloads: Their names, or all.
        frameworks: Their names, or all that have an exporter.
        modes: ``inference``, ``training``, or both.
        ep: Execution provider.
        threads: Threads inside one operator; all the cores this process may use when not given.
        steps: Steps of each run that are counted.
        warmup: Steps before them that are not.
        seed: Of weights and batches.
        lowering: The lowering set of the graphs.
        verify: Whether graphs are checked against their frameworks and against each other.
        checked_steps: Steps of each such check.
        on_event: Told what happens.
        stages: What is done to a cell.
        workers: What does it; given the folder for logs.

    Raises:
        UnknownNameError: A workload, framework, mode, preset that there is not.
        UsageError: A number that cannot work, or nothing to study.
        OutputError: The folder cannot be written to.
    """
    threads = cpu_cores() if threads is None else threads
    if min(threads, steps, checked_steps) < 1 or warmup < 0:
        raise UsageError(
            f"a study cannot have {threads} threads, {steps} steps after {warmup}", "give 1 or more threads and steps"
        )
    chosen = cells(preset, workloads, frameworks, modes)
    if not chosen:
        raise UsageError("there is nothing to study", "name at least one workload, framework and mode")
    place = ensure_folder(Path(folder).absolute())
    options = Options(preset, ep, threads, warmup, steps, seed, lowering, checked_steps)
    if not verify:
        stages = replace(stages, verify=None, compare=None)
    with workers(place / "logs") as crew:
        conductor = _Conductor(place, crew, on_event or (lambda event: None))
        result = _conduct(place, options, chosen, stages, conductor)
    write(result, _commands(Path(folder), options, chosen, verify))
    return result
