"""Rounds of a run pooled: several measurements of one step, each in a process of its own, as one run.

Runs of the same graph (or native runs of the same step) come in; a run with the steps of all of them goes out, whose
manifest says which steps are of which round.
"""

from .native import pool_native_runs
from .rounds import round_sizes
from .runs import pool_runs

__all__ = ["pool_native_runs", "pool_runs", "round_sizes"]
