"""What a study or a sweep consists of: the plan (cells, jobs, options, events) and what became of it (results).

Names and settings come in; a list of jobs goes to the engine, and a :class:`CellResult` a job comes back.
"""

from .plan import Cell, Event, EventKind, Job, OnEvent, Options, Role, cells
from .results import CellResult, Failure, FinishedRun, StageResult

__all__ = [
    "Cell",
    "CellResult",
    "Event",
    "EventKind",
    "Failure",
    "FinishedRun",
    "Job",
    "OnEvent",
    "Options",
    "Role",
    "StageResult",
    "cells",
]
