"""Judging one step of a framework's graph against another's, both read in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array

from .check import Errors
from .compare import Worst, worst_of
from .double import exactly_once
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
            self._values, self._wide = values, exactly_once(values)
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
        """The graph's own step in float64: what is compared of it.

        Raises:
            RunError: The graph cannot be evaluated in float64.
        """
        if not _are_the_same(values, self._values):
            self.forget()
            self._values = values
        if self._double is None:
            self._double = self.subject.double(self.widened.of(values))
        return self._double

    def new_state(self, values: Mapping[str, Array]) -> StepResult:
        """The graph's own step in float64, with all that the next one starts from."""
        made = self.double(values)
        if not self.subject.optimizer_is_apart:
            return made
        new = self.subject.updated(self.subject.updated_names, self.widened.of(values), made.gradients)
        return StepResult({**made.outputs, **new}, made.gradients)

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


def pair_errors(first: Side, second: Side, values: Mapping[str, Array]) -> tuple[Errors, Callable[[], StepResult]]:
    """Errors of the second graph's step against the first's, in float64, and what makes the second's step.

    The first graph's optimizer is given the second's gradients, so that a parameter whose gradient is zero but for
    rounding, which Adam moves by a full learning rate, moves the same way.

    Args:
        first: The graph that is right.
        second: The graph that is judged, of the same workload and mode.
        values: What both start from.

    Raises:
        RunError: A graph cannot be run.
    """
    right, made = first.double(values), second.double(values)
    errors = errors_beside(made, right, first.rounding(values))
    return (
        Errors(
            loss=named_worst(errors, "loss").error,
            gradient=named_worst(errors, "gradient"),
            update=worst_of(_update_errors(first, second, values)),
            state=named_worst(errors, "state"),
        ),
        lambda: second.new_state(values),
    )


def _update_errors(first: Side, second: Side, values: Mapping[str, Array]) -> Iterator[Worst]:
    """Errors of what the second graph's optimizer makes of its gradients, beside what the first's makes of them."""
    right, made = first.double(values), second.double(values)
    wide = first.widened.of(values)

    def new(side: Side, names: Sequence[str], own: StepResult) -> dict[str, Array]:
        if side.subject.optimizer_is_apart:
            return side.subject.updated(names, wide, made.gradients)
        return {name: own.outputs[name] for name in names}

    for names in first.subject.pieces:
        result = StepResult(new(second, names, made), made.gradients)
        yield from update_errors(new(first, names, right), wide, result).values()
