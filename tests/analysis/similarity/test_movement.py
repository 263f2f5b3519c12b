"""How far workloads have moved: exact distances, and verdicts, of hand-made op mixes."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from fathom_onnx.analysis.similarity.movement import (
    Movement,
    Placement,
    class_shifts,
    movement,
    outside_everywhere,
    verdict,
)
from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.errors import RunError


def spent(workload: str, *steps: dict[str, float], framework: str = "torch", mode: str = "training") -> OpMix:
    return OpMix(RunLabel(workload, framework, mode), pd.DataFrame(list(steps), dtype=float).fillna(0.0))


def older(framework: str = "torch") -> list[OpMix]:
    """Two convolutional workloads of an angle of 45 degrees, and one that shares nothing with them but a little."""
    return [
        spent("vgg", {"Conv2D": 1}, framework=framework),
        spent("residual", {"Conv2D": 1, "BatchNorm": 1}, framework=framework),
        spent("autoenc", {"Conv2D": 4, "MatMul": 3}, framework=framework),
    ]


def newer(framework: str = "torch") -> list[OpMix]:
    return [
        spent("near", {"Conv2D": 3, "MatMul": 4}, framework=framework),  # cosine 24 / 25 with autoenc
        spent("far", {"Gather": 1}, framework=framework),
    ]


def test_reach_and_distances_are_those_of_the_angles() -> None:
    found = movement(older(), newer(), "op")
    # nearest of each: vgg and autoenc 1 - 4/5, residual 1 - sqrt(1/2), which is the most isolated one
    assert found.reach == pytest.approx(1 - math.sqrt(0.5))
    assert found.isolated == "residual"
    near, far = found.placements
    assert (near.nearest, near.outside) == ("autoenc", False)
    assert near.distance == pytest.approx(1 - 24 / 25)
    assert [gap.name for gap in near.gaps] == ["Conv2D", "MatMul"]
    assert near.gaps[0].share_a == pytest.approx(3 / 7)
    assert (far.distance, far.outside) == (1.0, True)


def test_a_distance_of_exactly_the_reach_is_not_outside() -> None:
    twin = spent("twin", {"Conv2D": 1, "MatMul": 1})
    found = movement([spent("a", {"Conv2D": 1}), spent("b", {"MatMul": 1})], [spent("c", {"Gather": 1}), twin], "op")
    assert found.reach == 1.0
    assert [p.outside for p in found.placements] == [False, False]


def test_steps_that_disagree_leave_the_answer_open() -> None:
    """Half of the steps are the older workload's own mix, half share nothing with it."""
    torn = spent("torn", *([{"Conv2D": 1.0}, {"Gather": 1.0}] * 4))
    (placed,) = movement(older(), [torn], "op").placements
    assert 0.05 < placed.outside_share < 0.95
    assert placed.outside is None
    steady = spent("steady", *([{"Gather": 1.0}] * 8))
    assert movement(older(), [steady], "op").placements[0].outside_share == 1.0


def test_the_verdict_needs_every_framework() -> None:
    here = [movement(older(f), newer(f), "op") for f in ("torch", "tensorflow")]
    assert outside_everywhere(here) == {"near": False, "far": True}
    outcome, line = verdict(here)
    assert outcome == "extended"
    assert "1 of 2 workloads of 2026 lie farther from it than its own reach (far)" in line
    inside = spent("far", {"Conv2D": 1}, framework="tensorflow")
    mixed = [here[0], movement(older("tensorflow"), [newer("tensorflow")[0], inside], "op")]
    assert outside_everywhere(mixed) == {"near": False, "far": None}
    assert verdict(mixed)[0] == "open"  # within if far is inside, extended if it is outside
    assert "do not agree about far" in verdict(mixed)[1]
    assert verdict([movement(older(), [newer()[1]], "op")])[0] == "moved"
    assert verdict([])[0] == "unknown"


def placed(outside: int, unsure: int, inside: int) -> Movement:
    """A movement with so many workloads outside, open and inside."""
    shares = [1.0] * outside + [0.5] * unsure + [0.0] * inside
    placements = [Placement(f"w{n}", "vgg", 0.5, share, ()) for n, share in enumerate(shares)]
    return Movement("torch", "training", "op", 0.3, "residual", tuple(placements))


@pytest.mark.parametrize(
    ("outside", "unsure", "inside", "outcome"),
    [
        (0, 0, 8, "within"),
        (0, 1, 7, "open"),  # within, or extended
        (0, 8, 0, "open"),  # anything
        (1, 3, 4, "extended"),  # at most half, whatever the open ones are
        (1, 4, 3, "open"),  # extended, or moved
        (5, 3, 0, "moved"),
        (4, 0, 4, "extended"),
        (4, 1, 3, "open"),
    ],
)
def test_a_verdict_holds_however_the_open_workloads_are_decided(
    outside: int, unsure: int, inside: int, outcome: str
) -> None:
    assert verdict([placed(outside, unsure, inside)])[0] == outcome


def test_rounds_that_disagree_leave_the_answer_open() -> None:
    """Two of four rounds are inside; of rounds drawn with replacement the majority is either in a part of the draws."""
    mix = spent("torn", *([{"Conv2D": 1.0, "Gather": 0.0}] * 8 + [{"Conv2D": 0.0, "Gather": 1.0}] * 8))
    whole = movement(older(), [replace(mix, rounds=(4, 4, 4, 4))], "op").placements[0]
    # the draws with 3 or 4 of 4 rounds outside: 5 of 16; ties have a median between, cosine 1 / sqrt(2) with vgg
    assert whole.outside_share == pytest.approx(5 / 16, abs=0.05)
    assert whole.outside is None


def test_a_workload_that_one_framework_lacks_is_not_judged() -> None:
    lacking = movement(older("tensorflow"), newer("tensorflow")[:1], "op")
    assert outside_everywhere([movement(older(), newer(), "op"), lacking]) == {"near": False}


def test_mean_shares_of_classes() -> None:
    shifts = {s.op_class: s for s in class_shifts(older(), newer())}
    assert shifts["D"].older == pytest.approx((1 + 1 / 2 + 4 / 7) / 3)
    assert shifts["D"].newer == pytest.approx(3 / 7 / 2)
    assert sum(s.older for s in shifts.values()) == pytest.approx(1)
    assert sum(s.points for s in shifts.values()) == pytest.approx(0)
    assert list(map(abs, (s.points for s in shifts.values()))) == sorted(
        (abs(s.points) for s in shifts.values()), reverse=True
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (older()[:1], newer()),
        (older(), []),
        (older(), newer("tensorflow")),
        (older(), [spent("vgg", {"Conv2D": 1})]),
    ],
)
def test_what_cannot_be_compared_is_refused(old: list[OpMix], new: list[OpMix]) -> None:
    with pytest.raises(RunError, match="suites are compared by runs of one framework and mode"):
        movement(old, new, "op")
