"""From a recipe to its workload, and to what stands in the way of its graph."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from fathom_onnx.errors import ExportError, FathomError, UsageError, one_line
from fathom_onnx.recipes import Recipe, RecipeWorkload
from fathom_onnx.recipes.batch import tensors
from fathom_onnx.recipes.blame import user_line
from fathom_onnx.recipes.frameworks import framework_of, is_model
from fathom_onnx.workloads.contract import Mode

from .contract import Exporter, Gap, find_exporter

__all__ = ["find_gaps", "read_recipe", "recipe_name"]

_Found = TypeVar("_Found")


def recipe_name(recipe: Recipe) -> str:
    """The name of a recipe's workload and of its graph files: the model's class in lower case.

    Where the model is a structure of arrays, it is the name of the function.
    """
    own = type(recipe.model).__name__
    if not is_model(recipe.model):
        function = getattr(recipe.loss, "func", recipe.loss)
        own = getattr(function, "__name__", own).replace("<lambda>", "step")
    return re.sub(r"[^a-z0-9_]+", "-", own.lower()).strip("-") or "model"


def read_recipe(recipe: Recipe, target: str = "", name: str = "") -> RecipeWorkload:
    """The workload that is read off a recipe by the exporter of its model's framework.

    Args:
        recipe: The recipe.
        target: The target that built it, if any.
        name: The workload's name; that of :func:`recipe_name` by default.

    Raises:
        UsageError: No framework takes the model.
        MissingDependencyError: The framework cannot be used.
        ExportError: The step cannot be recorded.
    """
    framework, exporter = _exporter(recipe)
    read = _called(lambda: exporter.workload(recipe, target), framework, recipe)
    return replace(read, name=name or recipe_name(recipe), target=target, paths=_paths(read))


def find_gaps(recipe: Recipe, mode: Mode) -> tuple[Gap, ...]:
    """What stands in the way of a recipe's graph; nothing where it can be exported.

    Raises:
        UsageError: No framework takes the model.
        UsageError: Training without an optimizer.
        MissingDependencyError: The framework cannot be used.
        ExportError: The step fails before its operations are known.
    """
    recipe.check(mode)
    framework, exporter = _exporter(recipe)
    return _called(lambda: exporter.gaps(recipe, mode), framework, recipe)


def _exporter(recipe: Recipe) -> tuple[str, Exporter]:
    """The framework of a recipe and its exporter."""
    framework = framework_of(recipe.model, recipe.optimizer)
    exporter = find_exporter(framework)
    if recipe.state is not None and is_model(recipe.model):
        raise UsageError(
            f"a model of class {type(recipe.model).__name__} holds its state itself", "leave out the recipe's state"
        )
    if not hasattr(exporter, "workload"):  # one of another package, which takes the workloads that it has models for
        raise ExportError(f"the exporter of {framework} takes no models of your own", "give it a method 'workload'")
    return framework, exporter


def _paths(workload: RecipeWorkload) -> dict[str, Any]:
    """Where each input is in the batch: as the exporter says, else in the order of the batch's tensors."""
    if workload.paths:
        return dict(workload.paths)
    names = [spec.name for spec in workload.batch_inputs("training")]
    found = list(tensors(workload.recipe.batch))
    return dict(zip(names, found, strict=True)) if len(names) == len(found) else {}


def _called(call: Callable[[], _Found], framework: str, recipe: Recipe) -> _Found:
    try:
        return call()
    except FathomError:
        raise
    except Exception as error:  # of the user's model, or of the framework
        place = user_line(error)
        what = f"the step of {type(recipe.model).__name__}{f' at {place}' if place else ''}"
        raise ExportError(f"{framework} cannot read {what}: {type(error).__name__}: {one_line(error)}") from error
