"""The noise of a study, from planted rounds: exact spreads, floors and counts, in result, report, JSON and tables."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from fathom_onnx.study.sections import noise_sections
from support.fakes.fake_stages import World, conduct

pytestmark = pytest.mark.usefixtures("drawn_on_request")


@pytest.fixture
def noisy(world: World) -> World:
    """autoenc in PyTorch does something else in its second round, and the machine is slower in all third ones."""
    world.ops_in["autoenc", "torch", 2] = {"MatMul": 90.0, "Add": 90.0}
    world.speed_in[3] = [1.5, 1.5, 1.8]
    return world


def test_spreads_and_floors_are_those_of_the_rounds(tmp_path: Path, noisy: World) -> None:
    result = conduct(tmp_path, noisy, rounds=3)
    first, second, *_ = result.noise
    assert first.name == "autoenc inference (torch)"
    assert first.step_us == (100, 100, 150)
    assert first.step_spread == pytest.approx(0.5)
    apart = 1 - (90 * 90 + 10 * 90) / (math.hypot(90, 10) * math.hypot(90, 90))
    assert first.floors == {"class": pytest.approx(apart), "op": pytest.approx(apart)}
    assert second.floors == {"class": pytest.approx(0), "op": pytest.approx(0)}
    assert (first.unsteady, first.repeated) == (1, 0)  # from 1.5 to 1.8 within the third round
    assert first.speed_between == pytest.approx(0.5)
    assert {label.workload: floor for label, floor in result.floors.items() if floor > 1e-9} == {
        "autoenc": pytest.approx(apart)
    }


def test_the_noise_is_in_the_json_the_findings_and_the_report(tmp_path: Path, noisy: World) -> None:
    result = conduct(tmp_path, noisy, rounds=3)
    held = json.loads((tmp_path / "study.json").read_text())
    assert held["rounds"] == 3
    assert [run["cell"]["workload"] for run in held["noise"]] == ["autoenc"] * 2 + ["residual"] * 2
    assert held["noise"][0]["step_us"] == [100, 100, 150]
    assert held["noise"][0]["unsteady_rounds"] == 1
    (line,) = (line for line in result.findings if line.startswith("Between rounds"))
    assert line.startswith("Between rounds the step of a run differs by 50.0% (median) to 50.0% (most, in autoenc")
    assert line.endswith("The machine changed speed in 4 of 12 rounds.")
    (section,) = noise_sections(result)
    assert section.tables[0].columns[:5] == ("run", "round 1", "round 2", "round 3", "spread of the step")
    assert len(section.tables[0].rows) == 4
    by_framework = [[cell.text for cell in row] for row in section.tables[1].cells]
    assert [row[:3] for row in by_framework] == [[f, "in onnxruntime", "2"] for f in ("torch", "tensorflow")]
    assert by_framework[1][3:] == ["0.0000"] * 4
    assert by_framework[0][4] == f"{result.noise[0].floors['class']:.4f}"


def test_a_difference_between_frameworks_below_the_floor_is_not_counted(tmp_path: Path, world: World) -> None:
    """The rounds of one framework are farther apart than its medians are from the other framework's."""
    for number, add in ((1, 20.0), (2, 40.0), (3, 60.0)):
        world.ops_in["autoenc", "torch", number] = {"MatMul": 90.0, "Add": add}
        world.ops_in["autoenc", "tensorflow", number] = {"MatMul": 90.0, "Add": 45.0}
    result = conduct(tmp_path, world, rounds=3)
    level = next(level for level in result.framework if level.name == "onnxruntime")
    pairs = {p.a.workload: p for p in level.assessments[1].pairs if p.a.other_framework_of(p.b)}
    assert pairs["autoenc"].distance > 0
    assert pairs["autoenc"].counts == 0
    assert level.assessments[1].within == 0


def test_a_study_of_one_round_has_no_noise(tmp_path: Path, world: World) -> None:
    result = conduct(tmp_path, world)
    assert result.noise == ()
    assert result.json()["noise"] == []
    assert result.floors == {}
    assert noise_sections(result) == []
    assert not any(line.startswith("Between rounds") for line in result.findings)


def test_every_round_is_in_the_tables(tmp_path: Path, noisy: World) -> None:
    conduct(tmp_path, noisy, rounds=3)
    rounds = pd.read_csv(tmp_path / "rounds.csv")
    torch = rounds[(rounds.workload == "autoenc") & (rounds.framework == "torch")]
    assert torch[["round", "control_us", "steady"]].values.tolist() == [[1, 100, True], [2, 100, True], [3, 150, False]]
    ops = pd.read_csv(tmp_path / "round_ops.csv")
    of_torch = ops[(ops.workload == "autoenc") & (ops.framework == "torch") & (ops.op == "MatMul")]
    assert of_torch[["round", "share"]].values.tolist() == [[1, 0.9], [2, 0.5], [3, 0.9]]


@pytest.mark.slow
def test_the_report_has_the_table_and_brackets_in_the_figure(tmp_path: Path, noisy: World, drawn: None) -> None:
    conduct(tmp_path, noisy, rounds=3)
    page = (tmp_path / "report.html").read_text()
    assert "Noise between rounds" in page
    assert "Spread between rounds" in page
    assert "In brackets: not above the noise floor" in page
