"""Recipes in PyTorch: from a user's own module, its batch, loss and optimizer to a workload that can be recorded.

In comes a :class:`~fathom_onnx.recipes.Recipe`; :func:`derive` reads the workload off it, :func:`subject_of` gives what
is recorded, :class:`RecipeReference` runs the module as it is, :func:`find_gaps` lists what stands in the way.
"""

from .capture import capture_recipe
from .derive import derive, subject_of
from .failing import is_of_recording
from .gaps import find_gaps, gaps_of
from .giving import give_values
from .reference import RecipeReference

__all__ = [
    "RecipeReference",
    "capture_recipe",
    "derive",
    "find_gaps",
    "gaps_of",
    "give_values",
    "is_of_recording",
    "subject_of",
]
