"""The tensors of a step that are judged, and what each is measured by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .compare import Worst, difference, largest

__all__ = ["Judged", "Kind", "apart", "errors_beside", "found", "judged", "named_worst", "sizes"]

Kind = Literal["loss", "gradient", "state"]
"""What a tensor is: the loss, a gradient, a running statistic; outputs and caches in inference count among the last."""

_ZERO = 1e-9
"""Part of the largest gradient that one is relative to where it is exactly zero, in float32 too."""


@dataclass(frozen=True)
class Judged:
    """One tensor: its kind, and its name among the outputs or, for a gradient, that of its parameter."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        if self.kind == "loss":
            return "the loss"
        return f"{'gradient of ' if self.kind == 'gradient' else ''}'{self.name}'"


def judged(workload: Workload, mode: Mode, expected: StepResult) -> list[Judged]:
    """What is compared directly; what the optimizer makes of gradients is judged apart."""
    if mode == "inference":
        return [Judged("state", output.name) for output in workload.interface(mode).outputs]
    buffers = [Judged("state", b.next.name) for b in workload.buffers]
    return [Judged("loss", Workload.LOSS), *(Judged("gradient", name) for name in expected.gradients), *buffers]


def found(result: StepResult, tensor: Judged) -> Array | None:
    """A tensor of a step; None where the step has none."""
    return (result.gradients if tensor.kind == "gradient" else result.outputs).get(tensor.name)


def sizes(expected: StepResult, tensors: Iterable[Judged]) -> dict[Judged, float]:
    """The largest value of each tensor that the step has."""
    return {tensor: largest(value) for tensor in tensors if (value := found(expected, tensor)) is not None}


def errors_beside(result: StepResult, expected: StepResult, rounding: Mapping[Judged, float]) -> dict[Judged, float]:
    """Error of each tensor in float64, relative to what it is made of.

    A gradient that is zero by cancellation (of a bias before a normalisation, of an attention's keys) is 1e-17 of its
    terms after rounding, in whatever order they are summed. Their size shows in float32, whose rounding of them is
    5e8 times as large.

    Args:
        result: The step that is judged.
        expected: The step that is right.
        rounding: The tensors, and how far off each is in float32 from the same values.
    """
    largest_values = sizes(expected, rounding)
    top = max((size for tensor, size in largest_values.items() if tensor.kind == "gradient"), default=0.0)
    errors = {}
    for tensor, size in largest_values.items():
        own = rounding[tensor] if np.isfinite(rounding[tensor]) else 0.0
        scale = size + own
        if not scale and tensor.kind == "gradient":
            scale = _ZERO * top
        error = apart(result, expected, tensor)
        errors[tensor] = (error / scale if scale else float("inf")) if error else 0.0
    return errors


def apart(result: StepResult, expected: StepResult, tensor: Judged) -> float:
    """Largest difference of a tensor in two steps: infinite where ``result`` lacks it, 0 where nothing is expected."""
    value, reference = found(result, tensor), found(expected, tensor)
    if reference is None:
        return 0.0
    return float("inf") if value is None else difference(value, reference)


def named_worst(errors: Mapping[Judged, float], kind: Kind) -> Worst:
    """The worst tensor of a kind."""
    return max((Worst(t.name, e) for t, e in _of(errors, kind)), key=lambda worst: worst.error, default=Worst())


def _of(errors: Mapping[Judged, float], kind: Kind) -> Iterator[tuple[Judged, float]]:
    return ((tensor, error) for tensor, error in errors.items() if tensor.kind == kind)
