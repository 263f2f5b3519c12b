"""The model of the claims about threads: Amdahl's law by hand, and what the ledger says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from fathom_onnx.analysis.paper.claims import Entry, ledger
from fathom_onnx.analysis.paper.evidence import Evidence, RunEvidence
from fathom_onnx.analysis.paper.thread_model import amdahl
from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.analysis.similarity.similarity import RunLabel
from support.runs.summaries import summary


@pytest.mark.parametrize(
    ("one", "two", "eight"),
    [
        (100, 60, 30),  # 80 of it divide: 20 + 80 / 8
        (100, 50, 12.5),  # all of it
        (100, 40, 12.5),  # more than all of it cannot
        (100, 100, 100),  # none
        (100, 120, 120),  # slower with two: no faster with more
        (0, 0, 0),
        (0, 5, 5),
    ],
)
def test_amdahls_law_from_two_times(one: float, two: float, eight: float) -> None:
    assert amdahl(np.array([one]), np.array([two]), 2, 8)[0] == pytest.approx(eight)


def test_from_three_threads_the_law_is_the_same() -> None:
    serial, parallel = 30.0, 90.0
    found = amdahl(np.array([serial + parallel]), np.array([serial + parallel / 3]), 3, 8)
    assert found[0] == pytest.approx(serial + parallel / 8)


def runs(
    workload: str,
    one: Sequence[Mapping[str, float]],
    two: Sequence[Mapping[str, float]],
    phases: Sequence[Sequence[Mapping[str, float]]] = ((), ()),
) -> list[RunEvidence]:
    """Training runs on 1 and 2 threads: a round of two equal steps for every table of times by op."""
    made = []
    for threads, rounds, by_phase in zip((1, 2), (one, two), phases, strict=True):
        steps = pd.DataFrame([row for row in rounds for _ in range(2)], dtype=float).fillna(0.0)
        mix = OpMix(
            RunLabel(workload, "torch", "training"),
            steps,
            rounds=(2,) * len(rounds),
            phases=pd.DataFrame([row for row in by_phase for _ in range(2)], dtype=float),
        )
        facts = {"threads": threads, "provider": "cpu", "control_us": 1.0}
        made.append(RunEvidence(summary(workload, "torch", "training", facts, **rounds[0]), mix))
    return made


def entries(*several: list[RunEvidence]) -> dict[str, Entry]:
    return {entry.claim.id: entry for entry in ledger(Evidence(tuple(run for pair in several for run in pair)))}


HOW = "by a model, not measured (each op on 1 and 2 threads, Amdahl's law to 8) it "


def test_the_ledger_says_what_the_model_makes_of_deepq() -> None:
    found = entries(runs("deepq", [{"Conv2D": 97, "ApplyRMSProp": 3}] * 3, [{"Conv2D": 48.5, "ApplyRMSProp": 3}] * 3))
    entry = found["F6b"]
    assert entry.verdict == "cannot be tested here"
    assert entry.why == "needs deepq training runs on 1 and on 8 threads; there are: 1, 2"
    # the optimizer does not divide, the convolution does: 3 / (97 / 8 + 3)
    assert entry.model == f"{HOW}would hold, in 100% of resamples: torch: 3.0% on 1 thread, 19.8% (19.8% to 19.8%) on 8"
    assert entry.json()["model"] == entry.model
    assert str(entry).endswith(f"{entry.why}; {entry.model}")
    heavy = f"{HOW}would hold, in 100% of resamples: the share falls in 1 (1 to 1) of 1 runs"
    assert found["F6a"].model == heavy


def test_rounds_that_differ_are_the_error_of_the_model() -> None:
    """The optimizer halves in one of two rounds on two threads, and stays as it is in the other."""
    one = [{"Conv2D": 97, "ApplyRMSProp": 3}] * 2
    two = [{"Conv2D": 48.5, "ApplyRMSProp": 3}, {"Conv2D": 48.5, "ApplyRMSProp": 1.5}]
    model = entries(runs("deepq", one, two))["F6b"].model
    # 2.25 in the middle: 3 - 0.75 * 1.75; 3 / 8 where only the second round is drawn, whose share stays 3%
    low, middle, high = 3 / 100, 1.6875 / (97 / 8 + 1.6875), 3 / (97 / 8 + 3)
    assert f"torch: 3.0% on 1 thread, {middle:.1%} ({low:.1%} to {high:.1%}) on 8" in model
    assert "would hold, in 7" in model  # about three quarters of the draws


def test_small_operations_of_memnet() -> None:
    one, two = [{"MatMul": 50, "Mul": 40, "Add": 10}], [{"MatMul": 25, "Mul": 38, "Add": 10}]
    model = entries(runs("memnet", one, two))["F6d"].model
    # 40 - 2 * 1.75 = 36.5 and 10: 50 / 46.5
    assert model.startswith(f"{HOW}would hold")
    assert "torch: 1.08 (1.08 to 1.08) times faster on 8" in model
    faster = entries(runs("memnet", one, [{"MatMul": 25, "Mul": 20, "Add": 5}]))["F6d"].model
    assert faster.startswith(f"{HOW}would not hold")


def test_the_loss_of_seq2seq_takes_its_phase() -> None:
    ops = [{"MatMul": 100}] * 2
    phases = ([{"forward": 99.5, "loss": 0.5}] * 2, [{"forward": 49.75, "loss": 0.5}] * 2)
    model = entries(runs("seq2seq", ops, ops, phases))["F6c"].model
    share = 0.5 / (99.5 / 8 + 0.5)
    assert f"torch: 0.5% on 1 thread, {share:.1%} ({share:.1%} to {share:.1%}) on 8" in model
    assert entries(runs("seq2seq", ops, ops))["F6c"].model == ""  # the phases of the steps are not known


def test_without_two_numbers_of_threads_there_is_no_model() -> None:
    one, _ = runs("deepq", [{"Conv2D": 97, "ApplyRMSProp": 3}], [{"Conv2D": 1}])
    assert entries([one])["F6b"].model == ""
    assert entries([one])["F5c"].model == ""
