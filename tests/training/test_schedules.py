"""Learning-rate schedules: their formulas, the steps that they change, and the runs that they belong to."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fathom_onnx
from fathom_onnx.errors import DataError, RunError, UnknownNameError, UsageError
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.training import (
    CheckpointFolder,
    CheckpointPlan,
    EvaluationPlan,
    HeldOutLoss,
    Rates,
    TrainingRun,
    read_schedule,
    train,
)
from fathom_onnx.training.figure import curves
from fathom_onnx.training.record import Record
from support.graphs.small_models import line_training

CPU = SessionSettings(threads=1)
X = {"x": np.ones(3, np.float32)}


def rates_of(text: str, count: int, steps: int = 10, own: float = 1.0) -> list[float]:
    schedule = read_schedule(text, steps)
    return [schedule.rate(taken, own) for taken in range(count)]


def test_formulas() -> None:
    assert rates_of("constant", 3, own=0.5) == [0.5] * 3
    assert rates_of("linear:4", 6) == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert rates_of("linear:2:0.5", 4) == [1.0, 0.75, 0.5, 0.5]
    assert rates_of("cosine:2", 4) == pytest.approx([1.0, 0.5, 0.0, 0.0], abs=1e-15)
    assert rates_of("cosine:3:0.1", 2)[1] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 3)) / 2)
    assert rates_of("exponential:0.5", 3) == [1.0, 0.5, 0.25]
    assert rates_of("step:2:0.1", 5) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert rates_of("warmup:4", 6, own=2.0) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert rates_of("warmup:2,linear:2", 5) == [0.5, 1.0, 1.0, 0.5, 0.0]
    assert rates_of("linear", 11) == pytest.approx(np.linspace(1, 0, 11))
    assert rates_of("warmup:5,linear", 11)[5:] == pytest.approx(np.linspace(1, 0, 6))


def test_the_name_says_what_the_steps_of_the_run_were_taken_for() -> None:
    assert read_schedule("warmup:5,cosine", 100).name == "warmup:5,cosine:95:0"
    assert read_schedule("cosine:95", 7).name == "cosine:95:0"


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("cosin:5", UnknownNameError, "schedule 'cosin'"),
        ("cosin", UnknownNameError, "schedule 'cosin'"),
        ("exponential", UsageError, "has no GAMMA"),
        ("linear:a", UsageError, "STEPS of schedule 'linear:a' is no number"),
        ("linear:0", UsageError, "STEPS of schedule 'linear:0' cannot be 0"),
        ("linear:2.5", UsageError, "cannot be 2.5"),
        ("exponential:-1", UsageError, "GAMMA of schedule 'exponential:-1' cannot be -1"),
        ("exponential:nan", UsageError, "cannot be nan"),
        ("linear:5:0:1", UsageError, "has 3 numbers"),
        ("linear:5,cosine:5", UsageError, "'cosine:5' follows a schedule without an end"),
        ("warmup:5,warmup:6", UnknownNameError, "schedule 'warmup'"),
        ("nowhere.csv", DataError, "nowhere.csv"),
        ("nowhere.py:rate", UsageError, "'nowhere.py' is no file"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        read_schedule(text, 10)


def test_a_table_holds_each_rate_until_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("step,learning_rate\n1,0.5\n3,0.25\n4,0\n")
    assert rates_of(str(path), 6) == [0.5, 0.5, 0.25, 0.0, 0.0, 0.0]
    name = read_schedule(str(path), 6).name
    for text, told in (
        ("step,learning_rate\n2,0.5\n", "do not begin at 1"),
        ("step,learning_rate\n1,1\n1,2\n", "do not begin at 1 and grow"),
        ("step,learning_rate\n", "do not begin at 1"),
        ("step,rate\n1,1\n", "columns step, rate"),
        ("step,learning_rate\n1,fast\n", "rates.csv"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=told):
            read_schedule(str(path), 6)
    path.write_text("step,learning_rate\n1,0.5\n")
    assert read_schedule(str(path), 6).name != name


def test_a_function_of_a_file_gives_the_rate_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def rate(taken):\n    return 1 / (taken + 1)\n\ndef broken(taken):\n    return 'fast'\n")
    assert rates_of(f"{path}:rate", 3, own=7.0) == [1, 0.5, pytest.approx(1 / 3)]
    with pytest.raises(UsageError, match=r"fails after 0 steps \(ValueError"):
        rates_of(f"{path}:broken", 1)
    with pytest.raises(UnknownNameError, match="rat'"):
        read_schedule(f"{path}:rat", 1)


def followed(rates: list[float]) -> list[float]:
    """The losses of the line with w = 1, 1, 1 and x = 1, 1, 1: all of w shrink by a factor 1 - 3 rate."""
    found, w = [], 1.0
    for rate in rates:
        found.append((3 * w) ** 2)
        w *= 1 - 3 * rate
    return found


def trained(steps: int, schedule: object, **options: object) -> TrainingRun:
    graph = line_training(rate_input=True)
    found = read_schedule(schedule, 8) if isinstance(schedule, str) else schedule
    return train(graph, itertools.repeat(X), steps, CPU, rates=Rates(graph, found), **options)  # type: ignore[arg-type]


def test_each_step_has_its_rate() -> None:
    rates = [0.02 * (1 - n / 4) for n in range(4)] + [0.0, 0.0]
    run = trained(6, "linear:4")
    assert run.rates == pytest.approx(rates, rel=1e-6)
    assert run.losses == pytest.approx(followed(rates), rel=1e-5)
    assert run.losses[4] == run.losses[5]  # with a rate of zero nothing changes
    given = trained(3, lambda taken: 0.1 * taken)
    assert given.losses == pytest.approx(followed([0.0, 0.1, 0.2]), rel=1e-5)


def test_without_a_schedule_the_rate_is_the_graphs_own() -> None:
    graph = line_training(rate_input=True)
    assert (
        train(graph, itertools.repeat(X), 4, CPU).losses == train(line_training(), itertools.repeat(X), 4, CPU).losses
    )
    assert train(graph, itertools.repeat(X), 4, CPU).rates == []
    assert trained(4, "constant").losses == train(graph, itertools.repeat(X), 4, CPU).losses


def test_values_given_for_the_rate_are_what_a_schedule_scales() -> None:
    graph = line_training(rate_input=True)
    values = {"learning_rate": np.float32(0.1)}
    rates = Rates(graph, read_schedule("exponential:0.5", 3), values)
    run = train(graph, itertools.repeat(X), 3, CPU, values=values, rates=rates)
    assert run.losses == pytest.approx(followed([0.1, 0.05, 0.025]), rel=1e-5)


def test_a_graph_without_the_input_and_rates_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="rate of graph 'line-train' is no input"):
        Rates(line_training(), read_schedule("constant", 1))
    with pytest.raises(RunError, match=r"learning rate of -1\.0 at step 2"):
        trained(3, lambda taken: -float(taken))
    with pytest.raises(RunError, match="learning rate of nan at step 1"):
        trained(3, lambda taken: math.nan)


def test_a_run_that_is_resumed_goes_on_with_its_schedule(tmp_path: Path) -> None:
    whole = trained(7, "warmup:2,cosine:5")
    folder = CheckpointFolder(tmp_path)
    trained(4, "warmup:2,cosine:5", kept=CheckpointPlan(folder))
    rest = trained(7, "warmup:2,cosine:5", kept=CheckpointPlan(folder, resume=True))
    assert (rest.losses, rest.rates) == (whole.losses, whole.rates)
    assert {n: v.tobytes() for n, v in rest.values.items()} == {n: v.tobytes() for n, v in whole.values.items()}
    table = pd.read_csv(tmp_path / "losses.csv", float_precision="round_trip")
    assert list(table.columns) == ["step", "loss", "learning_rate"]
    assert list(table["learning_rate"]) == whole.rates
    with pytest.raises(UsageError, match="another learning-rate schedule"):
        trained(8, "cosine:5", kept=CheckpointPlan(folder, resume=True))
    with pytest.raises(UsageError, match="another learning-rate schedule"):
        train(line_training(rate_input=True), itertools.repeat(X), 8, CPU, kept=CheckpointPlan(folder, resume=True))


def test_an_evaluation_between_steps_changes_nothing() -> None:
    plan = EvaluationPlan([HeldOutLoss([X])], every=1)
    assert trained(4, "linear:4", evaluated=plan).losses == trained(4, "linear:4").losses


def test_the_figure_has_a_panel_for_the_rate() -> None:
    plain = curves(Record([1.0, 0.5]), "line")
    assert "learning rate" not in plain
    assert "learning rate" in curves(Record([1.0, 0.5], rates=[0.1, 0.05]), "line")


@pytest.mark.slow
def test_the_python_interface_exports_the_input_and_takes_texts_and_functions() -> None:
    workload = fathom_onnx.workload("autoenc", "tiny")
    graph = workload.export(mode="training", rate_input=True)
    assert graph.inputs[-1].name == "learning_rate"
    halved = fathom_onnx.train(graph, 3, threads=1, schedule="exponential:0.5")
    assert halved.rates == pytest.approx([1e-3, 5e-4, 2.5e-4])
    assert fathom_onnx.train(graph, 3, threads=1, schedule=lambda n: 1e-3 * 0.5**n).losses == halved.losses
    plain = fathom_onnx.train(workload.export(mode="training"), 3, threads=1)
    assert plain.losses[:2] == pytest.approx(halved.losses[:2], rel=1e-6)
    assert plain.losses[2] != halved.losses[2]
