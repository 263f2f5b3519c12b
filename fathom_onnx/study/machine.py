"""What the machine can do, measured once for each provider and number of threads that a study's runs have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from .plan import Job
from .providers import device_inputs
from .store import source_hash, version_of

if TYPE_CHECKING:
    from ..runtime.ceilings import Ceilings
    from .engine import Engine
    from .stages import Stage

__all__ = ["Settings", "are_ceilings", "ceilings_cell", "ceilings_inputs", "measured_ceilings", "settings_of"]

Settings = tuple[str, int]
"""Provider and threads: what ceilings are measured for."""

_SOURCES = tuple(f"runtime/{name}.py" for name in ("ceilings", "prepare", "providers", "session", "settings"))


def settings_of(job: Job) -> Settings:
    """The provider and the threads of a job."""
    return job.options.ep, job.options.threads


def ceilings_cell(job: Job) -> dict[str, Any]:
    """Measure the ceilings with a job's provider and threads."""
    from ..runtime.ceilings import measure_ceilings
    from ..runtime.settings import SessionSettings

    return measure_ceilings(SessionSettings(*settings_of(job))).as_json()


def ceilings_inputs(job: Job) -> dict[str, Any]:
    """What ceilings depend on."""
    import platform

    from ..runtime.environment import cpu_cores, cpu_model

    return {
        "ep": job.options.ep,
        "threads": job.options.threads,
        "onnxruntime": {name: version_of(name) for name in ("onnxruntime", "onnxruntime-gpu")},
        "machine": [platform.machine(), cpu_model(), cpu_cores()],
        **device_inputs(job.options.ep),
        "sources": source_hash(_SOURCES),
    }


def are_ceilings(job: Job, result: dict[str, Any]) -> bool:
    """Whether a stored result can be read."""
    from ..runtime.ceilings import ceilings_of

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
    from ..runtime.ceilings import ceilings_of

    if stage is None:
        return {}
    jobs = {settings_of(run): replace(run, machine=True) for run in runs}
    done = engine.stage(stage, list(jobs.values()), alone=True)
    return {
        settings: ceilings_of(done.results[job], str(settings)) for settings, job in jobs.items() if job in done.results
    }
