"""The same graphs on two providers: exact numbers on runs made by hand."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fathom_onnx.analysis.paper.evidence import RunEvidence
from fathom_onnx.analysis.paper.provider_comparison import (
    Gain,
    Ratio,
    comparison_json,
    correlation,
    framework_distance,
    gains,
    node_times,
    pairs,
    provider_levels,
    ratios,
    times_of,
)
from fathom_onnx.analysis.report.provider_figures import class_pairs, gain_over_skew, ratios_beside
from fathom_onnx.analysis.similarity.similarity import Gap, RunLabel
from support.runs.summaries import spent, summary


def run(
    provider: str,
    workload: str,
    ops: Mapping[str, float],
    us: float | None = 100.0,
    mode: str = "training",
    framework: str = "torch",
    times: str = "",
    **facts: Any,
) -> RunEvidence:
    held = summary(workload, framework, mode, {"control_us": us, "provider": provider, **facts}, **ops)
    return RunEvidence(held, spent(workload, framework, mode, [ops]), times)


def by_label(*runs: RunEvidence) -> dict[RunLabel, RunEvidence]:
    return {r.label: r for r in runs}


CPU = by_label(
    run("cpu", "a", {"Conv2D": 80, "MatMul": 20}, 400),
    run("cpu", "a", {"Conv2D": 60, "MatMul": 40}, 100, "inference"),
    run("cpu", "b", {"MatMul": 30, "Mul": 40}, 90),
)
GPU = by_label(
    run("cuda", "a", {"Conv2D": 60, "Mul": 80}, 40, times="device"),
    run("cuda", "a", {"Conv2D": 60, "MatMul": 40}, 20, "inference", times="device"),
    run("cuda", "c", {"MatMul": 1}, times="device"),
)
BOTH = pairs(CPU, GPU)


def test_pairs_are_the_graphs_that_ran_on_both() -> None:
    assert [str(pair.label) for pair in BOTH] == ["a training (torch)", "a inference (torch)"]
    assert [pair.gain for pair in BOTH] == [10.0, 5.0]


def test_distances_and_what_differs_most() -> None:
    training, inference = BOTH
    # (0.8, 0.2, 0) and (3/7, 0, 4/7): 1 - 4.8 / (sqrt(68) * 10 / 10)
    assert training.distance("op") == pytest.approx(1 - 4.8 / (0.68**0.5 * 10))
    assert training.gap("op") == Gap("Mul", 0.0, pytest.approx(4 / 7))
    assert inference.distance("op") == pytest.approx(0, abs=1e-12)
    assert training.distance("class") == training.distance("op")  # each of the three ops has a class of its own


def test_gain_and_skew() -> None:
    assert gains(BOTH) == (
        Gain(RunLabel("a", "torch", "training"), "Conv2D", 0.8, 10.0),
        Gain(RunLabel("a", "torch", "inference"), "Conv2D", 0.6, 5.0),
    )


def test_training_to_inference_on_both() -> None:
    assert ratios(BOTH) == (Ratio("a", "torch", 4.0, 2.0),)
    assert ratios(BOTH[:1]) == ()


def test_rank_correlation_by_hand() -> None:
    # ranks 1 2 3 4 5 and 2 1 4 3 5: 1 - 6 * 4 / (5 * 24)
    assert correlation([(1, 20), (2, 10), (3, 40), (4, 30), (5, 50)]) == pytest.approx(0.8)
    assert correlation([(1, 1), (2, 2), (3, 3), (4, 4)]) is None
    assert correlation([(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]) is None
    assert correlation([]) is None


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=5, max_size=12))
def test_a_correlation_is_that_of_the_ranks(points: list[tuple[float, float]]) -> None:
    rho = correlation(points)
    squared = correlation([(x**2, y) for x, y in points])
    assert (rho is None) == (squared is None)
    if rho is not None:
        assert -1 <= rho <= 1
        assert squared == pytest.approx(rho, abs=1e-9)


def test_launches_are_compared_with_nothing() -> None:
    launched = replace(GPU[RunLabel("a", "torch", "training")], node_times="host launch")
    (pair,) = pairs(CPU, by_label(launched))
    assert (pair.distance("op"), pair.gap("op")) == (None, None)
    assert pair.gain == 10.0  # unprofiled steps are wall time
    assert provider_levels([launched]) == ()
    assert framework_distance(by_label(launched), launched.label, "op") is None
    held = pair.json()
    assert (held["other_node_times"], held["distance_by_op"], held["largest_gap"]) == ("host launch", None, None)


def test_a_run_that_does_not_tell_is_not_believed() -> None:
    assert node_times({}, "cpu") == "kernel"
    assert node_times({}, "cuda") == "unknown"
    assert node_times({"node_times": "serialized"}, "cuda") == "serialized"
    untold = replace(GPU[RunLabel("a", "torch", "training")], node_times="")
    assert times_of(untold) == "unknown"
    assert pairs(CPU, by_label(untold))[0].distance("op") is None


def test_a_run_without_an_unprofiled_step_has_no_gain() -> None:
    (pair,) = pairs(CPU, by_label(run("cuda", "b", {"Mul": 1.0}, None, times="device")))
    assert (pair.gain, gains([pair])) == (None, ())
    assert pair.json()["gain"] is None


def test_levels_never_mix_providers_or_kinds_of_times() -> None:
    def of(provider: str, times: str, framework: str) -> list[RunEvidence]:
        return [run(provider, w, {op: 1.0}, framework=framework, times=times) for w, op in (("a", "Mul"), ("b", "Sum"))]

    runs = [
        *(r for f in ("torch", "tensorflow") for r in of("cuda", "device", f)),
        *of("cpu", "kernel", "torch"),
        *of("cpu", "kernel", "tensorflow"),
    ]
    levels = provider_levels(runs)
    assert [(v.name, v.what) for v in levels] == [
        ("onnxruntime", "time in onnxruntime"),
        ("onnxruntime on CUDA", "device time in onnxruntime on CUDA"),
    ]
    assert [len(v.assessments) for v in levels] == [2, 2]
    mixed = [replace(r, node_times="serialized") if r.label.framework == "torch" else r for r in runs[:4]]
    named = {v.name: v for v in provider_levels(mixed)}
    assert set(named) == {"onnxruntime on CUDA", "onnxruntime on CUDA, serialized"}
    assert all(v.assessments == () for v in named.values())  # one framework each
    assert named["onnxruntime on CUDA, serialized"].what == "time in onnxruntime on CUDA with serialized launches"


def test_of_several_numbers_of_threads_the_most_counts() -> None:
    one = run("cpu", "a", {"Mul": 1.0}, threads=1)
    two = run("cpu", "a", {"Sum": 1.0}, threads=2)
    other = [run("cpu", w, {op: 1.0}, framework=f) for w, f, op in (("a", "x", "Sum"), ("b", "x", "Mul"))]
    more = run("cpu", "b", {"Mul": 1.0}, threads=2)
    (level,) = provider_levels([two, one, more, *other])
    assert {a.within for a in level.assessments} == {0.0}


def test_frameworks_apart_on_one_provider() -> None:
    mine, twin = run("cpu", "a", {"Mul": 3, "Sum": 4}), run("cpu", "a", {"Mul": 4, "Sum": 3}, framework="tensorflow")
    assert framework_distance(by_label(mine, twin), mine.label, "op") == pytest.approx(1 - 24 / 25)
    assert framework_distance(by_label(mine), mine.label, "op") is None
    assert framework_distance(by_label(mine, replace(twin, node_times="serialized")), mine.label, "op") is None


def test_json_holds_it_all() -> None:
    held = comparison_json(CPU, GPU)
    assert json.loads(json.dumps(held)) == held
    assert held["ratios"] == [{"workload": "a", "framework": "torch", "base": 4.0, "other": 2.0}]
    assert held["graphs"][0]["gain"] == 10.0
    assert held["gains"][0]["op"] == "Conv2D"


def test_the_drawings() -> None:
    drawn = class_pairs([*BOTH, *pairs(CPU, by_label(run("cuda", "b", {"Mul": 1.0}, times="host launch")))])
    for part in ("a training · CPU", "a training · CUDA", "node times: host launch", ">57<"):
        assert part in drawn
    for text in (drawn, gain_over_skew(gains(BOTH), "cpu", "cuda"), ratios_beside(ratios(BOTH), "cpu", "cuda")):
        ElementTree.fromstring(text)
    assert "times faster on CUDA" in gain_over_skew(gains(BOTH), "cpu", "cuda")
