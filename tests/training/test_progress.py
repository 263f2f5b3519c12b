"""What a run tells while it goes on."""

from __future__ import annotations

import pytest

from fathom_onnx.cli.run_commands import train_progress
from fathom_onnx.cli.run_commands.train_progress import TrainProgress


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """A clock with one hand, to be set."""
    hand = [100.0]
    monkeypatch.setattr(train_progress.time, "monotonic", lambda: hand[0])
    return hand


def test_the_line_has_loss_metrics_pace_and_time_to_go(clock, capsys) -> None:
    said: list[str] = []
    shown: list[int] = []
    told = TrainProgress(said.append, shown.append, 1000)
    told.evaluated(0, {"held-out loss": 2.5})
    told.step(1, 3.0)
    clock[0] += 0.05
    told.step(2, 2.9)  # too soon to be told
    clock[0] += 9.95
    told.step(51, 1.0)
    told.evaluated(51, {"held-out loss": 1.25, "answer accuracy": 0.5})
    clock[0] += 1
    told.step(61, 0.5)
    assert said == [
        "loss 3; held-out loss 2.5",
        "loss 1; held-out loss 2.5; 5 steps/s, 3 min to go",
        "loss 0.5; held-out loss 1.25, answer accuracy 0.5; 5.45 steps/s, 3 min to go",
    ]
    assert shown == [1, 50, 10]
    assert capsys.readouterr().err.splitlines() == [
        "step 0 of 1000: held-out loss 2.5",
        "step 51 of 1000: held-out loss 1.25, answer accuracy 0.5; 5 steps/s, 3 min to go",
    ]


def test_the_last_step_is_always_told_and_steps_of_an_earlier_run_are_no_pace(clock) -> None:
    said: list[str] = []
    shown: list[int] = []
    told = TrainProgress(said.append, shown.append, 803)
    told.step(801, 1.0)
    clock[0] += 0.04
    told.step(802, 1.0)
    clock[0] += 0.04
    told.step(803, 1.0)
    assert said == ["loss 1", "loss 1; 25 steps/s"]
    assert shown == [801, 2]


@pytest.mark.parametrize(("steps", "told"), [(51, "50 s"), (601, "10 min"), (36_001, "10.0 h")])
def test_the_time_to_go_in_fitting_units(clock, steps: int, told: str) -> None:
    said: list[str] = []
    progress = TrainProgress(said.append, lambda _: None, steps)
    progress.step(0, 1.0)
    clock[0] += 1
    progress.step(1, 1.0)
    assert said[1] == f"loss 1; 1 steps/s, {told} to go"


def test_a_loss_of_minus_zero_is_zero() -> None:
    said: list[str] = []
    TrainProgress(said.append, lambda steps: None, 1).step(1, -0.0)
    assert said == ["loss 0"]
