"""Data sources: from a workload or a graph to endless batches of real, simulated or synthetic input values.

:data:`SOURCES` is the table of them; the modules in the folders below implement one each.
"""

from .contract import Batch, BatchRequest, Source
from .sources import (
    DISTINCT_BATCHES,
    SOURCES,
    batches,
    batches_for,
    batches_for_graph,
    source_for_graph,
    usual_source,
    workload_of,
)

__all__ = [
    "DISTINCT_BATCHES",
    "SOURCES",
    "Batch",
    "BatchRequest",
    "Source",
    "batches",
    "batches_for",
    "batches_for_graph",
    "source_for_graph",
    "usual_source",
    "workload_of",
]
