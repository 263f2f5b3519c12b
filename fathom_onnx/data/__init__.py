"""Data sources: where the batches of a run come from, and whether they are real, simulated or synthetic."""

from .contract import Batch, BatchRequest, Source
from .sources import SOURCES, batches, batches_for, batches_for_graph, source_for_graph, usual_source, workload_of

__all__ = [
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
