"""A page a workload: what each says of steps, roofline and memory, and the ceilings that a study measures for it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fathom_onnx import study
from fathom_onnx.analysis.paper.findings import roof_finding
from fathom_onnx.analysis.report.page import Page, Table
from fathom_onnx.runtime.ceilings import Ceilings, Sample
from fathom_onnx.study import Cell, CellResult, Job, Options, Role, Stage, StudyResult, run_study
from fathom_onnx.study.comparisons.roofs import roofline_json, run_rooflines
from fathom_onnx.study.engine.inputs import ceilings_inputs
from fathom_onnx.study.sections.tables import MEMORY_COLUMNS, ROOFLINE_COLUMNS, study_tables
from fathom_onnx.study.sections.workload_pages import workload_pages
from support.fakes.fake_stages import Inline, World
from support.runs.small_rooflines import ROOFS, ROWS
from support.runs.summaries import summary

SAMPLE = Sample("MatMul", 512, 0.1, 3, 10**10)
CEILINGS = Ceilings(
    100.0,
    10.0,
    (SAMPLE,),
    (SAMPLE,),
    {
        **{"provider": "cpu", "threads": 2, "cpu": "c", "cpu_cores": 2, "onnxruntime": "1"},
        **{"gpu": None, "tf32": None},
    },
)


def memory(**changes: Any) -> dict[str, Any]:
    held = {
        "peak_bytes": 3_000_000,
        "peak_node": "n",
        "parameters_bytes": 2_000_000,
        "state_bytes": 4_000_000,
        "next_state_bytes": 6_000_000,
        "kept_bytes": 1_000_000,
        "unknown_tensors": 0,
        "largest": [{"name": "t", "bytes": 2_500_000, "phase": "forward", "layer": "conv1"}],
        "by_layer": [{"name": "conv1", "bytes": 9_000_000}, {"name": "fc", "bytes": 1_000_000}],
    }
    traced = {
        "peak_bytes": 2_700_000,
        "before_bytes": 0,
        "lifetime_peak_bytes": 3_500_000,
        "held_bytes": 1,
        "by_layer": [],
    }
    return {"graph": {**held, "peak_bytes": 5_000_000}, "executed": held | changes, "traced": traced}


def done(framework: str, mode: Any, ep: str = "cpu", role: Role = Role.MAIN, **facts: Any) -> CellResult:
    job = Job(Cell("autoenc", framework, mode), Options(ep=ep, threads=2), Path("folder"), role)
    told = {"control_us": 100.0, "step_us": 120.0, "outside_us": 7.0, "executed_nodes": 9} | facts
    return CellResult(job, {"nodes": 1234}, summary=summary("autoenc", framework, mode, told, MatMul=90, Add=10))


def result(*cells: CellResult, roofs: bool = True) -> StudyResult:
    found = StudyResult(Path("folder"), Options(threads=2), cells, (), False, (), 0, 0)
    found.__dict__["rooflines"] = {cell.job: ROOFS for cell in cells} if roofs else {}
    return found


def tables(page: Page) -> dict[str, Table]:
    return {table.title: table for section in page.sections for table in section.tables}


def texts(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.cells]


BOTH = (done("torch", "training", memory=memory()), done("tensorflow", "training", memory=memory()))


def test_a_page_holds_all_of_a_workload() -> None:
    inference = done("torch", "inference")
    (page,) = workload_pages(result(*BOTH, inference))
    assert (page.anchor, page.name) == ("workload-autoenc", "autoenc")
    assert page.title == "autoenc: variational autoencoder, 784-500-200-500-784"
    assert [s.anchor for s in page.sections] == [
        *("steps", "roofline", "memory", "memory-layers", "ops", "layers", "groups")
    ]
    assert page.lead[0].startswith("The original Fathom code")
    assert list(page.summaries) == [*(cell.summary for cell in BOTH), inference.summary]
    assert [t for t in tables(page) if t.endswith("by layer")] == ["training, by layer", "inference, by layer"]


def test_the_steps_stand_beside_those_of_the_framework_itself() -> None:
    native = done("torch", "training", role=Role.NATIVE, control_us=250.0)
    (page,) = workload_pages(result(*BOTH, native))
    first, second = texts(tables(page)["A step of each run"])
    assert first == {
        "run": "training, torch",
        "a step": "100 µs",
        "in the framework itself": "250 µs",
        "profiled": "120 µs",
        "of it outside nodes": "7 µs",
        "nodes that ran": "9",
        "nodes of the graph": "1,234",
        "heaviest op": "MatMul 90%",
        "heaviest layer": "conv1 50%",
    }
    assert second["in the framework itself"] == ""
    assert texts(tables(page)["training, by op, in the frameworks"])[0] == {
        "op": "MatMul",
        "torch": "90 µs",
        "share": "90.0%",
    }


def test_each_run_is_set_under_the_roof() -> None:
    (page,) = workload_pages(result(*BOTH))
    row = texts(tables(page)["Under the roof"])[1]
    assert row == {
        "run": "training, tensorflow",
        "nodes' time": "95 µs",
        "at the roof": "40 µs",
        "of the roof": "42.1%",
        "bound by arithmetic": "60.0%",
        "by memory": "30.0%",
        "by neither": "5.0%",
        "of unknown cost": "5.0%",
        "unexplained": "0",
    }
    assert texts(tables(page)["Rates"])[1] == {
        "run": "training, tensorflow",
        "FLOPs/byte": "15.5",
        "GFLOP/s": "32.6",
        "ceiling, GFLOP/s": "100",
        "GB/s": "2.11",
        "ceiling, GB/s": "10",
    }
    figure = next(s for s in page.sections if s.anchor == "roofline").figures[0]
    assert ">conv1</text>" in figure.draw()
    assert ">flat<" not in figure.draw()


def test_layers_say_what_they_make_of_the_machine_side_by_side() -> None:
    (page,) = workload_pages(result(*BOTH))
    table = tables(page)["training, by layer"]
    of_each = ["share", "FLOPs/byte", "GFLOP/s", "of the roof", "bound by"]
    assert list(table.columns) == ["layer", "torch", *of_each, "tensorflow", *of_each, "gap, points"]
    line = [cell.text for cell in table.cells[0]]
    mine = ["50 µs", "50.0%", "30", "50", "50.0%", "arithmetic"]
    assert line == ["conv1", *mine, *mine, "0.0"]
    # an op that the roofline does not know has no more than its time
    ops = [cell.text for cell in tables(page)["training, by op"].cells[0]]
    assert ops == ["MatMul", *(["90 µs", "90.0%", "", "", "", ""] * 2), "0.0"]


def test_memory_is_told_in_parts() -> None:
    (page,) = workload_pages(result(*BOTH))
    assert texts(tables(page)["Memory of a step, MB"])[0] == {
        "run": "training, torch",
        "parameters": "2",
        "state": "4",
        "its new values": "6",
        "kept for backward": "1",
        "tensors at the peak, as written": "5",
        "optimized": "3",
        "measured": "2.7",
        "most that the allocator handed out": "3.5",
        "largest tensor at the peak": "2.5",
        "its layer": "conv1",
    }
    by_layer = tables(page)["training, MB made by each layer's nodes"]
    assert [[c.text for c in row] for row in by_layer.cells] == [["conv1", "9", "9"], ["fc", "1", "1"]]
    figure = next(s for s in page.sections if s.anchor == "memory").figures[0]
    assert ">15 MB</text>" in figure.draw()


def test_what_is_not_known_of_memory_is_said() -> None:
    held = memory(unknown_tensors=2, largest=[])
    held["traced"] |= {"peak_bytes": None, "lifetime_peak_bytes": None}
    (page,) = workload_pages(result(done("torch", "training", memory=held)))
    (row,) = texts(tables(page)["Memory of a step, MB"])
    assert row["optimized"] == "at least 3"
    assert (row["measured"], row["largest tensor at the peak"]) == ("unknown", "")
    figure = next(s for s in page.sections if s.anchor == "memory").figures[0]
    assert "as measured" not in figure.draw()


def test_without_ceilings_or_memory_there_is_no_section_of_them() -> None:
    (page,) = workload_pages(result(done("torch", "training"), roofs=False))
    assert [s.anchor for s in page.sections] == ["steps", "ops", "layers", "groups"]
    assert list(tables(page)["training, by op"].columns) == ["op", "torch", "share"]


def test_providers_stand_apart() -> None:
    (page,) = workload_pages(result(done("torch", "training"), done("torch", "training", "cuda"), roofs=False))
    assert [row["run"] for row in texts(tables(page)["A step of each run"])] == [
        "training, torch, cpu",
        "training, torch, cuda (unknown)",  # the run does not say what its times are
    ]
    timed = replace(done("torch", "training", "cuda"), manifest={"node_times": "device"})
    (page,) = workload_pages(result(done("torch", "training"), timed, roofs=False))
    assert [row["run"] for row in texts(tables(page)["A step of each run"])][1] == "training, torch, cuda"


def test_a_step_stands_beside_the_frameworks_own_on_the_same_provider() -> None:
    runs = done("torch", "training"), done("torch", "training", "cuda")
    native = done("torch", "training", "cuda", Role.NATIVE, control_us=33.0)
    (page,) = workload_pages(result(*runs, native, roofs=False))
    assert [row["in the framework itself"] for row in texts(tables(page)["A step of each run"])] == ["", "33 µs"]


def test_runs_without_kernel_times_or_ceilings_have_no_roofline(tmp_path: Path) -> None:
    launches = replace(done("torch", "training"), manifest={"node_times": "host launch"})
    assert run_rooflines(tmp_path, [launches], {("cpu", 2): CEILINGS}) == {}
    assert run_rooflines(tmp_path, [BOTH[0]], {("cpu", 1): CEILINGS}) == {}
    assert run_rooflines(tmp_path, [CellResult(BOTH[0].job)], {("cpu", 2): CEILINGS}) == {}


def test_what_part_of_the_possible_is_reached_is_a_finding() -> None:
    low = replace(ROOFS["node"], table=ROOFS["node"].table.assign(roof_us=1.9))
    assert roof_finding({"one": ROOFS["node"], "two": low}) == (
        "At the machine's measured ceilings nodes would take 6.0% (least, in two) to 42.1% (most, in one) "
        "of their time."
    )
    assert roof_finding({}) == ""
    assert roof_finding({"nothing": replace(low, table=low.table[:0])}) == ""


def test_a_roofline_as_json() -> None:
    held = roofline_json(BOTH[0].job, ROOFS["node"])
    assert held["cell"] == {"workload": "autoenc", "framework": "torch", "mode": "training"}
    assert (held["provider"], held["threads"], held["us"], held["left_out_us"]) == ("cpu", 2, 95.0, 5.0)
    assert held["bound_shares"] == {"compute": 0.6, "memory": 0.3, "none": 0.05, "unknown": 0.05}
    empty = replace(ROOFS["node"], table=ROOFS["node"].table[:0])
    assert roofline_json(BOTH[0].job, empty)["share"] is None


def test_what_did_not_run_has_no_page() -> None:
    assert workload_pages(result(CellResult(BOTH[0].job, error="broken"))) == []


def test_tables_of_rooflines_and_memory() -> None:
    made = study_tables(result(*BOTH))
    roofs, held = made["rooflines"], made["memory"]
    assert tuple(roofs.columns) == ROOFLINE_COLUMNS
    assert len(roofs) == 2 * 2 * len(ROWS)
    assert roofs[(roofs.framework == "torch") & (roofs.by == "layer")]["us"].sum() == 95
    assert tuple(held.columns) == MEMORY_COLUMNS
    assert held.iloc[0].to_dict() == {
        **{"workload": "autoenc", "framework": "torch", "mode": "training", "provider": "cpu", "threads": 2},
        **{"parameters_bytes": 2_000_000, "state_bytes": 4_000_000, "next_state_bytes": 6_000_000},
        **{"kept_bytes": 1_000_000, "peak_written_bytes": 5_000_000, "peak_optimized_bytes": 3_000_000},
        **{"peak_measured_bytes": 2_700_000, "allocator_peak_bytes": 3_500_000},
    }


# the ceilings of a study, with stages that measure nothing


class Machine:
    """A machine whose ceilings are measured, or not."""

    def __init__(self) -> None:
        self.measured: list[tuple[str, int]] = []
        self.error: Exception | None = None

    def measure(self, job: Job) -> dict[str, Any]:
        self.measured.append((job.options.ep, job.options.threads))
        if self.error:
            raise self.error
        return CEILINGS.as_json()


def conduct(folder: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, **options: Any) -> StudyResult:
    @contextmanager
    def workers(logs: Path) -> Iterator[Inline]:
        yield Inline()

    monkeypatch.setattr(StudyResult, "rooflines", {})  # a run without times has none
    monkeypatch.setattr("fathom_onnx.study.report.paper_sections", lambda found: [])
    ceilings = replace(study.STAGES.ceilings, work=machine.measure)
    usual = {"preset": "tiny", "workloads": ["autoenc", "residual"], "modes": ["inference"], "threads": (1, 2)}
    return run_study(folder, stages=replace(World().stages(), ceilings=ceilings), workers=workers, **usual | options)


@pytest.mark.slow
def test_ceilings_are_measured_once_for_all_runs_with_the_same_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    first = conduct(tmp_path, machine, monkeypatch)
    assert machine.measured == [("cpu", 2)]
    assert first.ceilings == {("cpu", 2): CEILINGS}
    assert len(list((tmp_path / "cells" / "machine").glob("ceilings-*.json"))) == 1
    assert json.loads((tmp_path / "study.json").read_text())["ceilings"] == [CEILINGS.as_json()]
    conduct(tmp_path, machine, monkeypatch, workloads=["residual"])
    assert machine.measured == [("cpu", 2)]
    conduct(tmp_path, machine, monkeypatch, threads=3)
    assert machine.measured == [("cpu", 2), ("cpu", 3)]
    assert (tmp_path / "rooflines.csv").read_text() == ",".join(ROOFLINE_COLUMNS) + "\n"


def test_stored_ceilings_that_cannot_be_read_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    conduct(tmp_path, machine, monkeypatch)
    (stored,) = (tmp_path / "cells" / "machine").glob("ceilings-*.json")
    held = json.loads(stored.read_text())
    stored.write_text(json.dumps({**held, "result": {**held["result"], "gflops": 0}}))
    again = conduct(tmp_path, machine, monkeypatch)
    assert len(machine.measured) == 2
    assert again.ceilings == {("cpu", 2): CEILINGS}


@pytest.mark.slow
def test_ceilings_that_cannot_be_measured_fail_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    machine.error = RuntimeError("no room")
    found = conduct(tmp_path, machine, monkeypatch)
    assert found.ceilings == {}
    assert [(f.what, f.stage, f.error) for f in found.failures] == [("cpu, 2 threads", "ceilings", "no room")]
    assert all(cell.done for cell in found.cells)
    assert not found.ok
    with (tmp_path / "runs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8


def test_what_ceilings_depend_on() -> None:
    def key(**options: Any) -> str:
        stage: Stage | None = study.STAGES.ceilings
        assert stage is not None
        assert stage.inputs is ceilings_inputs
        job = Job(Cell("autoenc", "torch", "inference"), Options(**options), Path("x"), role=Role.MACHINE)
        return json.dumps(stage.inputs(job))

    assert key() == key(steps=3, seed=4, preset="paper")
    assert len({key(), key(threads=3), key(ep="cuda")}) == 3
