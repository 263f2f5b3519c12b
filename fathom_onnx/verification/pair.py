"""Judging one step of two frameworks' graphs against each other, both read in float64."""

from __future__ import annotations

from collections.abc import Mapping

from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .check import Errors
from .compare import Worst, largest, relative_error, worst_of
from .tensors import apart, errors_beside, judged, named_worst

__all__ = ["pair_errors"]

_CANCELLED = 1e-3
"""Part of the largest change of all parameters that is added to each one's scale.

Adam makes a change of 1e-10 of the learning rate out of a gradient that is zero but for rounding.
"""


def pair_errors(
    workload: Workload,
    mode: Mode,
    first: StepResult,
    second: StepResult,
    single: StepResult,
    values: Mapping[str, Array],
) -> Errors:
    """Errors of the second graph's step against the first's, in float64.

    Args:
        workload: The workload.
        mode: The mode.
        first: The step that is right.
        second: The step that is judged.
        single: The first graph's step in float32.
        values: What both started from.
    """
    errors = errors_beside(second, first, {t: apart(single, first, t) for t in judged(workload, mode, first)})
    update = Worst()
    if mode == "training":
        parameters = {p.name: first.outputs[p.next.name] - values[p.name] for p in workload.parameters}
        top = _CANCELLED * max((largest(change) for change in parameters.values()), default=0.0)
        buffers = {b.name for b in workload.buffers}
        rest = [v for v in workload.carried(mode) if v.name not in buffers]
        update = worst_of(
            Worst(v.name, relative_error(second.outputs[v.next.name], first.outputs[v.next.name], top)) for v in rest
        )
    return Errors(
        loss=named_worst(errors, "loss").error,
        gradient=named_worst(errors, "gradient"),
        update=update,
        state=named_worst(errors, "state"),
    )
