"""The ceilings stage: what the machine can do with a provider and a number of threads."""

from __future__ import annotations

from dataclasses import replace

from fathom_onnx.errors import DataError
from fathom_onnx.study.cells.plan import Job
from fathom_onnx.study.cells.results import StageResult

__all__ = ["CeilingsKey", "are_ceilings", "ceilings_key", "measure_job_ceilings"]

CeilingsKey = tuple[str, int]
"""Provider and threads: what ceilings are measured for."""


def ceilings_key(job: Job) -> CeilingsKey:
    """The provider and the threads of a job."""
    return job.options.ep, job.options.threads


def measure_job_ceilings(job: Job) -> StageResult:
    """Measure the ceilings with a job's provider and threads."""
    from fathom_onnx.runtime.ceilings.measured import measure_ceilings

    # serialized launching is for the host's times of nodes: no ceiling is made of these
    return measure_ceilings(replace(job.options.session, serialize=False)).as_json()


def are_ceilings(job: Job, result: StageResult) -> bool:
    """Whether a stored result can be read."""
    from fathom_onnx.runtime.ceilings import ceilings_of

    try:
        ceilings_of(result, str(ceilings_key(job)))
    except DataError:
        return False
    return True
