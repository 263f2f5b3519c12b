"""The framework question on hand-made profiles: every number known, verdicts in every direction."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_onnx.analysis.cost.node_costs import NodeCost
from fathom_onnx.analysis.similarity.criteria import CRITERIA
from fathom_onnx.analysis.similarity.distances import assess
from fathom_onnx.analysis.similarity.levels import FrameworkLevel
from fathom_onnx.analysis.similarity.op_mix import (
    BALANCE,
    OpMix,
    modelled_cost,
    run_op_mix,
    structure,
    structure_op_mix,
)
from fathom_onnx.analysis.similarity.share_differences import differences
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.errors import RunError
from fathom_onnx.graph import from_model
from support.graphs.small_models import control_flow, model, op
from support.runs.summaries import spent

NAMES = ("conv", "full", "mul", "tile", "sum")
OWN = ("Conv2D", "MatMul", "Mul", "Tile", "Sum")


def suite(
    frameworks: Mapping[str, Mapping[str, str]], mode: str = "inference", steps: int = 1, noise: float = 0.0
) -> list[OpMix]:
    """Profiles of framework to workload to its op, beside which every workload has some RandomNormal."""
    random = np.random.default_rng(3)
    return [
        spent(w, f, mode, [{op: 90 + noise * random.random(), "RandomNormal": 10} for _ in range(steps)])
        for f, ops in frameworks.items()
        for w, op in ops.items()
    ]


SAME = dict(zip(NAMES, OWN, strict=True))
SHIFTED = dict(zip(NAMES, (*OWN[1:], OWN[0]), strict=True))


def test_frameworks_that_do_the_same_matter_little_by_every_number() -> None:
    found = assess(suite({"torch": SAME, "tensorflow": SAME}), "inference", "op")
    assert found is not None
    between = 1 - 0.01 / (0.81 + 0.01)
    assert found.within == pytest.approx(0)
    assert found.between == pytest.approx(between)
    assert found.nearest == 5
    assert found.silhouette == pytest.approx(1)
    assert found.silhouette_framework is not None
    assert found.silhouette_framework < 0
    assert found.p == pytest.approx(1 / 120)
    assert found.smallest_p == pytest.approx(1 / 120)
    assert found.intervals == {}
    assert found.outcome == "little"
    assert set(found.met) == {c.name for c in CRITERIA}


def test_frameworks_that_swap_the_workloads_matter_much() -> None:
    found = assess(suite({"torch": SAME, "tensorflow": SHIFTED}), "inference", "op")
    assert found is not None
    assert found.nearest == 0
    # no deal of labels is worse than this one, which pairs none that belong together
    assert found.p == pytest.approx(1)
    assert found.outcome == "much"
    assert found.met == dict.fromkeys(("nearest", "ratio", "silhouette", "permutation"), False)


def test_the_exact_test_counts_the_deals_that_do_as_well() -> None:
    # two workloads of the second framework have changed places: as close are only the deals that pair three or more
    swapped = {**SAME, "conv": "MatMul", "full": "Conv2D"}
    found = assess(suite({"torch": SAME, "tensorflow": swapped}), "inference", "op")
    assert found is not None
    # permutations of five with at least three fixed points: 1 (all five) + 10 (three)
    assert found.p == pytest.approx(11 / 120)
    assert found.nearest == 3
    assert found.outcome == "much"


def test_what_differs_a_little_is_mixed_and_says_which_criteria_fail() -> None:
    torch = suite({"torch": SAME})
    shifted = [spent(w, "tensorflow", "inference", [{op: 60, "RandomNormal": 60}]) for w, op in SAME.items()]
    level = FrameworkLevel.of("onnxruntime", "time in onnxruntime", [*torch, *shifted])
    by_op = level.assessments[1]
    assert by_op.p <= 0.01
    assert by_op.outcome == "mixed"
    assert level.outcome == "mixed"
    assert "the answer is mixed: " in level.verdict
    assert "ratio (inference by op)" in level.verdict
    assert "permutation" not in level.verdict


def test_fewer_than_five_workloads_are_too_few_for_the_test() -> None:
    few = {name: SAME[name] for name in NAMES[:4]}
    level = FrameworkLevel.of("x", "x", suite({"torch": few, "tensorflow": few}))
    assert level.assessments[0].smallest_p == pytest.approx(1 / 24)
    assert level.outcome == "unknown"
    assert "4 workloads are too few" in level.verdict


@pytest.mark.parametrize(
    "profiles",
    [
        [],
        suite({"torch": SAME}),
        suite({"torch": {"conv": "Conv2D"}, "tensorflow": {"conv": "Conv2D"}}),
        suite({"torch": {"conv": "Conv2D"}, "tensorflow": {"full": "MatMul"}}),
        suite({"torch": SAME}) + suite({"tensorflow": SAME}, mode="training"),
    ],
)
def test_nothing_can_be_asked_without_two_workloads_from_two_frameworks(profiles: list[OpMix]) -> None:
    level = FrameworkLevel.of("x", "x", profiles)
    assert level.assessments == ()
    assert level.outcome == "unknown"
    assert (
        level.verdict
        == "By x it cannot be told whether the framework matters: that takes two workloads from two frameworks."
    )


def test_a_workload_that_one_framework_lacks_has_no_part() -> None:
    more = {**SAME, "alone": "Exp"}
    found = assess(suite({"torch": more, "tensorflow": SAME}), "inference", "op")
    assert found is not None
    assert found.workloads == NAMES


def test_of_three_frameworks_every_pair_is_asked() -> None:
    level = FrameworkLevel.of("x", "time", suite(dict.fromkeys(("torch", "tensorflow", "jax"), SAME), steps=2))
    pairs = [("torch", "tensorflow"), ("torch", "jax"), ("tensorflow", "jax")]
    assert [pair.between for pair in level.pairs] == pairs
    assert [a.frameworks for a in level.assessments] == [pair for pair in pairs for _ in range(2)]
    assert {a.smallest_p for a in level.assessments} == {1 / 120}
    assert [pair.outcome for pair in (level, *level.pairs)] == ["little"] * 4
    assert level.pairs[1].verdict.startswith("By time, between torch and jax, the framework matters little")
    assert "(inference by class, torch and tensorflow, the worst case" in level.verdict
    assert [pair["frameworks"] for pair in level.json()["pairs"]] == pairs
    # of two there is one pair, which is the level
    assert FrameworkLevel.of("x", "time", suite({"torch": SAME, "jax": SAME})).pairs == ()


def test_a_framework_that_stands_out_decides_the_level() -> None:
    level = FrameworkLevel.of("x", "time", suite({"torch": SAME, "jax": SHIFTED, "tensorflow": SAME}))
    assert {pair.between: pair.outcome for pair in level.pairs} == {
        ("torch", "jax"): "much",
        ("torch", "tensorflow"): "little",
        ("jax", "tensorflow"): "much",
    }
    assert level.outcome == "much"
    told = "By time the framework matters: 16 of 24 criteria are not met, 8 of 8 between torch and jax, 8 of 8 between "
    assert f"{told}jax and tensorflow; frameworks" in level.verdict
    assert "ratio (inference by op)" in level.pairs[0].verdict
    assert level.worst is not None
    assert "jax" in level.worst.frameworks


def test_a_pair_is_asked_of_the_workloads_that_both_have() -> None:
    more = {**SAME, "alone": "Exp"}
    level = FrameworkLevel.of("x", "time", suite({"torch": more, "tensorflow": more, "jax": SAME}))
    assert [len(a.workloads) for a in level.assessments if a.grouping == "op"] == [6, 5, 5]


def test_a_pair_has_the_numbers_that_it_has_alone() -> None:
    """Further frameworks change no number of a pair, nor its resamples."""
    mixes = suite({"torch": SAME, "tensorflow": {**SAME, "conv": "MatMul"}, "jax": SHIFTED}, steps=6, noise=20)
    level = FrameworkLevel.of("x", "time", mixes)
    alone = FrameworkLevel.of("x", "time", [m for m in mixes if m.label.framework != "jax"])
    assert alone.assessments == level.pairs[0].assessments


def test_intervals_come_from_the_scatter_between_steps_and_hold_the_number() -> None:
    profiles = suite({"torch": SAME, "tensorflow": SAME}, steps=12, noise=20)
    found = assess(profiles, "inference", "op")
    assert found is not None
    assert set(found.intervals) == {"within", "ratio", "nearest", "silhouette"}
    low, high = found.intervals["within"]
    assert 0 < low < high < 0.01
    assert found.intervals["nearest"] == (5, 5)
    again = assess(profiles, "inference", "op")
    assert again is not None
    assert again.intervals == found.intervals  # the draws are seeded


def test_a_level_is_one_json_object_with_its_criteria() -> None:
    level = FrameworkLevel.of("x", "x", suite({"torch": SAME, "tensorflow": SHIFTED}))
    held = json.loads(json.dumps(level.json()))
    assert held["outcome"] == "much"
    assert held["criteria"] == {c.name: c.text for c in CRITERIA}
    assert [(a["mode"], a["level"]) for a in held["assessments"]] == [("inference", "class"), ("inference", "op")]
    assert held["assessments"][1]["farthest"][1] == pytest.approx(1 - 0.01 / 0.82)


def test_the_largest_differences_come_first_with_the_nodes_that_make_them() -> None:
    in_torch = OpMix(
        RunLabel("w", "torch", "training"),
        pd.DataFrame([{"Mul": 50.0, "MatMul": 50.0}]),
        {"Mul": (("a/Mul", 0.8), ("b/Mul", 0.2))},
    )
    in_tensorflow = spent("w", "tensorflow", "training", [{"Tile": 30, "Mul": 10, "MatMul": 60}])
    first, second, third = differences([in_torch, in_tensorflow])
    assert (first.op, first.first_share, first.second_share) == ("Mul", 0.5, 0.1)
    assert first.first_nodes == (("a/Mul", 0.8), ("b/Mul", 0.2))
    assert (second.op, second.first_share, second.second_share) == ("Tile", 0.0, 0.3)
    assert str(first) == "w training Mul: torch 50.0% (of it 80% in a/Mul), tensorflow 10.0%"
    assert first.json() == {
        **{"workload": "w", "mode": "training", "op": "Mul", "size": pytest.approx(0.4)},
        **{"here": "torch", "share_here": 0.5, "nodes_here": (("a/Mul", 0.8), ("b/Mul", 0.2))},
        **{"there": "tensorflow", "share_there": pytest.approx(0.1), "nodes_there": ()},
    }
    assert third.op == "MatMul"
    assert third.size == pytest.approx(0.1)
    assert len(differences([in_torch, in_tensorflow], count=1)) == 1
    # of three frameworks an op stands once, with the two that differ most
    in_jax = spent("w", "jax", "training", [{"Tile": 10, "Mul": 30, "MatMul": 60}])
    found = differences([in_torch, in_tensorflow, in_jax])
    assert [(d.op, d.first, d.second) for d in found[:2]] == [
        ("Mul", "torch", "tensorflow"),
        ("Tile", "torch", "tensorflow"),
    ]
    assert len({d.op for d in found}) == len(found)


@given(st.permutations(range(5)))
@settings(max_examples=15)
def test_the_order_of_the_runs_changes_no_number(order: list[int]) -> None:
    swapped = {**SAME, "conv": "MatMul", "full": "Conv2D"}
    profiles = suite({"torch": SAME, "tensorflow": swapped})
    mixed = [profiles[i] for i in order] + [profiles[5 + i] for i in order]
    a, b = (assess(p, "inference", "op") for p in (profiles, mixed))
    assert a is not None
    assert b is not None
    assert (a.nearest, a.p) == (b.nearest, b.p)
    assert b.within == pytest.approx(a.within)
    assert b.silhouette == pytest.approx(a.silhouette)


# profiles


def test_a_profiles_shares_are_of_the_medians_over_steps() -> None:
    made = spent("w", steps=[{"Mul": 1, "MatMul": 1}, {"Mul": 3, "MatMul": 1}, {"Mul": 100, "MatMul": 1}])
    assert made.shares("op").to_dict() == {"Mul": 0.75, "MatMul": 0.25}
    assert made.shares("class").to_dict() == {"A": 0.75, "B": 0.25, "C": 0, "D": 0, "E": 0, "F": 0, "G": 0}


def test_a_modelled_cost_is_the_larger_of_arithmetic_and_traffic_or_unknown() -> None:
    assert modelled_cost(NodeCost(0, 1000, 8, 2)) == 1000
    assert modelled_cost(NodeCost(0, 10, 8, 2)) == BALANCE * 10
    assert modelled_cost(NodeCost(None, None, 8, 2)) is None
    assert modelled_cost(NodeCost(0, 10, None, 2)) is None


def test_a_graphs_structure_is_its_modelled_cost_by_op_and_what_is_unknown_is_counted() -> None:
    nodes = [
        op("Relu", "x", "y", "forward/act/Relu"),
        op("MatMul", "y w", "z", "forward/fc/MatMul"),
        op("MatMul", "z w", "v", "forward/out/MatMul"),
        op("NonZero", "v", "where", "forward/find/Sort"),  # as many as there are
    ]
    shapes = {"x": (1, (4, 3)), "w": (1, (3, 3))}
    held = structure(from_model(model(nodes, shapes, {"where": (7, None)}), "m"))
    assert json.loads(json.dumps(held)) == held
    # 4 x 3 floats in and out of Relu; 4 x 3, 3 x 3 in and 4 x 3 out of MatMul; traffic outweighs 72 FLOPs
    assert held["ops"] == {"Relu": BALANCE * 4 * 24, "MatMul": 2 * BALANCE * 4 * 33}
    assert held["nodes"]["MatMul"] == [["forward/fc/MatMul", 0.5], ["forward/out/MatMul", 0.5]]
    assert held["unknown"] == 1
    made = structure_op_mix(RunLabel("w", "torch", "inference"), held)
    assert made.unknown == 1
    assert made.shares("op")["Relu"] == pytest.approx(24 / 90)
    with pytest.raises(RunError, match="has no time in any op"):
        structure_op_mix(RunLabel("w", "torch", "inference"), {"ops": {}, "nodes": {}, "unknown": 3})


def test_what_a_body_costs_counts_as_often_as_it_runs() -> None:
    held = structure(control_flow())
    # bytes of five executions: three matrices of 8 x 8 floats; one, and a float; two floats and a truth; two truths
    bytes_moved = {"Control": 0, "MatMul": 5 * 768, "Sum": 5 * 260, "Compare": 5 * 9, "Identity": 5 * 2}
    assert held["ops"] == {name: BALANCE * moved for name, moved in bytes_moved.items()}
    assert held["nodes"]["MatMul"] == [["/loop/MatMul", 1.0]]
    assert held["unknown"] == 3  # the two branches, which data chooses from, and what takes the loop's unsized result


def test_a_runs_steps_are_its_nodes_samples_by_weight() -> None:
    run = small_run()
    made = run_op_mix(run)
    assert made.label == RunLabel("w", "torch", "training")
    assert made.steps.to_dict("list") == {"Mul": [6.0], "MatMul": [4.0]}
    assert made.nodes["Mul"] == (("forward/a/Mul", pytest.approx(4 / 6)), ("loss/b/Mul", pytest.approx(2 / 6)))
    assert made.phases.to_dict("list") == {"forward": [8.0], "loss": [2.0]}
    run.samples = np.array([[8, 2], [4, 6], [6, 6]])
    assert run_op_mix(run).steps.to_dict("list") == {"Mul": [6.0, 8.0, 9.0], "MatMul": [4.0, 2.0, 3.0]}


def small_run() -> Any:
    """Two executed nodes of 8 and 2 microseconds; the first stands for a MatMul and a Mul, half each."""
    rows = [
        (0, "forward/fc/MatMul", 0.5, 4.0, "MatMul", "forward"),
        (0, "forward/a/Mul", 0.5, 4.0, "Mul", "forward"),
        (1, "loss/b/Mul", 1.0, 2.0, "Mul", "loss"),
    ]
    return SimpleNamespace(
        manifest={"workload": "w", "framework": "torch", "mode": "training"},
        nodes=pd.DataFrame({"median_us": [8.0, 2.0]}),
        samples=np.array([[8, 2]]),
        attribution=pd.DataFrame(rows, columns=["executed", "original", "weight", "us", "op", "phase"]),
    )


@pytest.mark.slow
def test_the_torch_graph_of_a_convolution_costs_what_its_nodes_cost(tiny) -> None:
    graph = tiny("residual", "torch", "inference")
    held = structure(graph)
    assert held["unknown"] == 0
    assert max(held["ops"], key=held["ops"].get) == "Conv2D"
    (largest, share), *_ = held["nodes"]["Conv2D"]
    assert largest.endswith("Conv2D")
    assert 0 < share < 1
    assert math.isfinite(sum(held["ops"].values()))
