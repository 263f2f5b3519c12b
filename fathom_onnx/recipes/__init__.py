"""Recipes: a user's own model with its example batch, loss and optimizer, and the workload that is read off them.

A :class:`Recipe`, or the name of a function that builds one (a *target*, :mod:`.target`), comes in; the framework's
exporter reads a :class:`RecipeWorkload` off it, which goes the way of every workload. Nothing here loads a framework.
"""

from .recipe import PRESET, Recipe, RecipeWorkload

__all__ = ["PRESET", "Recipe", "RecipeWorkload"]
