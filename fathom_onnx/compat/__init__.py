"""Which tools take a graph, and how much of it they see."""

from .compatibility import Compatibility, Reason, judge, judge_all
from .consumers import CONSUMERS, Consumer
from .rules import Facts

__all__ = ["CONSUMERS", "Compatibility", "Consumer", "Facts", "Reason", "judge", "judge_all"]
