"""Judging one step of a framework's graph against another's, both read in float64."""

from __future__ import annotations

from collections.abc import Mapping

from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array

from .check import Errors
from .compare import Worst, worst_of
from .double import exactly
from .subject import Subject
from .tensors import Judged, apart, errors_beside, judged, named_worst
from .updates import update_errors

__all__ = ["Side", "Widened", "pair_errors"]


class Widened:
    """The values that pairs start from, in float64: made once for all graphs that are given the very same."""

    def __init__(self) -> None:
        self._values: Mapping[str, Array] = {}
        self._wide: dict[str, Array] = {}

    def of(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Values in float64."""
        if not _are_the_same(values, self._values):
            self._values, self._wide = values, exactly(values)
        return self._wide


class Side:
    """A graph that is one side of several pairs: what it makes of the same values is computed once for all of them.

    Args:
        subject: The graph.
        widened: What all sides take their values in float64 from.
    """

    def __init__(self, subject: Subject, widened: Widened) -> None:
        self.subject, self.widened = subject, widened
        self._values: Mapping[str, Array] = {}
        self._double: StepResult | None = None
        self._rounding: dict[Judged, float] | None = None

    def double(self, values: Mapping[str, Array]) -> StepResult:
        """The graph's own step in float64.

        Raises:
            RunError: The graph cannot be evaluated in float64.
        """
        if not _are_the_same(values, self._values):
            self.forget()
            self._values = values
        if self._double is None:
            self._double = self.subject.double(self.widened.of(values))
        return self._double

    def rounding(self, values: Mapping[str, Array]) -> dict[Judged, float]:
        """How far off what is judged is in onnxruntime, in float32.

        Raises:
            RunError: The graph cannot be run.
        """
        exact = self.double(values)
        if self._rounding is None:
            single = self.subject.evaluator.step(values)
            tensors = judged(self.subject.workload, self.subject.mode, exact)
            self._rounding = {tensor: apart(single, exact, tensor) for tensor in tensors}
        return self._rounding

    def forget(self) -> None:
        """Let go of the last step, and of its memory."""
        self._values, self._double, self._rounding = {}, None, None


def _are_the_same(values: Mapping[str, Array], others: Mapping[str, Array]) -> bool:
    """Whether values are the very same arrays: equal ones need not be told from others."""
    return values.keys() == others.keys() and all(value is others[name] for name, value in values.items())


def pair_errors(first: Side, second: Side, values: Mapping[str, Array]) -> tuple[Errors, StepResult]:
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
    right, made, subject = first.double(values), second.double(values), first.subject
    wide = first.widened.of(values)
    errors = errors_beside(made, right, first.rounding(values))
    update = Worst()
    if subject.mode == "training":
        updated = subject.updated(wide, made.gradients)
        carried = {v.next.name for v in subject.workload.carried("training")}
        expected = updated or {name: value for name, value in right.outputs.items() if name in carried}
        update = worst_of(update_errors(expected, wide, made).values())
    return (
        Errors(
            loss=named_worst(errors, "loss").error,
            gradient=named_worst(errors, "gradient"),
            update=update,
            state=named_worst(errors, "state"),
        ),
        made,
    )
