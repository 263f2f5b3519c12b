"""Recipes in TensorFlow: any Keras 3 model or ``tf.Module`` with its loss and optimizer as a workload.

A :class:`~fathom_onnx.recipes.Recipe` comes in. :mod:`.derive` names what the model consists of, traces the ordinary,
stateful step and lifts it to a pure graph; out goes a :class:`~fathom_onnx.recipes.RecipeWorkload`, whose captured step
goes the way of every workload's, and whose step TensorFlow itself runs in :mod:`.reference`.
"""

from .capture import capture_recipe
from .derive import derive
from .gaps import find_gaps, gaps_of
from .giving import give_values
from .reference import RecipeReference

__all__ = ["RecipeReference", "capture_recipe", "derive", "find_gaps", "gaps_of", "give_values"]
