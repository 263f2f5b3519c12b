"""What does the work of studies and sweeps: stages, worker processes, stored results.

A list of jobs comes in; each stage's jobs without a stored result are done in worker processes, and a
:class:`~.pipeline.PlanResult` comes out. No module here loads the report or what it draws with.
"""

from .engine import Engine
from .lock import machine_lock
from .pipeline import PlanResult, carry_out, measure_machine
from .stages import STAGES, Stage, Stages
from .workers import CallOutcome, ProcessWorkers, WorkerCall, Workers

__all__ = [
    "STAGES",
    "CallOutcome",
    "Engine",
    "PlanResult",
    "ProcessWorkers",
    "Stage",
    "Stages",
    "WorkerCall",
    "Workers",
    "carry_out",
    "machine_lock",
    "measure_machine",
]
