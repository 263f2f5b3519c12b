"""The Fathom deep-learning workloads as ONNX graphs: export, verify, run, profile, explain.

What the command line does is here as functions; see ``docs/guide/python.md``. Names are resolved when they are first
used, so that importing the package loads neither a framework nor onnxruntime.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# Official binaries of onnxruntime tell their maker about every session (names and hashes of graphs, times), from a
# thread of their own, unless this is set when they are loaded. Processes that are started from here inherit it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from .analysis.runs.run import Run
    from .api import RunnableWorkload, export, export_step, give_values, run_step, train, verify, workload
    from .errors import FathomError
    from .graph import Graph, load
    from .profiling import profile
    from .reporting import report
    from .trace_profiling import profile_from_trace
    from .verification import Check

__all__ = [
    "Check",
    "FathomError",
    "Graph",
    "Run",
    "RunnableWorkload",
    "export",
    "export_step",
    "give_values",
    "load",
    "profile",
    "profile_from_trace",
    "report",
    "run_step",
    "train",
    "verify",
    "workload",
]

_HOMES = {
    "Check": ("verification", "Check"),
    "FathomError": ("errors", "FathomError"),
    "Graph": ("graph", "Graph"),
    "Run": ("analysis.runs.run", "Run"),
    "RunnableWorkload": ("api", "RunnableWorkload"),
    "export": ("api", "export"),
    "export_step": ("api", "export_step"),
    "give_values": ("api", "give_values"),
    "load": ("graph", "load"),
    "profile": ("profiling", "profile"),
    "profile_from_trace": ("trace_profiling", "profile_from_trace"),
    "report": ("reporting", "report"),
    "run_step": ("api", "run_step"),
    "train": ("api", "train"),
    "verify": ("api", "verify"),
    "workload": ("api", "workload"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
