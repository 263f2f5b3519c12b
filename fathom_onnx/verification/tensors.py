"""The tensors of a step that are judged, and what each is measured by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .compare import Worst, largest

__all__ = ["CANCELLED", "Judged", "Kind", "found", "judged", "named_worst", "scales"]

Kind = Literal["loss", "gradient", "state"]
"""What a tensor is: the loss, a gradient, a running statistic; outputs in inference count among the last."""

CANCELLED = 1e-9
"""Part of the largest gradient that is added to each gradient's own scale.

A gradient that is zero by cancellation (of a bias before a normalisation) is 1e-17 of the largest after rounding, in
whatever order it is summed.
"""


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
        return [Judged("state", output.name) for output in workload.outputs]
    buffers = [Judged("state", b.next.name) for b in workload.buffers]
    return [Judged("loss", Workload.LOSS), *(Judged("gradient", name) for name in expected.gradients), *buffers]


def found(result: StepResult, tensor: Judged) -> Array | None:
    """A tensor of a step; None where the step has none."""
    return (result.gradients if tensor.kind == "gradient" else result.outputs).get(tensor.name)


def scales(expected: StepResult, tensors: list[Judged]) -> dict[Judged, float]:
    """What each tensor's error is relative to: its largest value, and a part of that of the largest gradient."""
    sizes = {tensor: largest(value) for tensor in tensors if (value := found(expected, tensor)) is not None}
    top = max((size for tensor, size in sizes.items() if tensor.kind == "gradient"), default=0.0)
    return {tensor: size + (CANCELLED * top if tensor.kind == "gradient" else 0.0) for tensor, size in sizes.items()}


def named_worst(errors: Mapping[Judged, float], kind: Kind) -> Worst:
    """The worst tensor of a kind."""
    return max((Worst(t.name, e) for t, e in _of(errors, kind)), key=lambda worst: worst.error, default=Worst())


def _of(errors: Mapping[Judged, float], kind: Kind) -> Iterator[tuple[Judged, float]]:
    return ((tensor, error) for tensor, error in errors.items() if tensor.kind == kind)
