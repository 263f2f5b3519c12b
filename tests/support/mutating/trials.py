"""Mutations of one graph, and whether verification finds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from fathom_onnx.errors import FathomError
from fathom_onnx.exporting import StepResult
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.runtime.settings import DEFAULT_SETTINGS
from fathom_onnx.verification.check import Check, Errors
from fathom_onnx.verification.checks import _carried, _feeds
from fathom_onnx.verification.judge import Judge
from fathom_onnx.verification.subject import Subject, make_subject
from fathom_onnx.workloads.contract import Array, Workload

from .mutations import mutated

__all__ = ["SHOWS", "Trial", "Trials"]

SHOWS = 1e-5
"""Relative change of an output, in float64, from which on a mutation must be found."""


@dataclass(frozen=True)
class Trial:
    """What became of a mutation.

    Attributes:
        kind: A row of :data:`.mutations.KINDS`.
        told: What it was.
        outcome: ``invalid`` where the graph does not run, ``same`` where no output changes, ``found`` or ``hole``.
        change: The largest relative change of an output.
        name: That output.
    """

    kind: str
    told: str
    outcome: str
    change: float = 0.0
    name: str = ""


def whole_step(subject: Subject, values: Mapping[str, Array]) -> StepResult:
    """A graph's own step in float64, with all outputs and gradients, read in one go."""
    return subject.step_of(subject.read(values, subject.tensors))


class Trials:
    """Mutations of one graph that passes.

    What changes only what is made of gradients that are zero but for rounding counts as no change.

    Args:
        workload: The workload.
        framework: Its graph's framework.
        graph: The graph with noise as input; exported when not given.
        steps: Steps that are judged.
    """

    def __init__(self, workload: Workload, framework: str, graph: Graph | None = None, steps: int = 2) -> None:
        self._subject = make_subject(workload, framework, "training", DEFAULT_SETTINGS, "simulators", graph)
        state, self._values = workload.initial_values("training", 0), []
        for feed, _ in zip(_feeds(workload, "training", 0), range(steps), strict=False):
            values = {**feed, **state}
            self._values.append(values)
            state = _carried(workload, "training", state, self._subject.evaluator.step(values))
        self._right = [whole_step(self._subject, values) for values in self._values]
        rough = self._subject.reference(double=False).step(self._values[0])
        fine = self._subject.reference().step(self._values[0])
        self._zero = {
            name
            for name, gradient in fine.gradients.items()
            if np.abs(gradient).max(initial=0.0) <= np.abs(rough.gradients[name] - gradient).max(initial=0.0)
        }

    def faults(self, subject: Subject | None = None) -> tuple[str, ...]:
        """What verification says of a graph; of the right one where none is given."""
        errors = Errors()
        for values in self._values:
            errors = errors.max(Judge(subject or self._subject, 0).step(values)[0])
            if not errors.in_double <= 1e-6:
                break
        return Check(mode="training").with_errors(errors).faults

    def trial(self, kind: str, rng: np.random.Generator) -> Trial | None:
        """One mutation of a kind, judged; None where chance found no place for it."""
        made = mutated(self._subject.graph.model, kind, rng)
        if made is None:
            return None
        told, model = made
        try:
            onnx.checker.check_model(model, full_check=True)
            graph = from_model(model, self._subject.graph.name)
            subject = replace(self._subject, graph=graph, _doubles={})
            subject.evaluator  # noqa: B018 - opens its session, which may be refused
            wrong = [whole_step(subject, values) for values in self._values]
        except (FathomError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError):
            return Trial(kind, told, "invalid")
        steps = zip(self._right, wrong, self._values, strict=True)
        change, name = max(self._change(right, other, values) for right, other, values in steps)
        if change < SHOWS:
            return Trial(kind, told, "same", change, name)
        return Trial(kind, told, "found" if self.faults(subject) else "hole", change, name)

    def _change(self, right: StepResult, wrong: StepResult, values: Mapping[str, Array]) -> tuple[float, str]:
        """The largest relative change of any output, and which: of parameters relative to their own change."""
        worst = (0.0, "")
        for name, value in right.outputs.items():
            variable = name.removesuffix(".next")
            if any(variable == zero or variable.startswith(f"{zero}.") for zero in self._zero):
                continue
            other = wrong.outputs[name]
            if other.shape != value.shape:
                return float("inf"), name
            scale = np.abs(value - values[variable] if variable in right.gradients else value).max(initial=0.0)
            with np.errstate(all="ignore"):
                apart = np.abs(other.astype(np.float64) - value).max(initial=0.0)
            if apart:  # a NaN too
                change = float(apart / scale) if scale and np.isfinite(apart) else float("inf")
                worst = max(worst, (change, name))
        return worst
