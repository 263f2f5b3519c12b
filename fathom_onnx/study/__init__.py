"""Studies and sweeps: workloads from frameworks in modes, made, verified, run, compared, reported."""

from .cells.plan import Cell, Event, Job, Options
from .cells.results import CellResult, Failure, Reading
from .conduct import run_study
from .engine.stages import STAGES, Stage, Stages
from .engine.workers import Call, Outcome, ProcessWorkers, Workers
from .result import StudyResult
from .sweep import Axes, run_sweep, sweep_plan
from .sweep_result import SweepResult

__all__ = [
    "STAGES",
    "Axes",
    "Call",
    "Cell",
    "CellResult",
    "Event",
    "Failure",
    "Job",
    "Options",
    "Outcome",
    "ProcessWorkers",
    "Reading",
    "Stage",
    "Stages",
    "StudyResult",
    "SweepResult",
    "Workers",
    "run_study",
    "run_sweep",
    "sweep_plan",
]
