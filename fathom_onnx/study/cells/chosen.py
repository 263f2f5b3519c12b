"""The cells that a study is asked for: workloads of definitions, the user's own models, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fathom_onnx.errors import UsageError
from fathom_onnx.recipes.target import is_target
from fathom_onnx.workloads import names

from .own_models import OwnModel, own_models
from .plan import Cell, cells, own_cells
from .trained import checkpoints_of

__all__ = ["Chosen", "choose_cells"]


@dataclass(frozen=True)
class Chosen:
    """What a study is about.

    Attributes:
        cells: Every cell, those of the user's own models last.
        model_of: The cells of the user's own models, each with its model.
        checkpoint_of: The cells that are run with a checkpoint's values too, each with its checkpoint.
    """

    cells: tuple[Cell, ...]
    model_of: Mapping[Cell, OwnModel] = field(default_factory=dict)
    checkpoint_of: Mapping[Cell, Path] = field(default_factory=dict)

    @property
    def models(self) -> tuple[OwnModel, ...]:
        """The user's own models, each once."""
        return tuple(dict.fromkeys(self.model_of.values()))


def choose_cells(
    preset: str,
    workloads: Sequence[str] | None,
    frameworks: Sequence[str] | None,
    modes: Sequence[str] | None,
    target_options: Mapping[str, Any],
    values: Path | None,
) -> Chosen:
    """The cells that names and targets stand for.

    Args:
        preset: Preset of every workload.
        workloads: Names and targets (``FILE.py:build``); None for the usual suite.
        frameworks: Their names, or None for the usual ones.
        modes: ``inference``, ``training``, or None for both.
        target_options: Arguments of the functions that targets name.
        values: Folder with checkpoints of training runs; None for none.

    Raises:
        UnknownNameError: No such workload, framework, mode or preset.
        UsageError: There is nothing to study, a target cannot be built, or options are given without one.
        DataError: There is no checkpoint for any cell, or one cannot be read.
    """
    targets = [name for name in workloads or () if is_target(name)]
    usual = None if workloads is None else [name for name in workloads if not is_target(name)]
    if target_options and not targets:
        raise UsageError("options are for models of your own, and there is none", "name a FILE.py:build")
    chosen = cells(preset, usual, frameworks, modes)
    checkpoints = {} if values is None else checkpoints_of(values.absolute(), chosen, preset)
    model_of = dict(own_cells(own_models(targets, target_options, frameworks, names()), modes))
    chosen = (*chosen, *model_of)
    if not chosen:
        raise UsageError("there is nothing to study", "name at least one workload, framework and mode")
    return Chosen(chosen, model_of, checkpoints)
