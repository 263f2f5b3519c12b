"""Rounds of a study: their order, what is stored of each, what a failure of one leaves, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fathom_onnx.errors import UsageError
from support.fakes.fake_stages import Inline, World, conduct

pytestmark = pytest.mark.usefixtures("drawn_on_request")


def measured(world: World) -> list[str]:
    return [line for line in world.did if line.startswith(("profile", "native", "pool"))]


def test_the_rounds_of_all_runs_take_turns(tmp_path: Path, world: World) -> None:
    inline = Inline()
    conduct(tmp_path, world, inline, workloads=["autoenc"], rounds=3, stages=world.with_natives())
    names = [f"autoenc inference ({f})" for f in ("torch", "tensorflow")]
    turns = [f"{stage} {n} round {r}" for r in (1, 2, 3) for stage in ("profile", "native") for n in names]
    assert measured(world) == [*turns, *(f"pool {n}" for n in names * 2)]
    # each measurement alone and in a process of its own, pooling side by side
    assert [fresh for lane, fresh in inline.lanes if lane in ("profile", "native")] == [True] * 12
    assert inline.lanes[-8:-4] == [("torch", False), ("tensorflow", False)] * 2
    assert inline.lanes[-4:] == [("read 0 or read 1", False)] * 4


def test_the_rounds_of_a_run_are_one_run_and_stay_apart_in_its_mix(tmp_path: Path, world: World) -> None:
    world.ops_in["autoenc", "torch", 2] = {"MatMul": 50.0, "Add": 50.0}
    result = conduct(tmp_path, world, rounds=3)
    (torch, *_) = result.cells
    assert torch.op_mix is not None
    assert [table.to_dict("list") for table in torch.op_mix.in_rounds("op")] == [
        {"Add": [10.0], "MatMul": [90.0]},
        {"Add": [50.0], "MatMul": [50.0]},
        {"Add": [10.0], "MatMul": [90.0]},
    ]
    assert torch.op_mix.shares("op")["MatMul"] == pytest.approx(0.9)  # the median over the steps of all rounds
    assert len(torch.profile["rounds"]) == 3
    assert result.rounds == result.json()["rounds"] == 3


def test_further_rounds_are_all_that_is_measured_when_a_study_grows(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world, workloads=["autoenc"], frameworks=["torch"])
    world.did.clear()
    conduct(tmp_path, world, workloads=["autoenc"], frameworks=["torch"], rounds=3)
    name = "autoenc inference (torch)"
    assert world.did == [f"profile {name} round 2", f"profile {name} round 3", f"pool {name}"]
    world.did.clear()
    conduct(tmp_path, world, workloads=["autoenc"], frameworks=["torch"], rounds=3)
    assert world.did == []


def test_an_interrupted_study_goes_on_with_the_round_it_was_at(tmp_path: Path, world: World) -> None:
    world.broken["profile", "autoenc inference (tensorflow) round 2"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        conduct(tmp_path, world, workloads=["autoenc"], rounds=2)
    world.broken.clear()
    world.did.clear()
    assert conduct(tmp_path, world, workloads=["autoenc"], rounds=2).ok
    names = [f"autoenc inference ({f})" for f in ("torch", "tensorflow")]
    assert measured(world) == [f"profile {names[1]} round 2", *(f"pool {n}" for n in names)]


def test_a_round_that_fails_is_said_and_the_others_are_pooled(tmp_path: Path, world: World) -> None:
    world.broken["profile", "autoenc inference (torch) round 3"] = ValueError("out of memory")
    result = conduct(tmp_path, world, workloads=["autoenc"], rounds=3)
    assert not result.ok
    assert [(f.what, f.error) for f in result.failures] == [("autoenc inference (torch) round 3", "out of memory")]
    assert [c.done for c in result.cells] == [True, True]
    assert [len(c.op_mix.in_rounds("op")) for c in result.cells if c.op_mix] == [2, 3]


def test_rounds_that_cannot_be_pooled_leave_the_first(tmp_path: Path, world: World) -> None:
    world.broken["pool", "autoenc inference (torch)"] = ValueError("executed different nodes")
    result = conduct(tmp_path, world, workloads=["autoenc"], rounds=3)
    assert [(f.what, f.stage, f.error) for f in result.failures] == [
        ("autoenc inference (torch)", "pool", "executed different nodes")
    ]
    assert [c.done for c in result.cells] == [True, True]
    assert [len(c.op_mix.in_rounds("op")) for c in result.cells if c.op_mix] == [1, 3]


def test_a_cell_whose_first_round_fails_is_not_tried_in_the_next(tmp_path: Path, world: World) -> None:
    world.broken["profile", "autoenc inference (torch)"] = ValueError("no")
    result = conduct(tmp_path, world, workloads=["autoenc"], rounds=3)
    assert sum("profile autoenc inference (torch)" in line for line in world.did) == 1
    assert [(c.done, c.error) for c in result.cells] == [(False, "no"), (True, "")]


def test_no_round_is_no_study(tmp_path: Path, world: World) -> None:
    with pytest.raises(UsageError, match="0 rounds"):
        conduct(tmp_path, world, rounds=0)
