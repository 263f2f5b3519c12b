"""What the machine can do, measured once for each provider and number of threads that a study's runs have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fathom_onnx.errors import DataError
from fathom_onnx.study.cells.plan import Job

if TYPE_CHECKING:
    from fathom_onnx.runtime.ceilings import Ceilings

    from .engine import Engine
    from .stages import Stage

__all__ = ["Settings", "are_ceilings", "ceilings_cell", "measured_ceilings", "settings_of"]

Settings = tuple[str, int]
"""Provider and threads: what ceilings are measured for."""


def settings_of(job: Job) -> Settings:
    """The provider and the threads of a job."""
    return job.options.ep, job.options.threads


def ceilings_cell(job: Job) -> dict[str, Any]:
    """Measure the ceilings with a job's provider and threads."""
    from fathom_onnx.runtime.ceilings import measure_ceilings
    from fathom_onnx.runtime.settings import SessionSettings

    o = job.options
    return measure_ceilings(SessionSettings(o.ep, o.threads, tf32=o.tf32)).as_json()


def are_ceilings(job: Job, result: dict[str, Any]) -> bool:
    """Whether a stored result can be read."""
    from fathom_onnx.runtime.ceilings import ceilings_of

    try:
        ceilings_of(result, str(settings_of(job)))
    except DataError:
        return False
    return True


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
