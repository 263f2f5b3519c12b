"""Work that is not repeated: stored results, interrupted studies, files that stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from fathom_onnx.study import Event
from support.fakes.fake_stages import World, conduct

pytestmark = pytest.mark.usefixtures("drawn_on_request")


def test_a_second_study_does_nothing_again(tmp_path: Path, world: World) -> None:
    first = conduct(tmp_path, world)
    world.did.clear()
    events: list[Event] = []
    second = conduct(tmp_path, world, on_event=events.append)
    assert world.did == []
    assert (second.worked, second.reused) == (0, 18)
    assert {e.kind for e in events} == {"reused"}
    assert second.verdict == first.verdict
    assert second.json()["cells"] == first.json()["cells"]


def test_more_workloads_later_do_only_what_is_new(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world, workloads=["autoenc"])
    world.did.clear()
    result = conduct(tmp_path, world)
    assert {line.split()[1] for line in world.did} == {"residual"}
    assert len(result.cells) == 4


def test_other_inputs_are_other_work_and_the_old_is_not_lost(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world, workloads=["autoenc"])
    world.did.clear()
    conduct(tmp_path, world, workloads=["autoenc"], steps=7)
    assert sum(line.startswith("profile") for line in world.did) == 2
    world.did.clear()
    conduct(tmp_path, world, workloads=["autoenc"])
    assert world.did == []


def test_a_changed_version_of_what_makes_it_is_done_again(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world)
    world.did.clear()
    world.version = "2"
    conduct(tmp_path, world)
    assert len(world.did) == 18


def test_a_graph_file_that_is_gone_is_made_again(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world)
    (tmp_path / "graphs" / "tensorflow" / "residual.onnx").unlink()
    world.did.clear()
    conduct(tmp_path, world)
    assert world.did == ["export residual inference (tensorflow)"]


def test_a_result_cut_short_is_made_again(tmp_path: Path, world: World) -> None:
    conduct(tmp_path, world)
    (held,) = (tmp_path / "cells" / "residual-torch-inference").glob("verify-*.json")
    held.write_text(held.read_text()[:40])
    world.did.clear()
    conduct(tmp_path, world)
    assert world.did == ["verify residual inference (torch)"]


def test_an_interrupted_study_goes_on_where_it_was(tmp_path: Path, world: World) -> None:
    world.broken["profile", "residual inference (torch)"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        conduct(tmp_path, world)
    assert not (tmp_path / "study.json").exists()
    (tmp_path / "runs" / ".half-written").mkdir()
    world.broken.clear()
    world.did.clear()
    result = conduct(tmp_path, world)
    assert world.did == ["profile residual inference (torch)", "profile residual inference (tensorflow)"]
    assert result.ok
    assert not list((tmp_path / "runs").glob(".*"))


def test_files_are_written_again_only_where_they_would_differ(tmp_path: Path, world: World) -> None:
    def written() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.is_file() and p.name[0] != "."}

    conduct(tmp_path, world)
    first = written()
    assert {"report.html", "study.json", "runs.csv"} <= first.keys()
    conduct(tmp_path, world)
    assert written() == first
    (tmp_path / "report.html").write_text("changed by hand")
    conduct(tmp_path, world)
    assert (tmp_path / "report.html").read_text() != "changed by hand"
    (tmp_path / "runs.csv").unlink()
    conduct(tmp_path, world)
    assert (tmp_path / "runs.csv").is_file()
    second = written()
    world.ops = {**world.ops, "autoenc": {"MatMul": 80.0, "Add": 20.0}}  # runs that say something else
    conduct(tmp_path, world)
    assert all(written()[name] > second[name] for name in second)
