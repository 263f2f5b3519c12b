"""The training loop: a training graph, stepped with its state kept on the device.

A step depends on the state, on its batch and on its number, and on nothing else: draws of the graph are fed
(:mod:`.noise`). So a run that is resumed from a checkpoint goes on as if it had not been interrupted, bit for bit where
onnxruntime itself computes the same step twice in the same way (the same version, provider and number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from fathom_onnx.errors import DataError, FathomError, GraphError, RunError, UsageError, one_line
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import Stepper, open_stepper
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.workloads.contract import Array, Workload

from .batches import fed_batches
from .checkpoints import Checkpoint, CheckpointPlan
from .evaluation import EvaluationPlan
from .loading import Ahead
from .noise import DRAWING, NoiseInput, take_noise_out
from .playing import LOG, Player
from .record import Record
from .resuming import checkpoint_to_resume, run_facts
from .schedules import Rates

__all__ = ["TrainingRun", "open_training", "train"]


@dataclass(frozen=True)
class TrainingRun:
    """What became of a run.

    Attributes:
        losses: The loss of every step, from the first; those before a resumed checkpoint as far as they are on file.
        first_step: Number of the first step that was taken now.
        rates: The learning rate of every step of a run with a schedule; empty for another run.
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
    rates: Sequence[float] = ()

    @property
    def last_step(self) -> int:
        """Number of the last step that was taken."""
        return len(self.losses)


def open_training(
    graph: Graph,
    settings: SessionSettings,
    seed: int = 0,
    values: Mapping[str, Array] | None = None,
    held: Collection[str] = (),
) -> Stepper:
    """A stepper of a training graph, at the variables' starting values or at ``values``.

    Args:
        graph: A training graph.
        settings: How its session runs.
        seed: Seed of the starting values.
        values: Values that take the place of those, by name.
        held: Variables that no step changes and that get other values between steps; the others are constants.

    Raises:
        GraphError: ``graph`` is not a training graph.
        RunError: onnxruntime refuses it.
    """
    if not graph.training:
        raise GraphError(f"graph '{graph.name}' is not a training graph", "export one with --mode training")
    start = {**variable_values(graph, seed), **(values or {})}
    stepper = open_stepper(prepare(graph, start, seed, fed=held), settings)
    stepper.hold({name: start[name] for name in held})
    return stepper


_NOTHING = EvaluationPlan()


def train(
    graph: Graph,
    batches: Iterable[Any],
    steps: int,
    settings: SessionSettings,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
    *,
    values: Mapping[str, Array] | None = None,
    evaluated: EvaluationPlan = _NOTHING,
    kept: CheckpointPlan | None = None,
    stop: Callable[[], bool] | None = None,
    rates: Rates | None = None,
    player: Player | None = None,
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
        evaluated: What is measured on held-out batches; nothing by default.
        kept: Where checkpoints are kept; nowhere by default.
        stop: Asked after every step whether to stop; the state is then kept as after the last step.
        rates: The learning rates of the steps; by default the graph's own.
        player: Makes the batches by playing with the weights of the run; ``batches`` are then not looked at.

    Raises:
        UsageError: A number that cannot work, or a checkpoint of another run.
        GraphError: ``graph`` is not a training graph.
        DataError: A checkpoint cannot be read.
            What makes the batches fails: the state after the last step is then kept, as where they run out.
        RunError: onnxruntime fails, the batches run out, or the loss is not a finite number. The newest checkpoint
            stays as it is.
        OutputError: A checkpoint cannot be written.
    """
    if steps < 1:
        raise UsageError(f"steps cannot be {steps}", "give 1 or more")
    if not graph.training:
        raise GraphError(f"graph '{graph.name}' is not a training graph", "export one with --mode training")
    fed, noise, left = take_noise_out(graph)
    drawing = DRAWING if noise else ""
    facts = run_facts(graph, settings, seed, kept.data if kept else "", rates.name if rates else "", drawing)
    with ExitStack() as held_open:
        if kept is not None:
            held_open.enter_context(kept.folder.held())
        start, remarks = _start(kept, facts)
        if left:
            remarks.append(f"node '{left[0]}' draws inside of the graph: a run that is resumed draws other numbers")
        done = start.step if start else 0
        record = Record.read(kept.folder.folder, done) if start and kept else Record()
        first = {**(values or {}), **(start.values if start else {})}
        held = (*(rates.names if rates else ()), *(player.copies if player else ()))
        stepper = open_training(fed, settings, seed, first, held)
        if player and start:
            player.resume(start.values[LOG])
        loop = _Loop(stepper, noise, record, evaluated, kept, facts, rates, player)
        started = time.perf_counter()
        interrupted = False
        ahead = Ahead(fed_batches(batches, [t.name for t in graph.batch_inputs], noise, seed, done))
        if done < steps and not player:
            held_open.enter_context(ahead)
        if not done:
            loop.evaluate(0)
        for number in range(done + 1, steps + 1):
            try:
                batch = _batch(number, stepper, player, ahead)
                if batch is None:
                    raise RunError(
                        f"the batches ran out after {number - 1} of {steps} steps", "give more data or fewer steps"
                    )
            except FathomError:
                if number > done + 1:
                    loop.keep(number - 1)  # what was learned until now is whole
                raise
            loss = loop.step(number, batch)
            if on_step is not None:
                on_step(number, loss)
            last = number == steps
            interrupted = stop is not None and stop() and not last
            if last or (evaluated.every and number % evaluated.every == 0):
                loop.evaluate(number)
            if last or interrupted or (kept and kept.every and number % kept.every == 0):
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
            rates=record.rates,
        )


@contextmanager
def _said(where: str) -> Iterator[None]:
    """What fails while this is entered says where in the run it was."""
    try:
        yield
    except FathomError as error:
        error.message = f"{where}: {error.message}"
        raise


def _batch(number: int, stepper: Stepper, player: Player | None, ahead: Ahead) -> Mapping[str, Any] | None:
    """The batch of a step; None where there is none left.

    Raises:
        FathomError: What makes the batches failed, as it says itself.
        DataError: The same, where it is not ours.
    """
    with _said(f"step {number}"):
        try:
            return player.batch(number, stepper) if player else ahead.next()
        except FathomError:
            raise
        except Exception as error:  # whatever the caller's own batches do
            raise DataError(
                f"what makes the batches failed ({type(error).__name__}: {one_line(error, 200)})",
                "mend it, and go on with --resume where checkpoints are kept",
            ) from error


def _start(kept: CheckpointPlan | None, facts: Mapping[str, Any]) -> tuple[Checkpoint | None, list[str]]:
    """The checkpoint to go on from, None for a run from its start, and remarks on it."""
    if kept is None:
        return None, []
    if kept.resume:
        return checkpoint_to_resume(kept.folder, facts)
    if kept.folder.paths():
        raise UsageError(f"'{kept.folder.folder}' has checkpoints of a run", "go on with --resume, or choose another")
    return None, []


@dataclass
class _Loop:
    """The parts that a step, an evaluation and a checkpoint share."""

    stepper: Stepper
    noise: Sequence[NoiseInput]
    record: Record
    evaluated: EvaluationPlan
    kept: CheckpointPlan | None
    facts: Mapping[str, Any]
    rates: Rates | None
    player: Player | None

    def step(self, number: int, batch: Mapping[str, Any]) -> float:
        rates = self.rates.at(number) if self.rates else {}
        with _said(f"step {number}"):
            self.stepper.hold(rates)
            self.stepper.step(batch)
        loss = float(self.stepper.results()[Workload.LOSS])
        if not math.isfinite(loss):
            raise RunError(f"the loss is {loss} at step {number}", "lower the learning rate or check the data")
        self.record.losses.append(loss)
        if self.rates:
            self.record.rates.append(float(rates[self.rates.first]))
        return loss

    def evaluate(self, number: int) -> None:
        found = {}
        for one in self.evaluated.evaluations:
            found.update(one.measure(self.stepper, self.noise))
        self.record.metrics += [(number, name, value) for name, value in found.items()]
        if found and self.evaluated.on_metrics is not None:
            self.evaluated.on_metrics(number, found)

    def keep(self, number: int) -> None:
        """Write losses and metrics, and then the checkpoint that says they are whole up to it."""
        if self.kept is None:
            return
        with _said(f"after step {number}"):
            self.record.write(self.kept.folder.folder)
            self.kept.folder.save(number, {**self.stepper.state(), **self._played()}, self.facts)

    def _played(self) -> dict[str, Array]:
        """What a player goes on from besides the state."""
        if self.player is None:
            return {}
        return {**{name: self.stepper.held[name] for name in self.player.copies}, LOG: self.player.log}
