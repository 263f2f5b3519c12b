"""Rounds, noise floors, resamples: exact distances of hand-made rounds, planted differences below and above a floor."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from fathom_onnx.analysis.similarity.distances import assess
from fathom_onnx.analysis.similarity.levels import FrameworkLevel
from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.analysis.similarity.resampling import Grid, counted, drawn_medians, interval, noise_floor, silhouette
from fathom_onnx.analysis.similarity.similarity import RunLabel

OWN = ("Conv2D", "MatMul", "Mul", "Tile", "Sum")


def apart(angle: float) -> float:
    """The cosine distance of two op mixes at an angle in degrees."""
    return 1 - math.cos(math.radians(angle))


def measured(op: str, framework: str, *angles: float, steps: int = 2) -> OpMix:
    """A workload whose rounds are turned from its own op towards RandomNormal by these angles in degrees."""
    rows = [
        {op: math.cos(math.radians(angle)), "RandomNormal": math.sin(math.radians(angle))}
        for angle in angles
        for _ in range(steps)
    ]
    rounds = (steps,) * len(angles)
    return OpMix(RunLabel(op.lower(), framework, "training"), pd.DataFrame(rows), rounds=rounds)


def suite(torch: Sequence[float], tensorflow: Sequence[float]) -> list[OpMix]:
    return [measured(op, name, *angles) for name, angles in (("torch", torch), ("tf", tensorflow)) for op in OWN]


def test_a_mix_knows_its_rounds() -> None:
    table = pd.DataFrame({"Mul": [1.0, 2, 3, 4, 5]})
    mix = OpMix(RunLabel("w", "torch", "training"), table, rounds=(2, 3))
    assert [part["Mul"].tolist() for part in mix.in_rounds("op")] == [[1, 2], [3, 4, 5]]
    assert [part["A"].tolist() for part in mix.in_rounds("class")] == [[1, 2], [3, 4, 5]]
    alone = OpMix(mix.label, table)
    assert [len(part) for part in alone.in_rounds("op")] == [5]


def test_the_noise_floor_is_the_largest_distance_between_two_rounds_of_medians() -> None:
    rounds = [np.array([[1.0, 0], [1, 0], [0, 9]]), np.array([[1.0, 1.0]]), np.array([[2.0, 1.0]])]
    # medians (1, 0), (1, 1), (2, 1): the first two are 45 degrees apart
    assert noise_floor(rounds) == pytest.approx(apart(45))
    assert noise_floor(rounds[:1]) is None


def test_of_a_distance_counts_what_exceeds_the_larger_floor() -> None:
    square = np.array([[0, 0.5, 0.2], [0.5, 0, 0.1], [0.2, 0.1, 0]])
    found = counted(square, np.array([0.05, 0.15, 0.0]))
    assert found == pytest.approx(np.array([[0, 0.35, 0.15], [0.35, 0, 0], [0.15, 0, 0]]))


def test_resamples_draw_rounds_then_steps() -> None:
    """Of two rounds without spread, half of the draws have one of each: a median between them."""
    drawn = drawn_medians([np.array([[1.0]] * 3), np.array([[3.0]] * 3)], np.random.default_rng(0), 4000)[:, 0]
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [1, 2, 3]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    # the same steps as one round: any number of ones among the six may be drawn, a tie in 20 of 64
    one = drawn_medians([np.array([[1.0]] * 3 + [[3.0]] * 3)], np.random.default_rng(0), 4000)[:, 0]
    assert np.mean(one == 2) == pytest.approx(20 / 64, abs=0.03)


def test_rounds_may_have_different_numbers_of_steps() -> None:
    drawn = drawn_medians([np.array([[1.0]]), np.array([[3.0]] * 5)], np.random.default_rng(0), 500)
    assert set(np.unique(drawn)) == {1.0, 2.0, 3.0}


def test_an_interval_leaves_out_a_twentieth() -> None:
    assert interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))
    assert interval(np.array([1.0, np.nan])) is None


def test_the_permutation_test_counts_deals_of_two_and_three_frameworks() -> None:
    square = np.ones((6, 6)) - np.tile(np.eye(3), (2, 2))  # each workload's own is at 0
    assert Grid(3, 2).permutation_p(square) == pytest.approx(1 / 6)
    three = np.ones((9, 9)) - np.tile(np.eye(3), (3, 3))
    assert Grid(3, 3).permutation_p(three) == pytest.approx(1 / 36)
    assert Grid(3, 2).permutation_p(np.ones((6, 6))) == 1.0
    assert Grid(3, 2).permutation_p(np.stack([square, np.ones((6, 6))])) == pytest.approx([1 / 6, 1])


def test_many_squares_are_tested_as_each_by_itself() -> None:
    grid, squares = Grid(4, 3), np.random.default_rng(0).random((60, 12, 12))
    squares += squares.swapaxes(1, 2)
    together = grid.permutation_p(squares)
    labels = [range(f * 4, f * 4 + 4) for f in range(3)]
    for square, p in zip(squares, together, strict=True):
        sums = [
            sum(square[a, b] + square[a, c] + square[b, c] for a, b, c in zip(labels[0], second, third, strict=True))
            for second in permutations(labels[1])
            for third in permutations(labels[2])
        ]
        assert p == pytest.approx(np.mean([s <= sums[0] * (1 + 1e-14) for s in sums]))


def test_drawn_deals_count_the_labels_as_they_are() -> None:
    grid = Grid(9, 2)  # 362,880 deals: 10,000 are drawn
    square = np.ones((18, 18)) - np.tile(np.eye(9), (2, 2))
    assert grid.permutation_p(square) == pytest.approx(1 / 10_001)


def test_silhouettes_of_many_squares_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import silhouette_score

    labels = np.array([0, 0, 1, 1, 1, 2])  # of which one is alone
    random = np.random.default_rng(1).random((5, 6, 6))
    squares = (random + random.swapaxes(1, 2)) * (1 - np.eye(6))
    squares[0, :2, :2] = 0
    expected = [silhouette_score(square, labels, metric="precomputed") for square in squares]
    assert silhouette(squares, labels) == pytest.approx(expected)
    assert silhouette(np.zeros((6, 6)), labels) == 0  # nothing is apart from anything
    assert silhouette(squares, np.zeros(6, int)) is None
    assert silhouette(squares, np.arange(6)) is None


def test_a_difference_below_the_floor_is_not_counted() -> None:
    """Rounds 10 degrees apart in each framework, frameworks 5 degrees apart."""
    found = assess(suite((0, 10, 5), (5, 15, 10)), "training", "op")
    assert found is not None
    own = [p for p in found.pairs if p.a.other_framework_of(p.b)]
    assert [p.distance for p in own] == pytest.approx([apart(5)] * 5, abs=1e-4)
    assert [p.floor for p in own] == pytest.approx([apart(10)] * 5)
    assert [p.counts for p in own] == [0] * 5
    assert (found.within, found.above_floor, found.nearest) == (0, 0, 5)
    assert found.floor == pytest.approx(apart(10))
    assert found.outcome == "little"
    assert found.holds == 1


def test_of_a_difference_above_the_floor_the_part_above_counts() -> None:
    found = assess(suite((0, 10, 5), (25, 35, 30)), "training", "op")
    assert found is not None
    assert found.within == pytest.approx(apart(25) - apart(10), abs=1e-3)
    assert found.above_floor == 5
    held = json.loads(json.dumps(found.json()))
    assert held["above_floor"] == 5
    first = held["within_pairs"][0]
    assert first["a"] == {"workload": "conv2d", "framework": "torch", "mode": "training"}
    assert first["counts"] == pytest.approx(first["distance"] - first["floor"])
    assert len(held["between_pairs"]) == 40  # ten pairs of workloads, from two frameworks each


def test_two_workloads_that_noise_hides_from_each_other_do_not_count_against_the_framework() -> None:
    """Like residual and vgg in inference: 1 degree apart, less than rounds are, and the other framework 2 degrees."""
    twins = [measured("Conv2D", name, *angles) for name, angles in (("torch", (0, 6, 3)), ("tf", (2, 8, 5)))]
    near = [
        OpMix(m.label._replace(workload="twin"), m.steps, rounds=m.rounds)
        for m in (measured("Conv2D", "torch", 1, 7, 4), measured("Conv2D", "tf", 3, 9, 6))
    ]
    rest = [measured(op, name, 0, 6, 3) for op in OWN[1:] for name in ("torch", "tf")]
    mixes = [*twins, *near, *rest]
    found = assess(mixes, "training", "op")
    assert found is not None
    assert found.nearest == 6
    silent = assess([OpMix(m.label, m.steps) for m in mixes], "training", "op")
    assert silent is not None
    assert silent.nearest == 4  # without a floor the two are each other's nearest


@pytest.mark.parametrize(("own", "other", "near"), [(0.1, 0.05, True), (0.2, 0.05, False), (0.12, 0.05, False)])
def test_a_run_is_farther_from_its_own_only_by_more_than_the_floor(own: float, other: float, near: bool) -> None:
    """Two workloads from two frameworks, a floor of 0.06: their own distance against that from the other workload."""
    square = np.full((4, 4), other)
    square[[0, 1, 2, 3], [2, 3, 0, 1]] = own
    np.fill_diagonal(square, 0)
    counts = counted(square, np.full(4, 0.06))
    assert int(Grid(2, 2).nearest(counts, square)) == (2 if near else 0)


def test_noise_that_would_hide_the_answer_gives_none() -> None:
    level = FrameworkLevel.of("x", "time", suite((0, 80, 40), (0, 80, 40)))
    assert [a.outcome for a in level.assessments] == ["unknown", "unknown"]
    assert not level.assessments[0].resolved
    assert "rounds of one framework are 0.826 apart" in level.verdict
    assert level.outcome == "unknown"


def test_a_verdict_comes_with_how_often_it_holds() -> None:
    """A third of one framework's steps are another workload's: where most of the drawn ones are, so is the median."""
    steady = FrameworkLevel.of("x", "time", suite((0, 1, 2), (0, 1, 2)))
    assert steady.holds == 1
    assert steady.verdict.endswith(" It holds in 100% of resamples of rounds and steps.")
    torn = suite((0, 0, 0), (0, 0, 0))
    for place, other in ((5, "MatMul"), (6, "Mul"), (7, "Tile"), (8, "Sum"), (9, "Conv2D")):
        rows = pd.DataFrame([{OWN[place - 5]: 1.0, other: 0.0}] * 4 + [{OWN[place - 5]: 0.0, other: 1.0}] * 2)
        torn[place] = OpMix(torn[place].label, rows, rounds=(6,))
    mixed = FrameworkLevel.of("x", "time", torn)
    assert (mixed.measured, mixed.outcome) == ("little", "much")
    assert mixed.holds is not None
    assert 0 < mixed.holds == max(mixed.resampled.values()) < 1
    assert sum(mixed.resampled.values()) == pytest.approx(1)
    assert mixed.json()["holds"] == mixed.holds


def test_nothing_is_resampled_of_what_was_not_measured() -> None:
    level = FrameworkLevel.of("structure", "cost", [measured(op, f, 0, steps=1) for f in ("torch", "tf") for op in OWN])
    assert level.holds is None
    assert level.assessments[0].floor is None
    assert "resamples" not in level.verdict
