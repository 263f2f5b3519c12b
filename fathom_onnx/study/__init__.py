"""A study: every workload from every framework in every mode, made, verified, run, compared, reported."""

from .conduct import run_study
from .plan import Cell, Event, Job, Options
from .result import CellResult, Failure, StudyResult
from .stages import STAGES, Stage, Stages
from .workers import Call, Outcome, ProcessWorkers, Workers

__all__ = [
    "STAGES",
    "Call",
    "Cell",
    "CellResult",
    "Event",
    "Failure",
    "Job",
    "Options",
    "Outcome",
    "ProcessWorkers",
    "Stage",
    "Stages",
    "StudyResult",
    "Workers",
    "run_study",
]
