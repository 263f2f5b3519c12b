"""What each workload is trained on, and its training by the graph of a framework."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fathom_onnx.data import batches_for
from fathom_onnx.data.contract import Split
from fathom_onnx.data.games.playable import GAMES
from fathom_onnx.exporting import ExportRequest, export_graph
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import Stepper
from fathom_onnx.training import (
    EpisodeReward,
    EvaluationPlan,
    HeldOutLoss,
    InferenceMetrics,
    Player,
    PlayPlan,
    Rates,
    read_schedule,
    train,
)
from fathom_onnx.training.metrics import METRICS
from fathom_onnx.training.noise import NoiseInput
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Workload

__all__ = ["LESSONS", "Lesson", "train_lesson"]


@dataclass(frozen=True)
class Lesson:
    """What a workload is trained on here.

    Attributes:
        preset: Its preset.
        steps: Steps.
        changes: Changes of its configuration.
        held_out: Batches of an evaluation; where it plays, how often as many games as a batch has rows.
        data: Data source; the workload's own by default.
        schedule: Learning-rate schedule; the graph's own rate throughout by default.
        play: How it plays the game of its data source; None where it does not.
    """

    preset: str
    steps: int
    changes: tuple[tuple[str, Any], ...] = ()
    held_out: int = 25
    data: str | None = None
    schedule: str = ""
    play: PlayPlan | None = None

    def workload(self, name: str) -> Workload:
        """The workload."""
        return replace(workload(name, self.preset, dict(self.changes)), rate_input=bool(self.schedule))

    def stream(self, name: str, split: Split) -> Iterator[Any]:
        """Its batches of one part of the data."""
        return batches_for(self.workload(name), "training", 0, self.data, split=split)


LESSONS: dict[str, Lesson] = {
    "seq2seq": Lesson(
        "tiny",
        12_000,
        (("batch", 32), ("embedding", 32), ("hidden", 48), ("samples", 64), ("learning_rate", 2.0)),
        schedule="linear",
    ),
    "memnet": Lesson("tiny", 7000, data="stories-1", schedule="cosine"),
    "speech": Lesson("tiny", 4500, (("batch", 16), ("width", 96)), schedule="warmup:100,cosine"),
    "deepq": Lesson(
        "tiny",
        5000,
        (("batch", 32), ("filters", (16, 16, 16)), ("hidden", 64), ("learning_rate", 2e-3)),
        held_out=4,
        data="catch",
        schedule="linear",
        play=PlayPlan(explore=2500, memory=10_000, refresh=200),
    ),
    "autoenc": Lesson("small", 3000),
    "residual": Lesson("tiny", 1000),
    "vgg": Lesson("tiny", 1500),
    "alexnet": Lesson("tiny", 1500),
    "vit": Lesson("tiny", 1500),
}


@dataclass(frozen=True)
class _OnTrainingData:
    """Metrics on batches that the run may have seen, named so."""

    metrics: InferenceMetrics

    def measure(self, stepper: Stepper, noise: Sequence[NoiseInput]) -> dict[str, float]:
        return {f"training {name}": value for name, value in self.metrics.measure(stepper, noise).items()}


def train_lesson(name: str, framework: str) -> dict[str, Any]:
    """Train a workload by the graph of a framework: the row of its losses and metrics."""
    lesson = LESSONS[name]
    graph = export_graph(framework, ExportRequest(lesson.workload(name), "training", purpose="onnxruntime"))
    inference = export_graph(framework, ExportRequest(lesson.workload(name), "inference", purpose="onnxruntime"))
    settings = SessionSettings(threads=1)
    evaluations: list[Any]
    player = None
    if lesson.play:
        game = GAMES[lesson.data or ""]
        player = Player(game, graph, inference, settings, 0, lesson.play)
        evaluations = [EpisodeReward(game, inference, settings, lesson.held_out)]
    else:
        seen, held_out = (
            list(itertools.islice(lesson.stream(name, part), lesson.held_out)) for part in ("training", "held-out")
        )
        evaluations = [HeldOutLoss(held_out)]
        if name in METRICS:
            evaluations.append(_OnTrainingData(InferenceMetrics(inference, seen, settings)))
            evaluations.append(InferenceMetrics(inference, held_out, settings))
    run = train(
        graph,
        () if player else lesson.stream(name, "training"),
        lesson.steps,
        settings,
        evaluated=EvaluationPlan(evaluations, max(1, lesson.steps // 10)),
        rates=Rates(graph, read_schedule(lesson.schedule, lesson.steps)) if lesson.schedule else None,
        player=player,
    )
    return {
        "section": "learn",
        "workload": name,
        "framework": framework,
        "preset": lesson.preset,
        "changes": dict(lesson.changes),
        "data": lesson.data,
        "schedule": lesson.schedule,
        "steps": lesson.steps,
        "seconds": run.seconds,
        "waited_s": run.waited_s,
        "losses": [run.losses[0], run.losses[-1]],
        "first_losses": run.losses[:50],
        "metrics": run.metrics,
    }
