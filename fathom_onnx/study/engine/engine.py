"""The engine of studies and sweeps: does those jobs of a stage that have no stored result, and stores what they return.

Graphs are made in one process a framework, side by side; runs are measured one at a time, each in a process of its own,
while nothing else runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fathom_onnx.study.cells.plan import Event, EventKind, Job, OnEvent
from fathom_onnx.study.cells.results import Failure, StageResult

from .stages import Stage
from .store import Store
from .workers import CallOutcome, WorkerCall, Workers

__all__ = ["Engine", "StageResults"]


@dataclass
class StageResults:
    """Results of a stage's jobs that succeeded and errors of those that did not."""

    results: dict[Job, StageResult] = field(default_factory=dict)
    errors: dict[Job, str] = field(default_factory=dict)


class Engine:
    """Work under way in a folder.

    Args:
        folder: The study's or sweep's folder.
        workers: The processes that do the work.
        on_event: Called with each event.
        retry: Whether jobs that failed before with the same inputs are tried again.
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
        """Record a failure."""
        self.failures.append(Failure(job.name, stage, error))

    def run_stage(self, stage: Stage, jobs: Sequence[Job], alone: bool = False) -> StageResults:
        """Do a stage's jobs.

        Args:
            stage: The stage.
            jobs: Its jobs.
            alone: Whether the jobs are done one at a time, each in a process of its own (for measurements).
        """
        return self._run_stages([_StageRun(self, stage, jobs)], alone)[0]

    def run_stages(self, work: Sequence[tuple[Stage, Sequence[Job]]]) -> list[StageResults]:
        """Do the jobs of several stages side by side, none of which needs the results of another.

        Args:
            work: Each stage with its jobs.
        """
        return self._run_stages([_StageRun(self, stage, jobs) for stage, jobs in work], alone=False)

    def both(self, name: str, function: Callable[[Any], dict[str, Any]], arguments: Sequence[Any]) -> list[CallOutcome]:
        """What a function makes of each of some arguments, in two processes side by side; nothing of it is stored.

        Args:
            name: What the processes are called; those of a stage that is spread have its name.
            function: A module-level function.
            arguments: The arguments, which can be pickled.
        """
        lane, *others = _two_lanes(name)
        calls = [WorkerCall(lane, function, argument, others=tuple(others)) for argument in arguments]
        outcomes = {id(call): outcome for call, outcome in self._run(calls, alone=False) if outcome is not None}
        return [outcomes[id(call)] for call in calls]

    def _run_stages(self, runs: Sequence[_StageRun], alone: bool) -> list[StageResults]:
        calls: list[WorkerCall] = []
        run_of: dict[int, _StageRun] = {}
        for run in runs:
            for call in run.calls(alone):
                run_of[id(call)] = run
                calls.append(call)
        for call, outcome in self._run(calls, alone):
            run_of[id(call)].take(call.argument, outcome)
        return [run.finished for run in runs]

    def _run(self, calls: Sequence[WorkerCall], alone: bool) -> Iterator[tuple[WorkerCall, CallOutcome | None]]:
        """Do calls: all of them side by side by their lanes, or one at a time, each in a process of its own."""
        if not alone:
            yield from self.workers.run(calls)
            return
        for call in calls:
            yield from self.workers.run([call], fresh=True)


def _two_lanes(name: str) -> list[str]:
    return [f"{name} {number}" for number in range(2)]


class _StageRun:
    """A stage that is under way: its jobs, what each depends on, what became of them."""

    def __init__(self, engine: Engine, stage: Stage, jobs: Sequence[Job]) -> None:
        self._engine, self._stage, self._jobs = engine, stage, jobs
        self._inputs: dict[Job, Any] = {}
        self.finished = StageResults()

    def calls(self, alone: bool) -> list[WorkerCall]:
        """What is to be done for jobs without a stored result; the other jobs are finished."""
        stage, store = self._stage, self._engine.store
        calls: list[WorkerCall] = []
        for job in self._jobs:
            inputs = self._inputs[job] = stage.inputs_of(job)
            stored = store.get(job.slug, stage.name, inputs)
            if stored is not None and stage.complete(job, stored):
                self.finished.results[job] = stored
                self._engine.reused += 1
                self._report("reused", job)
                continue
            earlier_error = "" if self._engine.retry else store.error(job.slug, stage.name, inputs)
            if earlier_error:
                self._fail(job, f"{earlier_error} (failed before, not tried again)")
            else:
                name, imports = (stage.imports(job) if alone else None) or ("", None)
                lane, *others = [f"{stage.name} {name}".rstrip()] if alone else self._lanes(job)
                group = f"{stage.name} {job.cell.workload}" if stage.by_workload else ""
                calls.append(WorkerCall(lane, stage.work, job, imports, tuple(others), group))
        return calls

    def _lanes(self, job: Job) -> list[str]:
        """The processes that may do a job: one a framework, or of a stage that is spread either of two."""
        return _two_lanes(self._stage.name) if self._stage.spread else [job.cell.framework]

    def take(self, job: Job, outcome: CallOutcome | None) -> None:
        """Store what a call for a job returned; None: it was started."""
        stage, store = self._stage, self._engine.store
        if outcome is None:
            self._report("started", job)
        elif outcome.result is None:
            store.put_error(job.slug, stage.name, self._inputs[job], outcome.error)
            self._fail(job, outcome.error, outcome.seconds)
        else:
            result = {"seconds": outcome.seconds, **outcome.result}
            store.put(job.slug, stage.name, self._inputs[job], result)
            self.finished.results[job] = result
            self._engine.worked += 1
            self._report("done", job, seconds=outcome.seconds)

    def _report(self, kind: EventKind, job: Job, detail: str = "", seconds: float = 0.0) -> None:
        number = len(self.finished.results) + len(self.finished.errors)
        self._engine.on_event(Event(kind, self._stage.name, job.name, number, len(self._jobs), detail, seconds))

    def _fail(self, job: Job, error: str, seconds: float = 0.0) -> None:
        self.finished.errors[job] = error
        self._engine.fail(job, self._stage.name, error)
        self._report("failed", job, error, seconds)
