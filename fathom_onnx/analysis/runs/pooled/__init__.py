"""Rounds pooled: several measurements of one step, each in a process of its own, as one run.

Native runs of the same step come in; a run with the steps of all of them goes out, whose manifest says which steps are
of which round. Rounds of a graph are made one run as they are explained (:mod:`fathom_onnx.profiling`).
"""

from .native import pool_native_runs
from .rounds import pooled_gauge, round_entry, round_sizes

__all__ = ["pool_native_runs", "pooled_gauge", "round_entry", "round_sizes"]
