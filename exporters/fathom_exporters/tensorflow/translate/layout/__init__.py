"""The layout of images in a translated graph: where channels are first, where last, and the transposes between.

Handlers of operations on images take and give channels first (:mod:`..images`), and transpose around themselves what
the model has with the channels last. :class:`AssignLayouts` decides for the whole graph which of these are needed.
"""

from __future__ import annotations

from .assign import AssignLayouts
from .permutations import to_first, to_last

__all__ = ["AssignLayouts", "to_first", "to_last"]
