"""What the machine can do, measured once for each provider and number of threads that a study's runs have."""

from __future__ import annotations

from typing import Any

from fathom_onnx.errors import DataError
from fathom_onnx.study.cells.plan import Job

__all__ = ["Settings", "are_ceilings", "ceilings_cell", "settings_of"]

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
