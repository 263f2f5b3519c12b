"""Models of the user's own in a plan: built once to learn class and framework, and again where they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import read_recipe, recipe_name
from fathom_onnx.recipes import RecipeWorkload
from fathom_onnx.recipes.frameworks import framework_of
from fathom_onnx.recipes.target import Target
from fathom_onnx.workloads.contract import MODES, Mode

__all__ = ["OwnModel", "own_models"]


@dataclass(frozen=True)
class OwnModel:
    """A target in a plan, without the model that it builds; it is sent to other processes.

    Attributes:
        target: The target.
        name: Name of its workload, different from all others of the plan.
        framework: The framework of its model.
        model: The model's class.
        modes: The modes that its recipe has all parts for.
        digest: A hash of what the recipe is built from: options, file, local modules.
    """

    target: Target
    name: str
    framework: str
    model: str
    modes: tuple[Mode, ...]
    digest: str

    @property
    def summary(self) -> str:
        """What it is, in one line."""
        return f"a model of class {self.model}, built by {self.target.text}"

    def workload(self) -> RecipeWorkload:
        """The workload that is read off its recipe, which is built in this process where it is not yet there."""
        return _workload(self)


@lru_cache(maxsize=1)
def _workload(own: OwnModel) -> RecipeWorkload:
    return read_recipe(own.target.build(), own.target.text, own.name)


def own_models(
    texts: Sequence[str], options: Mapping[str, Any], frameworks: Sequence[str] | None, taken: Sequence[str]
) -> tuple[OwnModel, ...]:
    """The models that targets build.

    Args:
        texts: The targets.
        options: Arguments of their functions.
        frameworks: The frameworks asked for; None for all.
        taken: Names that other workloads have.

    Raises:
        UsageError: A target cannot be built, no framework takes its model, or it is of one that was not asked for.
        ExportError: The user's code fails.
    """
    found: list[OwnModel] = []
    for text in dict.fromkeys(texts):
        target = Target.parse(text, {n: tuple(v) if isinstance(v, list) else v for n, v in options.items()})
        recipe = target.build()
        framework = framework_of(recipe.model)
        if frameworks is not None and framework not in frameworks:
            asked = ", ".join(frameworks)
            raise UsageError(
                f"the model of '{text}' is one of {framework}, not of {asked}", "ask for its framework too"
            )
        modes = MODES if recipe.trains else MODES[:1]
        model = type(recipe.model).__name__
        found.append(OwnModel(target, recipe_name(recipe), framework, model, modes, target.digest()))
    names = [*taken]
    for number, own in enumerate(found):
        name, further = own.name, 1
        while name in names:
            further += 1
            name = f"{own.name}-{further}"
        names.append(name)
        found[number] = replace(own, name=name)
    return tuple(found)
