"""Data sources: from a workload or a graph to endless batches of real, simulated or synthetic input values.

:data:`SOURCES` is the table of them; the modules in the folders below implement one each; :mod:`.streams` gives the
batches. Values that a caller gives take the place of any of them (:mod:`.given`); :func:`run_batches` puts both
together for a run.
"""

from .contract import Batch, BatchRequest, Source
from .feeding import Feeds, run_batches
from .given.files import read_input_files
from .given.fitting import GivenBatches
from .given.loading import load_with_inputs, read_inputs
from .sources import EXAMPLE, SOURCES, named_source, usual_source
from .streams import DISTINCT_BATCHES, batches, batches_for, batches_for_graph, source_for_graph, workload_of

__all__ = [
    "DISTINCT_BATCHES",
    "EXAMPLE",
    "SOURCES",
    "Batch",
    "BatchRequest",
    "Feeds",
    "GivenBatches",
    "Source",
    "batches",
    "batches_for",
    "batches_for_graph",
    "load_with_inputs",
    "named_source",
    "read_input_files",
    "read_inputs",
    "run_batches",
    "source_for_graph",
    "usual_source",
    "workload_of",
]
