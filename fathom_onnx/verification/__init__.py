"""Verification: a graph against its framework in float64, and the graphs of two frameworks against each other.

A graph and an exporter's reference step come in; a :class:`Check` goes out. :mod:`.double` reads a graph in float64,
:mod:`.judge` judges one step, :mod:`.checks` goes through the steps.
"""

from .check import DOUBLE_LIMIT, SINGLE_FACTOR, UPDATE_LIMIT, Check, Errors
from .checks import verify, verify_pair, verify_pairs
from .compare import Worst

__all__ = [
    "DOUBLE_LIMIT",
    "SINGLE_FACTOR",
    "UPDATE_LIMIT",
    "Check",
    "Errors",
    "Worst",
    "verify",
    "verify_pair",
    "verify_pairs",
]
