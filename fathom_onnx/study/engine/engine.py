"""The engine of studies and sweeps: does those jobs of a stage that have no stored result, and stores what they return.

Graphs are made in one process a framework, side by side; runs are measured one at a time, each in a process of its own,
while nothing else runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        finished = StageResults()

        def report(kind: EventKind, job: Job, detail: str = "", seconds: float = 0.0) -> None:
            number = len(finished.results) + len(finished.errors)
            self.on_event(Event(kind, stage.name, job.name, number, len(jobs), detail, seconds))

        def fail(job: Job, error: str, seconds: float = 0.0) -> None:
            finished.errors[job] = error
            self.fail(job, stage.name, error)
            report("failed", job, error, seconds)

        inputs: dict[Job, Any] = {}
        calls: list[WorkerCall] = []
        for job in jobs:
            inputs[job] = stage.inputs_of(job)
            stored = self.store.get(job.slug, stage.name, inputs[job])
            if stored is not None and stage.complete(job, stored):
                finished.results[job] = stored
                self.reused += 1
                report("reused", job)
                continue
            earlier_error = "" if self.retry else self.store.error(job.slug, stage.name, inputs[job])
            if earlier_error:
                fail(job, f"{earlier_error} (failed before, not tried again)")
            else:
                name, imports = (stage.imports(job) if alone else None) or ("", None)
                lane = f"{stage.name} {name}".rstrip() if alone else _lane(job, stage, len(calls))
                calls.append(WorkerCall(lane, stage.work, job, imports))
        for call, outcome in self._run(calls, alone):
            job = call.argument
            if outcome is None:
                report("started", job)
            elif outcome.result is None:
                self.store.put_error(job.slug, stage.name, inputs[job], outcome.error)
                fail(job, outcome.error, outcome.seconds)
            else:
                result = {"seconds": outcome.seconds, **outcome.result}
                self.store.put(job.slug, stage.name, inputs[job], result)
                finished.results[job] = result
                self.worked += 1
                report("done", job, seconds=outcome.seconds)
        return finished

    def _run(self, calls: Sequence[WorkerCall], alone: bool) -> Iterator[tuple[WorkerCall, CallOutcome | None]]:
        """Do calls: all of them side by side by their lanes, or one at a time, each in a process of its own."""
        if not alone:
            yield from self.workers.run(calls)
            return
        for call in calls:
            yield from self.workers.run([call], fresh=True)


def _lane(job: Job, stage: Stage, number: int) -> str:
    """The process that does a job: one a framework, or one of two for the jobs of a stage that are spread."""
    return f"{stage.name} {number % 2}" if stage.spread else job.cell.framework
