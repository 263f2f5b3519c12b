"""The recording of a recipe's step for a request."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fathom_exporters.torch.recorded import Capture
from fathom_exporters.torch.recording import record
from fathom_onnx.errors import ExportError
from fathom_onnx.recipes import RecipeWorkload
from fathom_onnx.workloads.contract import Mode, NoiseSource

from .derive import subject_of
from .failing import explained
from .trial import in_mode

__all__ = ["capture_recipe", "values_of"]


def values_of(workload: RecipeWorkload, mode: Mode) -> Mapping[str, Tensor] | None:
    """Values of a step's batch and variables, where it is to be recorded as it is for them; else None."""
    if not workload.recipe.specialise:
        return None
    values = {**workload.example, **workload.initial_values(mode, 0)}
    return {name: torch.tensor(value) for name, value in values.items()}


def capture_recipe(workload: RecipeWorkload, mode: Mode, noise: NoiseSource) -> Capture:
    """Record a step.

    Raises:
        ExportError: It cannot be recorded, or has no such mode.
    """
    if mode == "inference" and not workload.outputs:
        raise ExportError("the model does not run without its loss's inputs in inference", "export the training step")
    subject = subject_of(workload)
    interface = workload.interface(mode, noise)
    values = values_of(workload, mode)
    with explained(subject.model, workload.recipe.specialise), in_mode(subject.model, mode):
        return record(subject, mode, interface, values)
