"""Targets among the workloads that a command is given: the recipes that they build, and their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import OutputError, UsageError
from fathom_onnx.exporting import read_recipe, recipe_name
from fathom_onnx.graph import load_structure
from fathom_onnx.recipes import PRESET, Recipe, RecipeWorkload
from fathom_onnx.recipes.frameworks import framework_of
from fathom_onnx.recipes.target import Target, is_target
from fathom_onnx.workloads.contract import Mode, Workload

__all__ = ["build_recipe", "read_targets", "recipe_modes", "recipe_options", "refuse_preset", "refuse_replacing"]

F = TypeVar("F", bound=Callable[..., Any])

_NOT_FOR_TARGETS = {
    "preset": "a recipe is of the size that its function gives it: let --set change an argument of that",
    "batch": "a graph is made for the batch of its recipe: let --set change an argument of the function",
}
"""Options that only mean something to workloads, and what to do instead."""


def recipe_options(command: F) -> F:
    """``--accumulate`` and ``--specialise``."""
    for option in (
        click.option(
            "--specialise",
            is_flag=True,
            help="Of a FILE.py:build: record what depends on the values of its batch as it is for that batch.",
        ),
        click.option(
            "--accumulate",
            type=click.IntRange(min=1),
            metavar="N",
            help="Of a FILE.py:build: cut its batch into N parts and add up their gradients before the update.",
        ),
    ):
        command = option(command)
    return command


def _given(name: str) -> bool:
    """Whether the user gave an option of the running command, by the name of its parameter."""
    context = click.get_current_context(silent=True)
    source = context.get_parameter_source(name) if context else None
    return source not in (None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def _of_the_command(name: str) -> Any:
    context = click.get_current_context(silent=True)
    return context.params.get(name) if context else None


def _target(text: str, changes: Mapping[str, Any], rate_input: bool) -> Target:
    for name, advice in _NOT_FOR_TARGETS.items():
        if _given(name):
            raise UsageError(f"--{name} is not for '{text}'", advice)
    accumulate, specialise = _of_the_command("accumulate"), bool(_of_the_command("specialise"))
    return Target.parse(text, changes, accumulate, specialise, rate_input)


def refuse_preset(names: Sequence[str]) -> None:
    """Refuse ``--preset`` where all workloads that a command is given are targets.

    Raises:
        UsageError: It was given.
    """
    if names and all(is_target(name) for name in names) and _given("preset"):
        raise UsageError(f"--preset is not for '{names[0]}'", _NOT_FOR_TARGETS["preset"])


def build_recipe(text: str, changes: Mapping[str, Any], rate_input: bool = False) -> tuple[Target, Recipe]:
    """The recipe of a target under the options of the running command, if wanted with the learning rate as an input.

    Raises:
        UsageError: It cannot be built, no framework takes its model, or an option is not for targets.
        ExportError: The user's code fails.
    """
    target = _target(text, changes, rate_input)
    recipe = target.build()
    framework = framework_of(recipe.model, recipe.optimizer)
    asked = _of_the_command("framework")
    if _given("framework") and asked not in ("all", "usual", framework):
        raise UsageError(f"the model of '{text}' is one of {framework}, not of {asked}", "leave out --framework")
    return target, recipe


def read_targets(
    texts: Sequence[str], changes: Mapping[str, Any], rate_input: bool = False
) -> dict[str, RecipeWorkload]:
    """The workloads of targets, each under a name of its own, by what was given.

    Raises:
        UsageError: A target cannot be built, no framework takes its model, or an option is not for targets.
        ExportError: The user's code fails, or its step cannot be recorded.
    """
    for name in ("accumulate", "specialise"):
        if not texts and _given(name):
            raise UsageError(f"--{name} is for a model of your own", "name a FILE.py:build")
    built = {text: build_recipe(text, changes, rate_input) for text in dict.fromkeys(texts)}
    names = _names({text: (target, recipe_name(recipe)) for text, (target, recipe) in built.items()})
    return {text: read_recipe(recipe, text, names[text]) for text, (_, recipe) in built.items()}


def _names(given: Mapping[str, tuple[Target, str]]) -> dict[str, str]:
    """Different names: that of the model's class where no other target has it, else with the function's or file's."""
    names = {text: name for text, (_, name) in given.items()}
    places = {text: _place(target, number) for number, (text, (target, _)) in enumerate(given.items(), 1)}
    for part in range(3):
        taken = list(names.values())
        names = {t: f"{name}-{places[t][part]}" if taken.count(name) > 1 else name for t, name in names.items()}
    return names


def _place(target: Target, number: int) -> tuple[str, str, str]:
    """What tells a target from another: its function, its file or module, its place among those given."""
    module = Path(target.module).stem if target.module.endswith(".py") else target.module.rpartition(".")[2]
    return target.function, module, str(number)


def recipe_modes(workload: RecipeWorkload, modes: Sequence[Mode]) -> list[Mode]:
    """The modes of a recipe's graphs among those asked for: not training, beside another one, without an optimizer.

    Where training alone was asked for, the export says what is missing.
    """
    if not workload.recipe.trains and len(modes) > 1:
        tell(f"{workload.target}: its recipe has no optimizer, and so no training graph", err=True)
        return ["inference"]
    return list(modes)


def refuse_replacing(path: Path, workload: Workload) -> None:
    """Refuse to write a graph in the place of another recipe's, or a recipe's in the place of a workload's.

    Raises:
        OutputError: The file is such a graph.
    """
    held = load_structure(path).metadata if path.is_file() else None
    if held is None:
        return
    target = workload.target if isinstance(workload, RecipeWorkload) else ""
    before = (held.preset == PRESET, held.target)
    if before != (isinstance(workload, RecipeWorkload), target):
        of = f"'{held.target}'" if held.target else f"the {'recipe' if before[0] else 'workload'} '{held.workload}'"
        raise OutputError(f"'{path}' is the graph of {of}", "choose another folder, or a file, with -o")
