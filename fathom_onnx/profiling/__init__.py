"""Profiling: run a graph, find out what each executed node stands for, and keep it all in a run folder."""

from .attributing import attribute
from .fed import FedGraph
from .output import run_output
from .profile import profile, profile_graph
from .rounds import explain_rounds, measure_round

__all__ = ["FedGraph", "attribute", "explain_rounds", "measure_round", "profile", "profile_graph", "run_output"]
