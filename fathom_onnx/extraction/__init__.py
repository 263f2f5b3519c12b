"""A node of a run, or a layer, as a graph of its own, and its time alone beside its time in the run.

A run folder and a name come in. :mod:`.subjects` finds what is meant in the run, :mod:`.constants` gives its constants
values, :mod:`.cutting` writes the graph and :mod:`.alone` runs it.
"""

from .alone import Timing, time_alone, time_in_run
from .cutting import Cut, cut
from .subjects import Kind, Subject, find_subject

__all__ = ["Cut", "Kind", "Subject", "Timing", "cut", "find_subject", "time_alone", "time_in_run"]
