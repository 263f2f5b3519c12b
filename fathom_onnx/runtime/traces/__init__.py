"""onnxruntime's trace: events (:mod:`.events`), steps and node times (:mod:`.steps`), memory (:mod:`.memory`)."""

from .events import TraceEvent, read_events
from .steps import NodeRun, StepRun, StepTimes, read_runs, step_times

__all__ = ["NodeRun", "StepRun", "StepTimes", "TraceEvent", "read_events", "read_runs", "step_times"]
