"""Which tools take a graph, and how much of it they see."""

from .consumers import CONSUMERS, Consumer
from .rules import Facts
from .verdict import Reason, Verdict, judge, judge_all

__all__ = ["CONSUMERS", "Consumer", "Facts", "Reason", "Verdict", "judge", "judge_all"]
