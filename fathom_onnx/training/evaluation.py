"""Evaluation of a run between its steps, on batches that it is not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fathom_onnx.errors import UsageError
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import Stepper
from fathom_onnx.workloads.contract import Array, Workload

from .metrics import METRICS, Metric
from .noise import NoiseInput, take_noise_out

__all__ = ["Evaluation", "EvaluationPlan", "HeldOutLoss", "InferenceMetrics"]

_SEED = 1
"""Seed of what is drawn in an evaluation: the same in every one, so that two of them differ by the weights alone."""


class Evaluation(Protocol):
    """Something that is measured between steps."""

    def measure(self, stepper: Stepper, noise: Sequence[NoiseInput]) -> dict[str, float]:
        """Numbers by name, of the state that the stepper has; the state is not changed.

        Args:
            stepper: The session that trains.
            noise: Inputs of its graph that take the place of draws.
        """


@dataclass(frozen=True)
class EvaluationPlan:
    """What is measured on held-out batches, and when.

    Attributes:
        evaluations: What is measured, before the first step, between steps and after the last.
        every: Steps between evaluations; 0 for those at the start and the end only.
        on_metrics: Called after every evaluation with the number of steps taken, and metrics by name.
    """

    evaluations: Sequence[Evaluation] = ()
    every: int = 0
    on_metrics: Callable[[int, Mapping[str, float]], None] | None = None


class HeldOutLoss:
    """The training graph's own loss on batches that it is not trained on, as it is in training: with dropout.

    Args:
        batches: The batches.
    """

    def __init__(self, batches: Sequence[Mapping[str, Array]]) -> None:
        if not batches:
            raise UsageError("an evaluation has no batch", "give one or more")
        self._batches = batches

    def measure(self, stepper: Stepper, noise: Sequence[NoiseInput]) -> dict[str, float]:
        """``held-out loss``: the mean over the batches."""
        total = 0.0
        samplers = {n.name: n.sampler(_SEED) for n in noise}
        for number, batch in enumerate(self._batches):
            drawn = {name: sample(number) for name, sample in samplers.items()}
            stepper.step({**batch, **drawn}, carry=False)
            total += float(stepper.results()[Workload.LOSS])
        return {"held-out loss": total / len(self._batches)}


class InferenceMetrics:
    """The metrics of a workload, from its inference graph with the weights of the run.

    Args:
        graph: The inference graph of the workload that is trained.
        batches: Batches with the inputs of both graphs.
        settings: How its session runs.

    Raises:
        UsageError: The workload has no metric, or there is no batch.
    """

    def __init__(self, graph: Graph, batches: Sequence[Mapping[str, Array]], settings: SessionSettings) -> None:
        name = graph.metadata.workload if graph.metadata else ""
        if name not in METRICS:
            raise UsageError(f"workload '{name}' has no metric", "look at its held-out loss")
        if not batches:
            raise UsageError("an evaluation has no batch", "give one or more")
        given, noise, _ = take_noise_out(graph)
        self._samplers = {n.name: n.sampler(_SEED) for n in noise}
        self._metrics = METRICS[name]
        self._evaluator = Evaluator(given, settings)
        self._names = {t.name for t in given.inputs}
        self._batches = batches

    def measure(self, stepper: Stepper, noise: Sequence[NoiseInput]) -> dict[str, float]:
        """Each metric over all batches."""
        state = {name: value for name, value in stepper.state().items() if name in self._names}
        return self.of(state)

    def of(self, values: Mapping[str, Array]) -> dict[str, float]:
        """Each metric over all batches, with given weights."""
        sums: dict[str, list[float]] = {metric.name: [0.0, 0.0] for metric in self._metrics}
        for number, batch in enumerate(self._batches):
            drawn = {name: sample(number) for name, sample in self._samplers.items()}
            fed: dict[str, Any] = {**values, **{k: v for k, v in batch.items() if k in self._names}, **drawn}
            outputs = self._evaluator.step(fed).outputs
            for metric in self._metrics:
                counted, of = metric.count(outputs, batch)
                sums[metric.name][0] += counted
                sums[metric.name][1] += of
        return {metric.name: _quotient(metric, *sums[metric.name]) for metric in self._metrics}


def _quotient(metric: Metric, counted: float, of: float) -> float:
    return metric.of_mean(counted / of) if of else math.nan
