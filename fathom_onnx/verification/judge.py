"""Judging one step of a graph against its framework.

Four steps are taken from the same values: the framework's own in float64 and in float32, the graph's in float64 and, by
onnxruntime, in float32.

- In float64 nothing but a wrong graph is left to differ: the loss, every gradient, and every running statistic or
  output are compared with the framework's.
- The optimizer is judged apart, since Adam divides a gradient by its own size: a parameter whose gradient is nearly
  zero moves by a full learning rate in a direction that rounding decides. The framework's own optimizer, in float64, is
  given the gradients that the graph has, and must make of them what the graph makes. So it is for gradients ten
  thousand times as large and as small.
- In float32 the graph may be off from float64 by a few times as much as the framework itself. A value within rounding
  of a ReLU's zero, or of another in a max-pool window, can be on one side in the graph and on the other in the
  framework, and then one of them is off by far more. So the framework's step is repeated with parameters and batch
  changed by one rounding each, at random, and its own error is the largest of these. A sum over many rows may be off by
  as much as adding them in turn makes it, which is onnxruntime's order and not the framework's (:mod:`.sums`); every
  tensor by as much as the kernels of functions make it (:mod:`.functions`), or the side of a ReLU's zero on which
  onnxruntime's own rounding puts an element (:mod:`.kinks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array, Workload

from .check import DOUBLE_LIMIT, SINGLE_FACTOR, UPDATE_LIMIT, Errors
from .compare import Worst, worst_of
from .double import HELD, exactly_once
from .kernel_errors import errors_of_kernels, tensors_needed
from .reading import Reading
from .subject import Subject
from .tensors import Judged, apart, errors_beside, judged, named_worst, sizes
from .updates import update_errors

__all__ = ["PERTURBED", "ROUNDINGS", "Judge"]

PERTURBED = 12
"""Most runs of the framework in float32 with perturbed values; fewer where the graph's error is explained by fewer."""

ROUNDINGS = 4
"""Float32 roundings of a tensor's largest value that the framework's own error counts for at least.

A loss is one number, which may be exact by chance.
"""

_FACTORS = (1e4, 1e-4)
"""What the graph's gradients are multiplied by for further judgements of its optimizer."""
_ROUNDING = 2.0**-24
_SLOT_LIMIT = 1e-5
"""Error of optimizer state in float32, relative to its largest value."""
_UNDERFLOW = float(np.finfo(np.float32).tiny) / _SLOT_LIMIT
"""Size of optimizer state that its error in float32 is relative to at least: squares of 1e-20 are no float32."""


def perturbed(values: Mapping[str, Array], names: set[str], rng: np.random.Generator) -> dict[str, Array]:
    """Values with one rounding added to or taken from each number of some float32 arrays, or neither, at random.

    Whole numbers stay: they are exact, and masks are compared with them.
    """
    made = dict(values)
    for name in names & values.keys():
        value = np.asarray(values[name])
        if value.dtype == np.float32:
            toward = rng.choice(np.array([-np.inf, 0, np.inf], np.float32), value.shape)
            moved = np.nextafter(value, np.where(toward == 0, value, toward))
            made[name] = np.where(value == np.round(value), value, moved).astype(np.float32)
    return made


class Judge:
    """Judges the steps of one graph.

    Args:
        subject: The graph and its framework.
        seed: Of the perturbations.

    Attributes:
        first_losses: Losses of the first step that was judged: the framework's in float64, the graph's and the
            framework's in float32 (training).
    """

    def __init__(self, subject: Subject, seed: int) -> None:
        self._subject = subject
        self._rng = np.random.default_rng(seed)
        self.first_losses: tuple[Array, Array, Array] | None = None
        workload = subject.workload
        variables = {v.name for v in workload.variables(subject.mode)} - {slot.name for slot in workload.slots}
        self._moved = variables | {spec.name for spec in workload.batch_inputs(subject.mode)}
        needed = tensors_needed(subject.graph.model, subject.compared)
        size = sum(math.prod(subject.graph.tensors[name].shape or ()) for name in needed)
        self._held = needed if size <= HELD else []  # of larger ones a second reading is made for the errors of kernels

    def step(self, values: Mapping[str, Array]) -> tuple[Errors, Callable[[], StepResult]]:
        """The errors of a step, and what gives the graph's step in float32: the next one can start from its new state.

        Raises:
            RunError: The graph cannot be run.
        """
        subject = self._subject
        wide = exactly_once(values)
        expected = subject.expected(wide)
        native = subject.expected(values, double=False)
        tensors = judged(subject.workload, subject.mode, expected)
        own = {tensor: apart(native, expected, tensor) for tensor in tensors}
        reading = subject.read(wide, self._held or subject.compared)
        errors = self._double(reading, expected, own, guess=True)
        if not errors.in_double <= DOUBLE_LIMIT:
            # a number that was float32 in the model itself is what the file says, and no simpler one
            exact = self._double(subject.read(wide, subject.compared, guess=False), expected, own, guess=False)
            errors = exact if exact.in_double < errors.in_double else errors
        held = replace(reading, values=values) if self._held else None  # onnxruntime is given them
        del reading  # what is not held is dropped before onnxruntime takes its memory
        single = subject.evaluator.step(values)
        errors = errors.max(self._single(values, expected, single, own, held))
        if subject.mode == "training":
            errors = errors.max(Errors(single_update=self._single_update(values, wide, single)))
            if self.first_losses is None:
                loss = Workload.LOSS
                self.first_losses = expected.outputs[loss], single.outputs[loss], native.outputs[loss]
        return errors, lambda: single

    def _double(self, reading: Reading, expected: StepResult, own: Mapping[Judged, float], guess: bool) -> Errors:
        """Errors in float64. ``own`` is the framework's in float32, the scale of a tensor that cancels."""
        result = self._subject.step_of(reading)
        errors = errors_beside(result, expected, own)
        update = Worst()
        if self._subject.mode == "training":
            update = worst_of(self._updates(reading.values, result, guess))
        return Errors(
            loss=named_worst(errors, "loss").error,
            gradient=named_worst(errors, "gradient"),
            update=update,
            state=named_worst(errors, "state"),
        )

    def _updates(self, values: Mapping[str, Array], result: StepResult, guess: bool) -> Iterator[Worst]:
        """Errors of what the graph's optimizer makes in float64 of its own gradients, and of others of their shapes.

        Thresholds of clipping and small constants only show where gradients are large, or small.
        """
        yield self._update(values, result, guess)
        for factor in _FACTORS if self._subject.optimizer_is_apart else ():
            gradients = {name: factor * gradient for name, gradient in result.gradients.items()}
            yield self._update(values, StepResult(result.outputs, gradients), guess)

    def _update(self, values: Mapping[str, Array], result: StepResult, guess: bool) -> Worst:
        """The worst error of what the graph's optimizer makes in float64 of the gradients of a step."""
        subject, gradients, worst = self._subject, result.gradients, Worst()
        expected = subject.reference().update(values, gradients)
        for names in subject.pieces:
            piece = {name: expected.pop(name) for name in names if name in expected}
            apart = subject.optimizer_is_apart
            made = subject.updated(names, values, gradients, guess) if apart else result.outputs
            errors = update_errors(piece, values, StepResult(made, gradients))
            worst = worst_of([worst, *errors.values()])
            del piece, made  # before the next piece is made
        return worst_of([worst, *update_errors(expected, values, result).values()])

    def _single(
        self,
        values: Mapping[str, Array],
        expected: StepResult,
        result: StepResult,
        own: dict[Judged, float],
        held: Reading | None,
    ) -> Errors:
        """The worst tensor in float32, as a multiple of the framework's own error, and what explains the loss's."""
        largest_values = sizes(expected, own)
        errors = {tensor: apart(result, expected, tensor) for tensor in largest_values}
        native = dict(own)
        for run in range(PERTURBED + 1):
            over = _over(_ratios(largest_values, errors, native))
            if over and run == 0:
                kernels = self._kernels(values, over, held)
                native |= {t: max(native[t], kernels[t]) for t in over}
                over = _over(_ratios(largest_values, errors, native))
            if not over or run == PERTURBED:
                break
            other = self._subject.expected(perturbed(values, self._moved, self._rng), double=False)
            native = {tensor: max(native[tensor], apart(other, expected, tensor)) for tensor in native}
        ratios = _ratios(largest_values, errors, native)
        worst = worst_of(Worst(str(tensor), ratio) for tensor, ratio in ratios.items())
        return Errors(single=worst, loss_rounding=_share(Judged("loss", Workload.LOSS), native, largest_values))

    def _kernels(
        self, values: Mapping[str, Array], tensors: Iterable[Judged], held: Reading | None
    ) -> dict[Judged, float]:
        """How far off tensors are by onnxruntime's kernels, from what is held or is read again."""
        subject = self._subject
        names = {t: subject.gradients.get(t.name, "") if t.kind == "gradient" else t.name for t in tensors}
        named = {name for name in names.values() if name}
        reading = held or subject.read(values, tensors_needed(subject.graph.model, named))
        errors = errors_of_kernels(reading, named, subject.settings)
        return {tensor: errors.get(name, 0.0) for tensor, name in names.items()}

    def _single_update(self, values: Mapping[str, Array], wide: Mapping[str, Array], result: StepResult) -> Worst:
        """The worst update in float32, as a multiple of its limit."""
        exact = self._subject.reference().update(wide, result.gradients)
        errors = update_errors(exact, wide, result, _UNDERFLOW)
        parameters = {p.next.name for p in self._subject.workload.parameters}
        limits = {name: UPDATE_LIMIT if name in parameters else _SLOT_LIMIT for name in errors}
        if any(not error.error <= limits[name] for name, error in errors.items()):
            made = self._subject.reference(double=False).update(values, result.gradients)
            own = StepResult(made, gradients=result.gradients)
            native = update_errors(exact, wide, own, _UNDERFLOW)
            limits = {name: max(limit, SINGLE_FACTOR * native[name].error) for name, limit in limits.items()}
        return worst_of(Worst(name, _ratio(error.error, limits[name], 0.0)) for name, error in errors.items())


def _ratios(
    largest_values: Mapping[Judged, float], errors: Mapping[Judged, float], native: Mapping[Judged, float]
) -> dict[Judged, float]:
    """The error of each tensor as a multiple of the framework's own, or of a few roundings of its largest value."""
    return {t: _ratio(errors[t], native[t], ROUNDINGS * _ROUNDING * size) for t, size in largest_values.items()}


def _share(tensor: Judged, errors: Mapping[Judged, float], largest_values: Mapping[Judged, float]) -> float:
    """An error as a part of the tensor's largest value; 0 where there is none, or no number."""
    size, error = largest_values.get(tensor, 0.0), errors.get(tensor, 0.0)
    return error / size if size and np.isfinite(error) else 0.0


def _over(ratios: Mapping[Judged, float]) -> list[Judged]:
    """The tensors whose error the framework's own does not explain."""
    return [tensor for tensor, ratio in ratios.items() if not ratio <= SINGLE_FACTOR]


def _ratio(error: float, native: float, least: float) -> float:
    """An error as a multiple of the framework's own; 0 for none, or where the framework's own is no number either."""
    allowed = max(native, least)
    if not error or np.isinf(allowed):
        return 0.0
    return error / allowed if allowed else float("inf")
