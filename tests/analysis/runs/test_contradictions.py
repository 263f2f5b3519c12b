"""Times that contradict each other are said, and sound ones are not."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fathom_onnx
from fathom_onnx.analysis.comparison import compare
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.analysis.runs.steps import profiler_floor
from support.runs.small_runs import Executed, hand_run

CONV, FC = "forward/conv/Conv2D", "forward/fc/MatMul"


def small(outside: int = 5, first: int = 10, **facts: Any) -> Run:
    nodes = [Executed("conv", [first, 11, 12], {CONV: 1.0}), Executed("fc", [4, 4, 4], {FC: 1.0})]
    return hand_run(nodes, [outside, 5, 5], **facts)


def with_steps(run: Run, **columns: Any) -> Run:
    return replace(run, steps=run.steps.assign(**columns))


def test_a_sound_run_has_none() -> None:
    assert small().contradictions == ()
    assert small().summary()["contradictions"] == []
    assert small(outside=0).contradictions == ()


def test_a_node_below_zero_is_named() -> None:
    assert small(first=-3).contradictions == ("1 nodes have times below zero, among them 'conv'",)


def test_nodes_that_take_more_than_the_run() -> None:
    said = "in 1 of 3 steps the nodes take more time than the whole run"
    assert small(outside=-1).contradictions == (said,)
    # several streams, several threads
    assert small(outside=-1, device_time={"streams": 2}).contradictions == ()
    assert small(outside=-1, trace={"parallel": True}).contradictions == ()
    assert small(outside=-1, trace={"parallel": False}).contradictions == (said,)


def test_a_run_that_takes_more_than_its_step() -> None:
    run = small()
    assert with_steps(run, wall_us=run.steps["run_us"] - 40.0).contradictions == ()  # two clocks
    broken = with_steps(run, wall_us=run.steps["run_us"] - 60.0)
    assert broken.contradictions == ("in 3 of 3 steps the run takes more time than the step that it is in",)


def test_parts_that_are_more_than_the_whole() -> None:
    run = small()
    lost = replace(run, nodes=run.nodes.assign(kind=["attributed", "unknown"]))
    assert lost.contradictions == ("the parts of the node time add up to 11.0 us, the whole is 15.0 us",)
    twice = replace(run, originals=run.originals.assign(us=run.originals["us"] * 2))
    assert twice.contradictions == ("original nodes have 30.0 us, more than the 15.0 us of all nodes",)


@pytest.mark.parametrize(("control", "said"), [(1000.0, 1), (90.0, 0), (100.0, 0)])
def test_a_step_that_the_profiler_makes_shorter(control: float, said: int) -> None:
    steps = 100.0 + np.arange(8)
    nodes = [Executed("conv", [80] * 8, {CONV: 1.0})]
    unprofiled = control + np.arange(8)
    run = with_steps(hand_run(nodes, [5] * 8, control=list(unprofiled)), wall_us=steps)
    run = replace(run, manifest={**run.manifest, "floor": asdict(profiler_floor(steps, unprofiled, 1.0))})
    assert len(run.contradictions) == said
    assert all("with the profiler and 1003.5 us without it" in line for line in run.contradictions)


def test_they_are_said_wherever_the_run_is_shown(tmp_path: Path) -> None:
    broken = small(outside=-1)
    said = "in 1 of 3 steps the nodes take more time than the whole run"
    assert compare(small(), broken, []).warnings == (f"in B {said}",)
    assert f"Error: {said}." in fathom_onnx.report(broken, measure=False)
    assert "Error:" not in fathom_onnx.report(small(), measure=False)
