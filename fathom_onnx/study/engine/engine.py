"""The engine of studies and sweeps: does each stage's jobs that are not done yet, and keeps what comes of them.

A study is a fixed plan with verification; a sweep is any product of settings. Both are a list of jobs, carried out in
the same way: graphs are made one framework a process, side by side; runs are measured one at a time, each in a process
of its own, with nothing beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fathom_onnx.study.cells.plan import Event, EventKind, Job, OnEvent
from fathom_onnx.study.cells.results import Failure

from .stages import Stage
from .store import Store
from .workers import Call, Workers

__all__ = ["Done", "Engine"]

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
