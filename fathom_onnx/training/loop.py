"""The training loop: a training graph, stepped with its state kept on the device.

A step depends on the state, on its batch and on its number, and on nothing else: draws of the graph are fed
(:mod:`.noise`). So a run that is resumed from a checkpoint goes on as if it had not been interrupted, bit for bit where
onnxruntime itself computes the same step twice in the same way (the same version, provider and number of threads).
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from fathom_onnx.errors import FathomError, GraphError, RunError, UsageError, one_line
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.providers.names import onnxruntime
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import Stepper, open_stepper
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.versions import package_version
from fathom_onnx.workloads.contract import Array, Workload

from .checkpoints import Checkpoint, CheckpointFolder
from .evaluation import Evaluation
from .loading import Ahead
from .noise import NoiseInput, take_noise_out
from .record import Record

__all__ = ["TrainingRun", "open_training", "train"]


@dataclass(frozen=True)
class TrainingRun:
    """What became of a run.

    Attributes:
        losses: The loss of every step, from the first; those before a resumed checkpoint as far as they are on file.
        first_step: Number of the first step that was taken now.
        metrics: Rows (step, name, value) of the evaluations.
        values: Parameters, running statistics and optimizer state after the last step, by name.
        seconds: Wall time of the steps, evaluations and checkpoints taken now.
        waited_s: Seconds of it in which a step waited for its batch.
        remarks: What a reader should know: draws that stay in the graph, other versions than before, files skipped.
        interrupted: Whether it was stopped before its last step, by a signal.
    """

    losses: list[float]
    first_step: int
    metrics: list[tuple[int, str, float]]
    values: Mapping[str, Array]
    seconds: float
    waited_s: float
    remarks: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def last_step(self) -> int:
        """Number of the last step that was taken."""
        return len(self.losses)


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
    batches: Iterable[Any],
    steps: int,
    settings: SessionSettings,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
    *,
    values: Mapping[str, Array] | None = None,
    evaluations: Sequence[Evaluation] = (),
    eval_every: int = 0,
    checkpoints: CheckpointFolder | None = None,
    checkpoint_every: int = 0,
    resume: bool = False,
    data: str = "",
    stop: Callable[[], bool] | None = None,
) -> TrainingRun:
    """Train until a number of steps is reached.

    Args:
        graph: A training graph.
        batches: A batch a step: input name to array, or the arrays alone in the order of the graph's batch inputs.
            Begun anew when they end, if they can be (a list, a PyTorch ``DataLoader``, a ``tf.data`` set).
        steps: Number of the last step; of a run that is resumed, counted from its very first step.
        settings: How the session runs.
        seed: Seed of the variables' starting values, and of what the graph draws.
        on_step: Called after every step with its number (from 1) and its loss.
        values: Starting values that take the place of the graph's own, by name.
        evaluations: What is measured on held-out batches, before the first step, between steps and after the last.
        eval_every: Steps between evaluations; 0 for those at the start and the end only.
        checkpoints: Where the state is kept, with the losses and metrics; nowhere by default.
        checkpoint_every: Steps between checkpoints; 0 for one at the end only.
        resume: Whether to go on from the newest checkpoint; from the start where there is none.
        data: Name of the data, which a run that is resumed must have too.
        stop: Asked after every step whether to stop; the state is then kept as after the last step.

    Raises:
        UsageError: A number that cannot work, or a checkpoint of another run.
        GraphError: ``graph`` is not a training graph.
        DataError: A checkpoint cannot be read.
        RunError: onnxruntime fails, the batches run out, or the loss is not a finite number. The newest checkpoint
            stays as it is.
        OutputError: A checkpoint cannot be written.
    """
    if steps < 1:
        raise UsageError(f"steps cannot be {steps}", "give 1 or more")
    if not graph.training:
        raise GraphError(f"graph '{graph.name}' is not a training graph", "export one with --mode training")
    fed, noise, left = take_noise_out(graph)
    facts = _facts(graph, settings, seed, data)
    with ExitStack() as held_open:
        if checkpoints is not None:
            held_open.enter_context(checkpoints.held())
        start, remarks = _resumed(checkpoints, facts) if resume else (None, [])
        if left:
            remarks.append(f"node '{left[0]}' draws inside of the graph: a run that is resumed draws other numbers")
        if not resume and checkpoints is not None and checkpoints.paths():
            raise UsageError(
                f"'{checkpoints.folder}' has checkpoints of a run", "go on with --resume, or choose another"
            )
        done = start.step if start else 0
        record = Record.read(checkpoints.folder, done) if start and checkpoints else Record()
        stepper = open_training(fed, settings, seed, {**(values or {}), **(start.values if start else {})})
        loop = _Loop(stepper, noise, record, evaluations, checkpoints, facts)
        named = _named(_endless(batches), [t.name for t in graph.batch_inputs], done)
        started = time.perf_counter()
        interrupted = False
        ahead = Ahead(_fed(named, noise, seed, done))
        if done < steps:
            held_open.enter_context(ahead)
        if not done:
            loop.evaluate(0)
        for number in range(done + 1, steps + 1):
            batch = ahead.next()
            if batch is None:
                raise RunError(
                    f"the batches ran out after {number - 1} of {steps} steps", "give more data or fewer steps"
                )
            loss = loop.step(number, batch)
            if on_step is not None:
                on_step(number, loss)
            last = number == steps
            interrupted = stop is not None and stop() and not last
            if last or (eval_every and number % eval_every == 0):
                loop.evaluate(number)
            if last or interrupted or (checkpoint_every and number % checkpoint_every == 0):
                loop.keep(number)
            if interrupted:
                break
        return TrainingRun(
            losses=record.losses,
            first_step=done + 1,
            metrics=record.metrics,
            values=stepper.state(),
            seconds=time.perf_counter() - started,
            waited_s=ahead.waited_s,
            remarks=tuple(remarks),
            interrupted=interrupted,
        )


@dataclass
class _Loop:
    """The parts that a step, an evaluation and a checkpoint share."""

    stepper: Stepper
    noise: Sequence[NoiseInput]
    record: Record
    evaluations: Sequence[Evaluation]
    checkpoints: CheckpointFolder | None
    facts: Mapping[str, Any]

    def step(self, number: int, batch: Mapping[str, Any]) -> float:
        try:
            self.stepper.step(batch)
        except RunError as error:
            raise type(error)(f"step {number}: {error.message}", error.fix) from error
        loss = float(self.stepper.results()[Workload.LOSS])
        if not math.isfinite(loss):
            raise RunError(f"the loss is {loss} at step {number}", "lower the learning rate or check the data")
        self.record.losses.append(loss)
        return loss

    def evaluate(self, number: int) -> None:
        for one in self.evaluations:
            measured = one.measure(self.stepper, self.noise)
            self.record.metrics += [(number, name, value) for name, value in measured.items()]

    def keep(self, number: int) -> None:
        """Write losses and metrics, and then the checkpoint that says they are whole up to it."""
        if self.checkpoints is None:
            return
        try:
            self.record.write(self.checkpoints.folder)
            self.checkpoints.save(number, self.stepper.state(), self.facts)
        except FathomError as error:
            raise type(error)(f"after step {number}: {error.message}", error.fix) from error


_MUST_MATCH = {"graph_sha256": "graph", "seed": "seed", "data": "data source"}
_SHOULD_MATCH = ("provider", "threads", "optimization", "onnxruntime", "numpy")


def _facts(graph: Graph, settings: SessionSettings, seed: int, data: str) -> dict[str, Any]:
    """What a run is: what must be, and what should be the same where it is resumed, and what it is called."""
    held = graph.metadata
    return {
        "graph_sha256": graph.sha256,
        "seed": seed,
        "data": data,
        "provider": settings.ep,
        "threads": settings.threads,
        "optimization": settings.optimization,
        "onnxruntime": str(onnxruntime().__version__),
        "numpy": np.__version__,
        "fathom_onnx": package_version("fathom-onnx"),
        "graph": graph.name,
        **{name: getattr(held, name) if held else None for name in ("workload", "framework", "preset")},
    }


def _resumed(checkpoints: CheckpointFolder | None, facts: Mapping[str, Any]) -> tuple[Checkpoint | None, list[str]]:
    """The checkpoint to go on from, and remarks on it."""
    if checkpoints is None:
        raise UsageError("there is nothing to resume from", "give the folder of the checkpoints")
    found, remarks = checkpoints.latest()
    if found is None:
        return None, remarks
    for key, words in _MUST_MATCH.items():
        if found.manifest.get(key) != facts[key]:
            told = one_line(str(found.manifest.get("graph" if key == "graph_sha256" else key)), 80)
            raise UsageError(
                f"checkpoint '{found.path.name}' is of a run with another {words} ({told})",
                "give that one, or another folder",
            )
    remarks += [
        f"{key} was {found.manifest.get(key)} and is {facts[key]}: results may differ in their last digits"
        for key in _SHOULD_MATCH
        if found.manifest.get(key) != facts[key]
    ]
    return found, remarks


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches, begun anew when they end; an iterator cannot be begun anew."""
    if iter(batches) is batches:
        yield from batches
        return
    while True:
        count = 0
        for batch in batches:
            count += 1
            yield batch
        if not count:
            return


def _named(batches: Iterator[Any], names: Sequence[str], done: int) -> Iterator[dict[str, Any]]:
    """Batches as arrays by name, from the one after ``done``."""
    for batch in itertools.islice(batches, done, None):
        given = batch if isinstance(batch, Mapping) else _paired(batch, names)
        yield {name: _array(value) for name, value in given.items()}


def _paired(batch: Any, names: Sequence[str]) -> dict[str, Any]:
    parts = list(batch) if isinstance(batch, tuple | list) else [batch]
    if len(parts) != len(names):
        raise RunError(
            f"a batch has {len(parts)} parts, the graph {len(names)} batch inputs ({', '.join(names)})",
            "give a dict of arrays by input name",
        )
    return dict(zip(names, parts, strict=True))


def _array(value: Any) -> Any:
    """A tensor of a framework as an array; what is an array, a list of arrays or None as it is."""
    if value is None or isinstance(value, np.ndarray | list):
        return value
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


def _fed(
    batches: Iterator[dict[str, Any]], noise: Sequence[NoiseInput], seed: int, done: int
) -> Iterator[dict[str, Any]]:
    for number, batch in enumerate(batches, done + 1):
        yield {**batch, **{n.name: n.sample(seed, number) for n in noise}}
