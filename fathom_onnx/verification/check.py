"""What a comparison found, and its faults in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fathom_onnx.workloads.contract import Mode

from .compare import Worst

__all__ = ["DOUBLE_LIMIT", "DRIFT_FACTOR", "DRIFT_LIMIT", "SINGLE_FACTOR", "UPDATE_LIMIT", "Check", "Errors"]

DOUBLE_LIMIT = 1e-6
"""Error in float64, relative to a tensor's largest value.

Rounding of float64 explains 1e-11 in the most ill-conditioned of our graphs. What is left is for constants that a file
holds in float32: they are off by 6e-8 where they are no simple number. A gradient that is wrong by 1e-5 is found.
"""

SINGLE_FACTOR = 4.0
"""How many times the framework's own error in float32 that of the graph may be.

Both sum in an order of their own, so that errors differ by a factor of two or three where both are right.
"""

UPDATE_LIMIT = 1e-4
"""Error of an update in float32, relative to the largest change, beyond the rounding of the parameter itself.

Optimizers that correct Adam's bias with a tensor compute 1 - 0.999**t in float32, which is off by 3e-5 at the first
step. Where the framework's own update in float32 is off by more, it may be ``SINGLE_FACTOR`` times as much.
"""

DRIFT_LIMIT = 1e-5
"""Relative error of the loss in a free run."""

DRIFT_FACTOR = 10.0
"""How many times farther from float64 than the framework's own float32 the losses of a free run may drift.

The framework's own is that of the free run or, where float32 explains more of one step's loss, that.
"""


@dataclass(frozen=True)
class Errors:
    """The largest errors of one or more steps.

    Attributes:
        loss: Relative error of the loss in float64 (training).
        gradient: Worst gradient in float64 (training), by parameter.
        update: Worst new parameter or optimizer state in float64 (training), against the framework's own optimizer on
            the graph's gradients. Parameters are judged by their change.
        state: Worst running statistic (training) or output (inference) in float64.
        single: Worst tensor in float32: its error as a multiple of the framework's own in float32.
        single_update: Worst new parameter or optimizer state in float32, as a multiple of its limit.
        loss_rounding: Relative error of the loss that float32 explains: the framework's own, with rounded values too
            where that was asked for, and that of onnxruntime's kernels (training).
    """

    loss: float = 0.0
    gradient: Worst = field(default_factory=Worst)
    update: Worst = field(default_factory=Worst)
    state: Worst = field(default_factory=Worst)
    single: Worst = field(default_factory=Worst)
    single_update: Worst = field(default_factory=Worst)
    loss_rounding: float = 0.0

    def max(self, other: Errors) -> Errors:
        """The larger of each."""
        return Errors(
            self.loss if other.loss <= self.loss else other.loss,
            self.gradient.max(other.gradient),
            self.update.max(other.update),
            self.state.max(other.state),
            self.single.max(other.single),
            self.single_update.max(other.single_update),
            max(self.loss_rounding, other.loss_rounding),
        )

    @property
    def in_double(self) -> float:
        """The largest error in float64."""
        return max(self.loss, self.gradient.error, self.update.error, self.state.error)


@dataclass(frozen=True)
class Check(Errors):
    """The outcome of one comparison: its errors, and what was compared.

    Attributes:
        workload: Workload name.
        mode: ``inference`` or ``training``.
        left: The side that was judged, for example ``torch graph``.
        right: The side it was judged against, for example ``torch``.
        steps: Steps compared, each from the same values.
        free_losses: Per step of a free run from the same start: the graph's relative loss error and the framework's
            own in float32, both against float64 (training).
        faults: Every quantity over its limit; empty when the check passed.
    """

    workload: str = ""
    mode: Mode = "training"
    left: str = ""
    right: str = ""
    steps: int = 0
    free_losses: tuple[tuple[float, float], ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything is within its limit."""
        return not self.faults

    def json(self) -> dict[str, Any]:
        """The check as a JSON object."""
        return {**asdict(self), "passed": self.passed}

    def with_errors(self, errors: Errors) -> Check:
        """This check with the errors of its steps, and the faults among them."""
        fields = {name: getattr(errors, name) for name in Errors.__dataclass_fields__}
        made = replace(self, **fields)
        return replace(made, faults=_faults(made))


def _faults(check: Check) -> tuple[str, ...]:
    """What is over its limit. Comparisons are written so that a NaN is a fault."""
    faults = []
    if not check.loss <= DOUBLE_LIMIT:
        faults.append(f"loss is off by {check.loss:.1e} in float64, over {DOUBLE_LIMIT:.0e}")
    kinds = (
        ("gradient of", check.gradient),
        ("update of", check.update),
        ("state" if check.mode == "training" else "output", check.state),
    )
    for kind, worst in kinds:
        if not worst.error <= DOUBLE_LIMIT:
            faults.append(f"{kind} '{worst.name}' is off by {worst.error:.1e} in float64, over {DOUBLE_LIMIT:.0e}")
    if not check.single.error <= SINGLE_FACTOR:
        faults.append(
            f"{check.single.name} is off by {check.single.error:.1f} times as much as {check.right} itself in float32, "
            f"over {SINGLE_FACTOR:.0f}"
        )
    if not check.single_update.error <= 1:
        faults.append(f"update of '{check.single_update.name}' in float32 is {check.single_update.error:.1f} its limit")
    if check.free_losses:
        drift, native = (max(drifts) for drifts in zip(*check.free_losses, strict=True))
        if not drift <= max(DRIFT_LIMIT, DRIFT_FACTOR * max(native, check.loss_rounding)):
            faults.append(f"losses of the free run drift {drift:.1e}, the framework's own float32 {native:.1e}")
    return tuple(faults)
