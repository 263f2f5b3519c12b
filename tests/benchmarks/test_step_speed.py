"""The comparison of step times: its arithmetic on made-up turns, its protocol, and that all run the same step."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from step_speed import report, rounds
from step_speed.contestants import Case, contestants_of
from step_speed.figures import best_of_framework, ratio, summary
from step_speed.machine import control_s, disturbed


def turn(*times_ms: float, disturbed: bool = False) -> dict[str, Any]:
    return {"times_s": [t / 1e3 for t in times_ms], "disturbed": disturbed}


def row(contestant: str, *medians_ms: float, **more: Any) -> dict[str, Any]:
    turns = [turn(ms) for ms in medians_ms]
    return {
        "workload": "vgg",
        "mode": "training",
        "preset": "small",
        "threads": 1,
        "contestant": contestant,
        "framework": contestant.partition("-")[0] if "onnxruntime" not in contestant else contestant.split("-")[1],
        "ours": contestant.startswith("onnxruntime"),
        "rounds": turns,
        **summary(turns),
        **more,
    }


def test_a_summary_is_of_the_quiet_turns() -> None:
    said = summary([turn(1, 2, 9), turn(4), turn(50, disturbed=True), turn(3)])
    assert said == {"median_ms": 3, "minimum_ms": 1, "spread": pytest.approx(2 / 3), "disturbed": 1, "turns": 4}
    assert summary([turn(8, disturbed=True)])["median_ms"] == 8


def test_a_ratio_pairs_the_rounds() -> None:
    ours, others = [turn(t) for t in (1, 10, 3, 5, 7)], [turn(2 * t) for t in (1, 10, 3, 5, 7)]
    found = ratio(ours, others)
    # each resampling takes the same rounds of both, so that every one of them has the ratio 1 / 2
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    shuffled = ratio(ours, others[::-1])
    assert shuffled.value == 0.5
    assert shuffled.low < 0.5 < shuffled.high


def test_disturbed_rounds_are_left_out_of_a_ratio() -> None:
    ours = [turn(1), turn(1), turn(1), turn(100, disturbed=True)]
    assert ratio(ours, [turn(4)] * 4).value == 0.25
    assert ratio([turn(6)], [turn(3)]).value == 2


def test_the_best_mode_is_the_frameworks_own() -> None:
    rows = [row("torch-eager", 5), row("torch-fused", 4), row("onnxruntime-torch", 1), row("tensorflow-xla", 2)]
    best = best_of_framework([*rows, {"framework": "torch", "ours": False, "failed": "no"}], "torch")
    assert best is not None
    assert best["contestant"] == "torch-fused"
    assert best_of_framework(rows[:2], "tensorflow") is None


@pytest.mark.parametrize(
    ("before", "after", "fastest", "verdict"),
    [(1.0, 1.05, 1.0, False), (1.0, 1.2, 1.0, True), (1.3, 1.3, 1.0, True), (1.3, 1.31, 1.3, False)],
)
def test_a_change_of_speed_is_seen(before: float, after: float, fastest: float, verdict: bool) -> None:
    assert disturbed(before, after, fastest) is verdict


def test_the_control_takes_time() -> None:
    assert 0.001 < control_s(1) < 5


class Scripted:
    """A worker that takes no time."""

    def __init__(self) -> None:
        self.turns = 0

    def start(self) -> None: ...

    def steps(self, seconds: float) -> tuple[list[float], list[float]]:
        self.turns += 1
        return [seconds], []


def test_a_disturbed_turn_is_taken_again_and_marked_if_it_never_was_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    case, plan = Case("vgg", "training", "tiny", 1), rounds.Plan(again=2)
    monkeypatch.setattr(rounds, "REST_S", 0.0)

    def controls(*seconds: float) -> None:
        values = iter(seconds)
        monkeypatch.setattr(rounds, "control_s", lambda _: next(values))

    controls(1.0, 2.0, 1.0, 1.0)
    worker: Any = Scripted()
    found = rounds._turn(worker, case, plan, [1.0])
    assert (worker.turns, found.disturbed, found.controls_s) == (2, False, (1.0, 1.0))
    controls(*itertools.repeat(2.0, 6))
    worker = Scripted()
    found = rounds._turn(worker, case, plan, [1.0])
    assert (worker.turns, found.disturbed) == (3, True)


def test_threads_that_spin_for_a_while_after_their_step_disturb_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    spin_s, now = 0.05, [0.0]

    class Spinning(Scripted):
        def steps(self, seconds: float) -> tuple[list[float], list[float]]:
            self.until = now[0] + spin_s
            return super().steps(seconds)

    worker: Any = Spinning()
    worker.until = 0.0
    monkeypatch.setattr(rounds, "control_s", lambda _: 2.0 if now[0] < worker.until else 1.0)
    monkeypatch.setattr(rounds.time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    found = rounds._turn(worker, Case("vgg", "training", "tiny", 2), rounds.Plan(), [1.0])
    assert (worker.turns, found.disturbed) == (1, False)


def test_a_worker_that_fails_says_why(tmp_path: Path) -> None:
    worker = rounds.Worker(
        Case("nothing", "training", "tiny", 1), "onnxruntime-torch", Path("no"), 60, tmp_path / "log"
    )
    with pytest.raises(rounds.Failed, match="no"):
        worker.start()


def test_the_tables_name_the_ratio_and_the_failures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [
        row("torch-fused", 4, 4, 4),
        row("onnxruntime-torch", 3, 3, 3, gflops=50.0, ceiling_gflops=100.0, optimizer_share=0.25),
        {**row("tensorflow-xla", 1), "failed": "out of memory", "median_ms": None},
    ]
    text = report.tables(rows)
    assert "| vgg | 3.00 | 4.00 | eager, fused optimizer | **0.75** (0.75 to 0.75) | 0% |" in text
    assert "| 25% | 50.0 | 50% |" in text
    assert "| failed |" in text
    document, plot = tmp_path / "performance.md", tmp_path / "step-speed.svg"
    marks = {suite: "old\n".join(pair) for suite, pair in report.MARKS.items()}
    document.write_text(f"before\n{marks['2016']}\nbetween\n{marks['2026']}\nafter\n")
    monkeypatch.setattr(report, "DOCUMENT", document)
    monkeypatch.setattr(report, "PLOT", plot)
    report.write_report(rows, "A machine.", "a command")
    written = document.read_text()
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert written.count("old") == 1
    assert "A machine. Measured with `a command`. 0 of 7 turns" in written
    assert plot.read_text().startswith("<?xml")
    graphs = [
        row("onnxruntime-torch", 2, 2, 3, gflops=50.0, ceiling_gflops=100.0, optimizer_share=0.25),
        row("onnxruntime-tensorflow", 3, 3, 3, gflops=40.0, ceiling_gflops=100.0),
    ]
    report.write_report(graphs, "Another.", "another command", "2026")
    assert "| vgg | 2.00 | 50% | 25% | 50.0 | 3.00 | 0% |  | 40.0 | 1.50 (1.00 to 1.50) |" in document.read_text()
    assert "old" not in document.read_text()
    assert "A machine." in document.read_text()


def test_optimizers_are_compared_in_training_alone() -> None:
    names = [[c.name for c in contestants_of(mode)] for mode in ("training", "inference")]
    assert set(names[0]) - set(names[1]) == {"torch-foreach", "torch-fused", "tensorflow-kernels"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["speech", "seq2seq"])
def test_the_users_step_in_pytorch_has_the_loss_of_ours(name: str) -> None:
    import torch
    from step_speed.torch_steps import TorchStep

    from fathom_exporters.torch.models import make
    from fathom_onnx.workloads import workload

    step = TorchStep(Case(name, "training", "tiny", 1), "torch-eager")
    batch = next(step._batches)
    definition = workload(name, "tiny")
    model = make(definition)
    model.load_state_dict(
        {n: torch.from_numpy(v) for n, v in definition.initial_values("training", 0).items()}, strict=False
    )
    expected = float(model.loss(model(batch), batch).detach())
    found = float(step._step.run(batch)[definition.LOSS])
    # the recurrent weights of nn.LSTM start from other numbers: the loss of untrained weights is that of chance
    assert found == pytest.approx(expected, rel=1e-5 if name == "speech" else 0.02)


@pytest.mark.slow
def test_the_users_step_in_tensorflow_has_the_loss_of_ours() -> None:
    import tensorflow as tf
    from step_speed.tensorflow_steps import TensorFlowStep

    from fathom_exporters.tensorflow.models import TENSORFLOW
    from fathom_exporters.tensorflow.net import Net
    from fathom_onnx.workloads import workload

    case = Case("speech", "training", "tiny", 1)
    losses = []
    for contestant in ("tensorflow-function", "tensorflow-kernels"):
        step = TensorFlowStep(case, contestant)
        batches = [next(step._batches) for _ in range(2)]
        losses.append([float(step._step(batch)) for batch in batches])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    definition, model = workload("speech", "tiny"), TENSORFLOW.model("speech")
    net = Net({n: tf.constant(v) for n, v in definition.initial_values("training", 0).items()}, "training")
    outputs = model.forward(net, definition.config, batches[0])
    assert losses[0][0] == pytest.approx(float(model.loss(net, definition.config, outputs, batches[0])), rel=1e-5)
