"""Checkpoints of training runs, with whose values a study runs its cells a second time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fathom_onnx.errors import DataError, UsageError
from fathom_onnx.workloads import definition

from .plan import Cell

if TYPE_CHECKING:
    from fathom_onnx.training import Checkpoint

__all__ = ["checkpoints_of"]


def checkpoints_of(folder: Path, chosen: Sequence[Cell], preset: str) -> dict[Cell, Path]:
    """The newest checkpoint for every cell that has one.

    It is taken from ``WORKLOAD-FRAMEWORK`` below the folder, or else from ``WORKLOAD``, whose values serve the graphs
    of every framework: their parameters have the same names and shapes.

    Args:
        folder: Has a folder of checkpoints for some of the workloads.
        chosen: The cells of a study.
        preset: Their preset.

    Raises:
        DataError: There is none for any cell, or one cannot be read.
        UsageError: One is of another graph.
    """
    from fathom_onnx.training import CheckpointFolder

    fix = "give the folder above those that 'train --checkpoint' wrote, each named WORKLOAD or WORKLOAD-FRAMEWORK"
    newest: dict[Path, Checkpoint] = {}
    found: dict[Cell, Path] = {}
    for cell in chosen:
        places = (folder / f"{cell.workload}-{cell.framework}", folder / cell.workload)
        place = next((place for place in places if place.is_dir()), None)
        if place is None:
            continue
        if place not in newest:
            checkpoint, _ = CheckpointFolder(place).latest()
            if checkpoint is None:
                raise DataError(f"'{place}' has no checkpoint", fix)
            _check(checkpoint, cell.workload, preset)
            newest[place] = checkpoint
        found[cell] = newest[place].path
    if not found:
        named = ", ".join(dict.fromkeys(cell.workload for cell in chosen))
        raise DataError(f"'{folder}' has no checkpoints of {named}", fix)
    return found


def _check(checkpoint: Checkpoint, workload: str, preset: str) -> None:
    """Refuse a checkpoint that lacks a parameter of a workload, or has one of another shape."""
    for parameter in definition(workload).configure(preset).parameters:
        value = checkpoint.values.get(parameter.name)
        if value is None or value.shape != parameter.shape:
            told = "is not in it" if value is None else f"is {list(value.shape)} there, not {list(parameter.shape)}"
            raise UsageError(
                f"checkpoint '{checkpoint.path}' is not of {workload} at preset {preset}: '{parameter.name}' {told}",
                "train the workload at the preset of the study",
            )
