"""Traced graphs of TensorFlow: lifted to pure ones, with their random draws taken out, or widened to float64.

Nothing here knows of models, optimizers or workloads.
"""

from .building import SHAPES
from .lifted import Held, Lifted, Refused, shared_sums
from .lifting import lift
from .noise import Draws, draw_order, find_draws
from .widening import widen

__all__ = ["SHAPES", "Draws", "Held", "Lifted", "Refused", "draw_order", "find_draws", "lift", "shared_sums", "widen"]
