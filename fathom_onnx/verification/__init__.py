"""Verification: a graph against its framework in float64, and the graphs of two frameworks against each other."""

from .checks import FLIP_LIMIT, LOSS_LIMIT, TENSOR_LIMIT, Check, verify, verify_pair
from .compare import Flips, Worst

__all__ = ["FLIP_LIMIT", "LOSS_LIMIT", "TENSOR_LIMIT", "Check", "Flips", "Worst", "verify", "verify_pair"]
