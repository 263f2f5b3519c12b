"""Compatibility of graphs with tools: from a graph to whether each consumer accepts it, and how much of it it sees."""

from .compatibility import Compatibility, Reason, judge, judge_all
from .consumers import CONSUMERS, Consumer
from .facts import Facts

__all__ = ["CONSUMERS", "Compatibility", "Consumer", "Facts", "Reason", "judge", "judge_all"]
