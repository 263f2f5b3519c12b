"""The profiler: unprofiled control steps of a graph, then profiled steps of the same optimized model.

A :class:`Round` is what one process recorded of that; a :class:`Measurement` is what one or several rounds say.
"""

from .measurement import Measurement, foreign_nodes, profiled_runs, read_rounds, same_nodes
from .round import ROUND, Round
from .sessions import Progress, record

__all__ = [
    "ROUND",
    "Measurement",
    "Progress",
    "Round",
    "foreign_nodes",
    "profiled_runs",
    "read_rounds",
    "record",
    "same_nodes",
]
