"""The graphs of both frameworks learn at the tiny preset, judged on data that they are not trained on."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.data.games.playable import GAMES
from fathom_onnx.exporting import ExportRequest, export_graph
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training import (
    EpisodeReward,
    EvaluationPlan,
    InferenceMetrics,
    Player,
    PlayPlan,
    Rates,
    TrainingRun,
    read_schedule,
    train,
)
from fathom_onnx.workloads import workload
from support.graphs.exports import FRAMEWORKS

pytestmark = pytest.mark.slow
CPU = SessionSettings(threads=1)


def learned(
    name: str, framework: str, steps: int, schedule: str = "constant", data: str | None = None, **changes: Any
) -> dict[str, list[float]]:
    """Metrics by name, before the first step and after the last: those of a game where ``data`` is one."""
    spec = replace(workload(name, "tiny", changes), rate_input=True)
    graph, inference = (
        export_graph(framework, ExportRequest(spec, mode, purpose="onnxruntime")) for mode in ("training", "inference")
    )
    rates = Rates(graph, read_schedule(schedule, steps))
    run: TrainingRun
    if data in GAMES:
        player = Player(GAMES[data], graph, inference, CPU, 0, PlayPlan(2500, memory=10_000, refresh=200))
        plan = EvaluationPlan([EpisodeReward(GAMES[data], inference, CPU, 4)])
        run = train(graph, [], steps, CPU, evaluated=plan, rates=rates, player=player)
    else:
        held_out = list(itertools.islice(batches_for(spec, "training", 0, data, split="held-out"), 25))
        plan = EvaluationPlan([InferenceMetrics(inference, held_out, CPU)])
        batches = batches_for(spec, "training", 0, data, split="training")
        run = train(graph, batches, steps, CPU, evaluated=plan, rates=rates)
    assert np.mean(run.losses[-50:]) < np.mean(run.losses[:50])
    found: dict[str, list[float]] = {}
    for _, metric, value in run.metrics:
        found.setdefault(metric, []).append(value)
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_memnet_answers_the_questions_of_task_1(framework: str) -> None:
    before, after = learned("memnet", framework, 5000, "cosine", "stories-1")["answer accuracy"]
    assert (before < 0.3, after > 0.95) == (True, True)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_autoenc_reconstructs_digits(framework: str) -> None:
    before, after = learned("autoenc", framework, 1500)["reconstruction"]
    assert after < before / 3


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("name", "steps"), [("residual", 100), ("alexnet", 200)])
def test_image_networks_tell_crops_of_two_photographs_apart(name: str, steps: int, framework: str) -> None:
    assert learned(name, framework, steps)["top-1 accuracy"][-1] > 0.9  # always the same one: 0.5


def test_deepq_plays_catch_as_well_as_can_be() -> None:
    sizes = {"batch": 32, "filters": (16, 16, 16), "hidden": 64, "learning_rate": 2e-3}
    before, after = learned("deepq", "torch", 3000, "linear:5000", "catch", **sizes)["episode reward"]
    assert (before < 0.5, after >= 0.95) == (True, True)
