"""The training loop: a training graph, stepped with its state kept on the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from fathom_onnx.errors import GraphError, RunError, UsageError
from fathom_onnx.graph import Graph
from fathom_onnx.workloads.contract import Array, Workload

from .prepare import prepare
from .settings import SessionSettings
from .stepper import Stepper, open_stepper
from .weights import variable_values

__all__ = ["open_training", "train"]


def open_training(
    graph: Graph, settings: SessionSettings, seed: int = 0, values: Mapping[str, Array] | None = None
) -> Stepper:
    """A stepper of a training graph, at the variables' starting values or at ``values``.

    Raises:
        GraphError: ``graph`` is not a training graph.
        RunError: onnxruntime refuses it.
    """
    if not graph.training:
        raise GraphError(f"graph '{graph.name}' is not a training graph", "export one with --mode training")
    return open_stepper(prepare(graph, {**variable_values(graph, seed), **(values or {})}, seed), settings)


def train(
    graph: Graph,
    batches: Iterable[Mapping[str, Array]],
    steps: int,
    settings: SessionSettings,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train for some steps.

    Args:
        graph: A training graph.
        batches: One batch a step, at least ``steps`` of them.
        steps: Number of steps.
        settings: How the session runs.
        seed: Seed of the variables' starting values.
        on_step: Called after every step with its number (from 1) and its loss.

    Returns:
        The loss of every step.

    Raises:
        UsageError: ``steps`` is below 1.
        GraphError: ``graph`` is not a training graph.
        RunError: onnxruntime fails, the batches run out, or the loss is not a finite number.
    """
    if steps < 1:
        raise UsageError(f"steps cannot be {steps}", "give 1 or more")
    stepper = open_training(graph, settings, seed)
    losses: list[float] = []
    source = iter(batches)
    for number in range(1, steps + 1):
        batch = next(source, None)
        if batch is None:
            raise RunError(f"the batches ran out after {number - 1} of {steps} steps", "give more data or fewer steps")
        stepper.step(batch)
        loss = float(stepper.results()[Workload.LOSS])
        if not math.isfinite(loss):
            raise RunError(f"the loss is {loss} at step {number}", "lower the learning rate or check the data")
        losses.append(loss)
        if on_step is not None:
            on_step(number, loss)
    return losses
