"""Judging one step of a framework's graph against another's, both read in float64."""

from __future__ import annotations

from collections.abc import Mapping

from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array

from .check import Errors
from .compare import Worst, worst_of
from .subject import Subject
from .tensors import apart, errors_beside, judged, named_worst
from .updates import update_errors

__all__ = ["pair_errors"]


def pair_errors(first: Subject, second: Subject, values: Mapping[str, Array]) -> tuple[Errors, StepResult]:
    """Errors of the second graph's step against the first's, in float64, and the second's step.

    The first graph's optimizer is given the second's gradients, so that a parameter whose gradient is zero but for
    rounding, which Adam moves by a full learning rate, moves the same way.

    Args:
        first: The graph that is right.
        second: The graph that is judged, of the same workload and mode.
        values: What both start from.

    Raises:
        RunError: A graph cannot be run.
    """
    right, made, single = first.double(values), second.double(values), first.evaluator.step(values)
    tensors = judged(first.workload, first.mode, right)
    errors = errors_beside(made, right, {tensor: apart(single, right, tensor) for tensor in tensors})
    update = Worst()
    if first.mode == "training":
        updated = first.updated(values, made.gradients)
        carried = {v.next.name for v in first.workload.carried("training")}
        expected = updated or {name: value for name, value in right.outputs.items() if name in carried}
        update = worst_of(update_errors(expected, values, made).values())
    return (
        Errors(
            loss=named_worst(errors, "loss").error,
            gradient=named_worst(errors, "gradient"),
            update=update,
            state=named_worst(errors, "state"),
        ),
        made,
    )
