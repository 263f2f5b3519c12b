"""onnxruntime's trace: events (:mod:`.events`), runs (:mod:`.runs`), times (:mod:`.steps`), memory (:mod:`.memory`)."""

from .events import TraceEvent, read_events
from .node_runs import NodeRun
from .runs import StepRun, read_runs
from .steps import StepTimes, step_times

__all__ = ["NodeRun", "StepRun", "StepTimes", "TraceEvent", "read_events", "read_runs", "step_times"]
