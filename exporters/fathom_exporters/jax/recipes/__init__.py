"""Recipes in JAX: any function of a pytree of parameters with an optax transformation as a workload.

A :class:`~fathom_onnx.recipes.Recipe` comes in. :mod:`.reading` names its arrays by their paths, :mod:`.described`
records the function, :mod:`.replay` computes the record anew with the scopes of phases and layers. Out goes a
:class:`~fathom_onnx.recipes.RecipeWorkload`, whose captured step goes the way of every workload's, and whose step JAX
itself runs in :mod:`.reference`.
"""

from .capture import capture_recipe, find_gaps, step_of
from .derive import derive
from .giving import give_values
from .reference import RecipeReference

__all__ = ["RecipeReference", "capture_recipe", "derive", "find_gaps", "give_values", "step_of"]
