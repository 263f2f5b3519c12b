"""A profiled run: its tables, its sums and its files.

Input: the attribution of the executed nodes, the times of the steps (and of a device), and the facts of the run.
Output: a :class:`Run`, saved to and loaded from a run folder. A :class:`NativeRun` is the same for a profile by the
framework itself. :func:`rooflines` compares a run with the ceilings of its machine; :func:`timeline_lines` writes its
timeline for Perfetto.
"""

from .control_flow import control_facts
from .kernels import device_facts
from .memory_use import memory_facts
from .native_run import NativeRun, build_native_run
from .roofline import Roofline, rooflines
from .run import Run, build_run
from .steps import count_steps
from .time_groups import GROUPINGS, Grouping
from .timeline import timeline_lines

__all__ = [
    "GROUPINGS",
    "Grouping",
    "NativeRun",
    "Roofline",
    "Run",
    "build_native_run",
    "build_run",
    "control_facts",
    "count_steps",
    "device_facts",
    "memory_facts",
    "rooflines",
    "timeline_lines",
]
