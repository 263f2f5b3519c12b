"""Judging what an optimizer makes of gradients."""

from __future__ import annotations

from collections.abc import Mapping

from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array

from .compare import Worst, change_error, relative_error

__all__ = ["update_errors"]


def update_errors(
    expected: Mapping[str, Array], values: Mapping[str, Array], result: StepResult, least: float = 0.0
) -> dict[str, Worst]:
    """Errors of new parameters, judged by their change, and of optimizer state, judged by its size, by output.

    Args:
        expected: What the outputs must be, made of the gradients of ``result``.
        values: What the step started from.
        result: The step that is judged.
        least: Added to the size of state.
    """
    errors = {}
    for name, value in expected.items():
        variable = name.removesuffix(".next")
        made = result.outputs.get(name)
        if made is None:
            error = float("inf")
        elif variable in result.gradients:
            error = change_error(values[variable], made, value)
        else:
            error = relative_error(made, value, least)
        errors[name] = Worst(variable, error)
    return errors
