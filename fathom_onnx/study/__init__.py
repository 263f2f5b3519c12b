"""Studies and sweeps: workloads from frameworks in modes, exported, verified, run, compared and reported.

Names of workloads, frameworks and modes come in; a folder of graphs, runs and stored results comes out, with the
report, ``study.json`` and tables of a study, or the tables of a sweep. Importing this room loads nothing that draws.
"""

from .cells import Cell, CellResult, Event, Failure, FinishedRun, Job, Options, Role
from .conduct import run_study
from .engine import STAGES, CallOutcome, ProcessWorkers, Stage, Stages, WorkerCall, Workers
from .result import StudyResult
from .sweep import Axes, run_sweep, sweep_plan
from .sweep_result import SweepResult

__all__ = [
    "STAGES",
    "Axes",
    "CallOutcome",
    "Cell",
    "CellResult",
    "Event",
    "Failure",
    "FinishedRun",
    "Job",
    "Options",
    "ProcessWorkers",
    "Role",
    "Stage",
    "Stages",
    "StudyResult",
    "SweepResult",
    "WorkerCall",
    "Workers",
    "run_study",
    "run_sweep",
    "sweep_plan",
]
