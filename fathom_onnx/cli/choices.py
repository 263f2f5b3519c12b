"""What the options of a command choose: workloads, frameworks, modes, and the cells that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fathom_onnx.errors import UnknownNameError
from fathom_onnx.exporting import FURTHER_FRAMEWORKS, find_exporter, frameworks, usual_frameworks
from fathom_onnx.recipes import RecipeWorkload
from fathom_onnx.recipes.target import is_target
from fathom_onnx.workloads import USUAL_SUITE, definition, names
from fathom_onnx.workloads.contract import MODES, Mode, Workload

from .lines import tell
from .options import pairs
from .targets import read_targets, recipe_modes

__all__ = ["chosen_cells", "chosen_frameworks", "chosen_modes", "chosen_workloads", "named_frameworks"]


def chosen_workloads(
    wanted: Sequence[str],
    preset: str,
    batch: int | None = None,
    changes: Sequence[str] = (),
    suite: str = USUAL_SUITE,
    *,
    rate_input: bool = False,
) -> list[Workload]:
    """The workloads named, those of a suite for none, at a preset with changes; those of recipes by their targets.

    With ``rate_input`` the learning rate of each is an input of its training step.

    Raises:
        UnknownNameError: No such workload, preset or field.
        UsageError: A target cannot be built.
        ExportError: The code of a target fails.
    """
    fields: dict[str, Any] = dict(pairs(changes, "FIELD=VALUE"))
    own = read_targets([name for name in wanted if is_target(name)], fields, rate_input)
    if batch is not None:
        fields["batch"] = batch
    return [
        own[name] if name in own else replace(definition(name).configure(preset, fields), rate_input=rate_input)
        for name in dict.fromkeys(wanted or names(suite))
    ]


def chosen_frameworks(framework: str) -> list[str]:
    """One framework, those of a study for ``usual``, or every one for ``all``; each is known and installed.

    Raises:
        UnknownNameError: No such framework.
        MissingDependencyError: It is not installed.
    """
    known = frameworks()
    several = {"usual": usual_frameworks(), "all": known}
    if framework not in (*several, *known):
        raise UnknownNameError("framework", framework, [*known, *several])
    chosen = list(several.get(framework, [framework]))
    for name in chosen:
        find_exporter(name)
    return chosen


def named_frameworks(names: Sequence[str]) -> Sequence[str] | None:
    """Frameworks by names, every one where ``all`` is among them; None, which is the usual ones, for ``usual``."""
    if "all" in names:
        return frameworks()
    return None if "usual" in names else names


def _has_model(framework: str, workload: Workload) -> bool:
    """Whether a framework has a model of a workload; a line says where it has none."""
    if framework not in FURTHER_FRAMEWORKS or workload.name in find_exporter(framework).workloads():
        return True
    tell(f"left out: workload '{workload.name}' has no model in {framework}", err=True)
    return False


def chosen_modes(mode: str) -> list[Mode]:
    """One mode, or both for ``all``."""
    return [m for m in MODES if mode in (m, "all")]


def chosen_cells(chosen: Sequence[Workload], framework: str, mode: str) -> list[tuple[Workload, str, Mode]]:
    """Workload, framework and mode of every graph: the frameworks asked for, a recipe's being its model's own.

    Of several workloads those that lack a mode are left out of it; and of several frameworks, with a line, those that
    have no model of a workload.

    Raises:
        UsageError: The one workload chosen lacks the mode.
        UnknownNameError: No such framework.
        MissingDependencyError: It is not installed.
    """
    usual = [w for w in chosen if not isinstance(w, RecipeWorkload)]
    modes = chosen_modes(mode)
    if len(chosen) == 1 and usual and not set(modes) & set(usual[0].modes):
        usual[0].check_mode(modes[0])
    cells = [
        (w, f, m)
        for f in (chosen_frameworks(framework) if usual else ())
        for w in usual
        if f == framework or _has_model(f, w)
        for m in modes
        if m in w.modes
    ]
    own = [w for w in chosen if isinstance(w, RecipeWorkload)]
    return cells + [(w, w.framework, m) for w in own for m in recipe_modes(w, modes)]
