"""Compiled steps in a study: what is compared with what, the section, and that they are off by default."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fathom_onnx.study.comparisons.compiled import StepTimes, apart, compiled_finding, framework_pairs
from fathom_onnx.study.sections import compiled_sections
from support.fakes.fake_stages import World, conduct

pytestmark = pytest.mark.usefixtures("drawn_on_request")


def steps(framework: float, compiled: float, graph: float) -> StepTimes:
    """The steps of a workload whose slower framework takes so many times as long."""
    us = {"framework": (100, framework), "compiled": (10, compiled), "graph": (50, graph)}
    return StepTimes("w", "training", {w: {"a": t, "b": t * times} for w, (t, times) in us.items()}, {"a": {}, "b": {}})


def test_ratios_and_gains() -> None:
    step = steps(2, 0.5, 1)
    assert [step.ratio(way) for way in ("framework", "compiled", "graph")] == [2, 2, 1]
    assert (step.gain("a"), step.gain("b")) == (10, 40)
    assert step.gain("c") is None
    alone = StepTimes("w", "training", {"framework": {"a": 3}, "compiled": {"a": 1}, "graph": {}}, {"a": {}})
    assert alone.ratio("framework") is None
    assert (alone.gain("a"), alone.gain("a", "graph")) == (3, None)
    # a step that not all frameworks ran in all ways is left out
    several = [steps(2, 4, 1), steps(8, 1, 3), alone]
    assert apart(several, "framework") == pytest.approx(4)
    assert apart(several, "compiled") == pytest.approx(2)
    assert apart(several, "graph") == pytest.approx(math.sqrt(3))
    assert apart([alone], "compiled") is None
    assert "2.00 times" in compiled_finding(several)
    assert "default 4.00 times" in compiled_finding(several)
    assert compiled_finding([alone]) == compiled_finding([]) == ""


def test_of_three_frameworks_every_pair_has_a_ratio() -> None:
    us = {way: {"a": 1.0, "b": 2.0, "c": 8.0} for way in ("framework", "compiled", "graph")}
    step = StepTimes("w", "training", us, {name: {} for name in "abc"})
    assert [step.ratio("compiled", pair) for pair in framework_pairs([step])] == [2, 8, 4]
    assert step.ratio("compiled") == 8
    assert apart([step], "graph", ("b", "c")) == pytest.approx(4)
    said = compiled_finding([step])
    assert "a step of the slower of a and c takes 8.00 times" in said
    assert said.count("as a graph in onnxruntime") == 3


def test_a_study_compiles_when_told_to(tmp_path: Path, world: World) -> None:
    result = conduct(tmp_path, world, stages=world.with_compiled(), compiled=True)
    assert [what for what in world.did if what.startswith("compiled")] == [
        f"compiled {w} inference ({f})" for w in ("autoenc", "residual") for f in ("torch", "tensorflow")
    ]
    assert len(result.compiled_runs) == 4
    assert result.json()["compiled"][0]["summary"]["step_us"] == 10.0
    assert compiled_finding(result.compiled_steps) in result.findings
    (section,) = compiled_sections(result)
    assert section.lead[1:] == [
        "In tensorflow: compiler of tensorflow. Not known: most of it.",
        "In torch: compiler of torch. Not known: most of it.",
    ]
    times, kernels = section.tables
    cells = [cell if isinstance(cell, str) else cell.text for cell in times.rows[0]]
    # 50 us in the framework, 10 or 20 compiled, 100 as a graph: gains of 5 and 2.5
    assert cells[:2] == ["autoenc", "inference"]
    assert [cells[5], cells[10], *cells[12:]] == ["5.00", "2.50", "1.00", "2.00", "1.00"]
    assert len(kernels.rows) == 2


def test_a_step_is_compiled_once_whatever_the_rounds(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world, stages=world.with_compiled(), compiled=True, rounds=2, workloads=["autoenc"])
    did = [what for what in world.did if what.startswith(("profile", "compiled"))]
    names = [f"autoenc inference ({framework})" for framework in ("torch", "tensorflow")]
    assert did == [f"{what} round {n}" for n in (1, 2) for what in (f"profile {name}" for name in names)] + [
        f"compiled {name}" for name in names
    ]


def test_it_is_off_by_default(tmp_path: Path, world: World) -> None:
    result = conduct(tmp_path, world, stages=world.with_compiled())
    assert result.compiled_runs == ()
    assert compiled_sections(result) == []
    assert not [what for what in world.did if what.startswith("compiled")]


def test_a_step_that_does_not_compile_fails_alone(tmp_path: Path, world: World) -> None:
    world.broken["compiled", "residual inference (torch)"] = ValueError("no such kernel")
    result = conduct(tmp_path, world, stages=world.with_compiled(), compiled=True)
    assert [(f.what, f.stage) for f in result.failures] == [("residual inference (torch) compiled", "compiled")]
    assert [step.workload for step in result.compiled_steps] == ["autoenc", "residual"]
    assert result.compiled_steps[1].ratio("compiled") is None
