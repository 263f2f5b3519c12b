"""The answer of most resamples: at the border of a criterion, ties, what is said where the measured point differs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fathom_onnx.analysis.paper.claims import ledger
from fathom_onnx.analysis.paper.evidence import Evidence
from fathom_onnx.analysis.similarity.criteria import FrameworkOutcome, most_given
from fathom_onnx.analysis.similarity.levels import FrameworkLevel
from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.workloads.contract import MODES
from support.runs.summaries import spent

OWN = ("Conv2D", "MatMul", "Mul", "Tile", "Sum")
FAR, NEAR = 65.0, 20.0
BORDER = math.degrees(math.atan(1 / math.sin(math.radians(FAR))))
"""Turned so far, a run is as near to its own workload's (distance 1 - cos) as to one at FAR (1 - sin sin FAR)."""


def turned(op: str, framework: str, mode: str, angles: Sequence[float]) -> OpMix:
    """A workload with a round of two equal steps at each angle in degrees, from its own op towards RandomNormal."""
    steps = [
        {op: math.cos(math.radians(angle)), "RandomNormal": math.sin(math.radians(angle))}
        for angle in angles
        for _ in range(2)
    ]
    return replace(spent(op.lower(), framework, mode, steps), rounds=(2,) * len(angles))


@cache
def bordering(
    seed: int, frameworks: tuple[str, ...] = ("torch", "tensorflow"), at: float = BORDER, spread: float = 3.0
) -> FrameworkLevel:
    """A study whose answer noise decides, if it is asked once: of five workloads two are near, two are not, and one,
    whose rounds differ by some degrees, lies at the border of being near, in each mode by itself."""
    random = np.random.default_rng(seed)
    mixes = []
    for framework in frameworks:
        for mode in MODES:
            last = at + spread * random.standard_normal(3)
            angles = [[FAR] * 3, [FAR] * 3, [NEAR] * 3, [NEAR] * 3, last] if framework != "torch" else [[0.0] * 3] * 5
            mixes += [turned(op, framework, mode, several) for op, several in zip(OWN, angles, strict=True)]
    return FrameworkLevel.of("native", "time", mixes)


def answered(*outcomes: Sequence[FrameworkOutcome]) -> FrameworkLevel:
    """A level by class and by op whose measured points say ``mixed``, and whose resamples say these."""
    level = bordering(0, at=NEAR, spread=0.0)
    lines = [a for a in level.assessments if a.mode == "training"]
    assert [a.measured for a in lines] == ["mixed", "mixed"]
    made = (replace(a, resampled=tuple(of)) for a, of in zip(lines, outcomes, strict=True))
    return replace(level, assessments=tuple(made))


@pytest.mark.parametrize(
    ("resampled", "measured", "answer"),
    [
        ("little little mixed", "mixed", "little"),  # most
        ("little little mixed much much", "much", "much"),  # as many: what was measured
        ("little little much much", "mixed", "much"),  # as many, and neither was measured: what claims less
        ("little mixed", "much", "mixed"),
        ("little mixed much unknown", "little", "little"),
        ("mixed much unknown", "little", "unknown"),
        ("", "mixed", "mixed"),  # nothing to draw
    ],
)
def test_the_answer_is_the_one_that_most_resamples_give(
    resampled: str, measured: FrameworkOutcome, answer: FrameworkOutcome
) -> None:
    assert most_given(resampled.split(), measured) == answer  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frameworks", "at"), [(("torch", "tensorflow"), BORDER - 1), (("torch", "tensorflow", "jax"), BORDER - 2)]
)
def test_most_resamples_agree_where_measured_points_do_not(frameworks: tuple[str, ...], at: float) -> None:
    """Two studies that differ by noise alone: at the border of a mode, and one mode of two is enough for ``much``."""
    studies = [bordering(seed, frameworks, at) for seed in (0, 5)]
    assert [level.measured for level in studies] == ["much", "mixed"]
    assert [level.outcome for level in studies] == ["much", "much"]
    assert all(0.5 < (level.holds or 0) < 0.9 for level in studies)


def test_a_level_counts_draws_of_all_its_lines() -> None:
    """Each line is mostly mixed, but in most draws one of the two says that the framework matters."""
    level = answered(["much", "much", "mixed", "mixed", "mixed"], ["mixed", "mixed", "much", "much", "mixed"])
    assert [(a.outcome, a.holds) for a in level.assessments] == [("mixed", 0.6), ("mixed", 0.6)]
    assert (level.outcome, level.measured, level.holds) == ("much", "mixed", 0.8)
    assert level.resampled == {"much": 0.8, "mixed": pytest.approx(0.2)}


def test_a_verdict_ends_with_what_the_measured_point_says_where_that_differs() -> None:
    level = answered(["much", "much", "mixed"], ["mixed"] * 3)
    assert level.verdict.startswith("By time the framework matters: frameworks of one workload are ")
    end = "It holds in 67% of resamples of rounds and steps; by the measured point itself the answer is mixed: "
    assert f"). {end}4 of 8 criteria are not met, nearest (training by class), " in level.verdict
    held = json.loads(json.dumps(level.json()))
    assert (held["outcome"], held["measured"], held["holds"]) == ("much", "mixed", pytest.approx(2 / 3))
    assert [(a["outcome"], a["measured"]) for a in held["assessments"]] == [("much", "mixed"), ("mixed", "mixed")]
    same = answered(["mixed"] * 3, ["mixed"] * 3)
    assert "the answer is mixed: 4 of 8 criteria are not met" in same.verdict
    assert same.verdict.endswith(" It holds in 100% of resamples of rounds and steps.")


def test_little_by_most_resamples_does_not_say_by_every_criterion() -> None:
    level = answered(["little"] * 3, ["little", "little", "mixed"])
    assert level.verdict.startswith("By time the framework matters little: frameworks of one workload are ")
    (*_, entry) = ledger(Evidence((), (level,)))
    assert (entry.claim.id, entry.verdict, entry.ours) == ("FW native", "holds", level.verdict)


def test_noise_that_hides_the_answer_in_most_resamples_gives_none() -> None:
    level = answered(["unknown", "unknown", "mixed"], ["mixed"] * 3)
    assert level.outcome == "unknown"
    assert level.verdict.startswith("By time it cannot be told whether the framework matters: frameworks of one ")
    assert "It holds in 67% of resamples of rounds and steps; by the measured point itself the answer is mixed: " in (
        level.verdict
    )
    (*_, entry) = ledger(Evidence((), (level,)))
    assert (entry.verdict, entry.why) == ("cannot be tested here", level.verdict)


def test_an_answer_of_most_resamples_stands_where_the_measured_point_cannot_tell() -> None:
    level = answered(["mixed"] * 3, ["mixed"] * 3)
    first, second = level.assessments
    level = replace(level, assessments=(replace(first, floor=9.0), second))
    assert (level.measured, level.outcome) == ("unknown", "mixed")
    end = "by the measured point itself it cannot be told whether the framework matters: rounds of one framework are "
    assert f"; {end}9.000 apart" in level.verdict
