"""The first screen of a study: a tile a level with the numbers of the verdict, the workloads' bars, a mark a claim."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fathom_onnx.study import Cell, CellResult, Job, Options, StudyResult
from fathom_onnx.study.cells.plan import Role
from fathom_onnx.study.cells.results import Failure
from fathom_onnx.study.sections import framework_sections, study_overview, study_tables, workload_pages
from fathom_onnx.study.sections.paper_sections import claim_anchor, paper_sections
from support.runs.summaries import spent, summary

WORKLOADS = ("autoenc", "residual", "vgg")
OPS = {
    "autoenc": {"MatMul": 90.0, "Add": 10.0},
    "residual": {"Conv2D": 80.0, "Relu": 20.0},
    "vgg": {"Sum": 60.0},
    "seq2seq": {"MatMul": 70.0},
}


def cell(workload: str, framework: str, mode: Any = "training", **changes: Any) -> CellResult:
    job = Job(Cell(workload, framework, mode), Options(threads=2), Path("folder"))
    ops = OPS[workload]
    facts = {"control_us": 100.0, "step_us": 120.0, "outside_us": 7.0, "run_time_us": 107.0, "node_time_us": 100.0}
    made = summary(workload, framework, mode, {**facts, "attributed_us": 100.0, "unattributed_us": 0.0}, **ops)
    result = CellResult(job, {"nodes": 9}, summary=made, op_mix=spent(workload, framework, mode, [ops, ops]))
    return replace(result, **changes)


def study(*cells: CellResult, failures: tuple[Failure, ...] = ()) -> StudyResult:
    found = StudyResult(Path("folder"), Options(threads=2), cells, (), False, failures, 0, 0)
    found.__dict__["rooflines"] = {}
    return found


CELLS = tuple(cell(w, f, m) for w in WORKLOADS for f in ("torch", "tensorflow") for m in ("inference", "training"))


def test_a_tile_a_level_has_the_two_numbers_of_the_verdict() -> None:
    result = study(*CELLS)
    overview = study_overview(result)
    assert overview is not None
    (tile,) = overview.tiles
    assert tile.title == "Time in onnxruntime"
    assert (tile.answer, tile.state) == ("cannot be told", "open")  # three workloads are too few
    # the frameworks are alike; by class autoenc and residual have some A in common, vgg nothing with either
    apart = (2 + 1 - 0.1 * 0.2 / (0.82**0.5 * 0.68**0.5)) / 3
    assert list(tile.numbers) == [("0.000", "between frameworks"), (f"{apart:.3f}", "between workloads")]
    assert ">frameworks</text>" in tile.drawing
    assert "floor" not in overview.tiles_note  # no rounds, no floor


def test_of_three_frameworks_a_tile_has_a_strip_and_an_answer_a_pair() -> None:
    result = study(*CELLS, *(cell(w, "jax", m) for w in WORKLOADS for m in ("inference", "training")))
    overview = study_overview(result)
    assert overview is not None
    (tile,) = overview.tiles
    pairs = ("torch, tensorflow", "torch, jax", "tensorflow, jax")
    assert all(f">{pair}</text>" in tile.drawing for pair in pairs)
    assert tile.drawing.count(">workloads</text>") == 1
    assert [words for _, words in tile.numbers] == ["torch and tensorflow", "between workloads"]
    assert tile.note == "; ".join(f"{pair.replace(',', ' and')}: cannot be told" for pair in pairs)
    assert overview.picture is not None
    assert [len(bars) for row in overview.picture.rows for bars in row.cells] == [3] * 6
    question = next(section for section in paper_sections(result) if section.anchor == "question")
    assert question.tables[0].columns == ("asked of", "over all", *(pair.replace(",", " and") for pair in pairs))
    assert [cell.text for cell in question.tables[0].cells[0]] == ["onnxruntime", *["cannot be told"] * 4]
    assert len(question.lead) == 4


def test_where_the_measured_point_says_otherwise_tile_and_table_say_so() -> None:
    result = study(*CELLS)
    (level,) = result.framework
    several = [replace(a, resampled=("mixed", "mixed", "little")) for a in level.assessments]
    result.__dict__["framework"] = (replace(level, assessments=tuple(several)),)
    overview = study_overview(result)
    assert overview is not None
    (tile,) = overview.tiles
    assert (tile.answer, tile.note) == ("mixed", "in 67% of resamples, measured point: cannot be told")
    question = next(section for section in paper_sections(result) if section.anchor == "question")
    assert [cell.text for cell in question.tables[0].cells[0][1:3]] == ["mixed (measured point: cannot be told)", "67%"]


def test_a_profile_that_is_not_the_frameworks_step_is_called_so() -> None:
    way = "op by op; XLA fuses these"
    natives = []
    for of_graph in (cell("autoenc", f, "training") for f in ("torch", "jax")):
        job = replace(of_graph.job, role=Role.NATIVE)
        told = {"profiled_as": way if job.cell.framework == "jax" else "", "explained_share": 1.0}
        natives.append(replace(of_graph, job=job, summary={**of_graph.summary, **told}))
    result = study(*CELLS, cell("autoenc", "jax"), *natives)
    native = next(level for level in result.framework if level.name == "native")
    assert native.what == f"time in the frameworks themselves (jax {way})"
    tables = [table for s in (*framework_sections(result), *paper_sections(result)) for table in s.tables]
    tables += [table for page in workload_pages(result) for s in page.sections for table in s.tables]
    told = {table.title for table in tables if way in str((table.columns, table.rows, table.note))}
    assert {"Steps", "Op by op", "training, by op, in the frameworks", "training, by layer, in the frameworks"} <= told
    runs = study_tables(result)["ops"]
    assert set(runs[runs["profiled_as"] == way]["framework"]) == {"jax"}
    assert set(runs[runs["profiled_as"] == way]["runtime"]) == {"native"}


def test_every_workload_has_its_bars_training_first() -> None:
    overview = study_overview(study(*CELLS))
    assert overview is not None
    picture = overview.picture
    assert picture is not None
    assert list(picture.columns) == ["training", "inference"]
    assert [(row.name, row.to) for row in picture.rows] == [(w, f"workload-{w}") for w in WORKLOADS]
    torch, tensorflow = picture.rows[0].cells[0]
    assert (torch.label, tensorflow.label) == ("torch training", "tensorflow training")
    assert torch.parts["B"] == pytest.approx(0.9)
    assert torch.parts["A"] == pytest.approx(0.1)
    assert picture.caption == "Bars from the top: torch, tensorflow."
    assert picture.groups == 1


def test_sixteen_workloads_stand_in_two_groups() -> None:
    overview = study_overview(study(*CELLS))
    assert overview is not None
    picture = overview.picture
    assert picture is not None
    many = replace(picture, rows=[*picture.rows] * 3, groups=2)
    assert [len(group) for group in many.split_rows] == [5, 4]


@pytest.mark.parametrize(("bars", "groups"), [(9, 1), (8, 2), (2, 2)])
def test_many_bars_stand_in_two_groups(monkeypatch: pytest.MonkeyPatch, bars: int, groups: int) -> None:
    monkeypatch.setattr("fathom_onnx.study.sections.overview._ONE_GROUP", bars)
    overview = study_overview(study(*CELLS, *(cell(w, "jax") for w in WORKLOADS)))
    assert overview is not None
    assert overview.picture is not None
    assert overview.picture.groups == groups  # nine bars, three of each workload


def test_each_claim_has_a_mark_that_leads_to_its_row() -> None:
    result = study(*CELLS)
    overview = study_overview(result)
    assert overview is not None
    assert [mark.name for mark in overview.marks] == [entry.claim.id for entry in result.ledger]
    claims = next(section for section in paper_sections(result) if section.anchor == "claims")
    anchors = [row[0].anchor for row in claims.tables[0].cells]
    assert [mark.to for mark in overview.marks] == anchors == [claim_anchor(n) for n in range(len(anchors))]
    states = {mark.name: mark.state for mark in overview.marks}
    assert states["F5c"] == "open"  # no GPU
    assert states["OV"] == "bad"  # 7 of 107 us are outside nodes


def test_what_failed_comes_first() -> None:
    overview = study_overview(study(*CELLS, failures=(Failure("vgg", "run", "broken"),)))
    assert overview is not None
    first = overview.tiles[0]
    assert (first.title, first.answer, first.state, first.to) == ("What failed", "1 failures", "bad", "failures")


def test_without_runs_there_is_no_first_screen() -> None:
    assert study_overview(study(CellResult(CELLS[0].job, error="broken"))) is None


def test_a_workloads_page_opens_with_its_layers_by_phase() -> None:
    layers = pd.DataFrame({"forward": [30.0, 5.0], "backward": [60.0, 5.0]}, index=["conv1", "fc"])
    cells = [cell("residual", f, m, layers=layers) for f in ("torch", "tensorflow") for m in ("inference", "training")]
    (page,) = workload_pages(study(*cells))
    first = page.sections[0]
    assert (first.anchor, first.title) == ("where", "Where the time goes")
    (bars,) = first.bars
    assert list(bars.columns) == ["training", "inference"]
    assert [row.name for row in bars.rows] == ["conv1", "fc"]
    assert bars.rows[0].cells[0][0].parts["backward"] == 60.0
    assert bars.rows[0].cells[0][1].text == "90 µs, 90.0%"


def test_ops_that_differ_from_the_papers_are_told_with_their_nodes() -> None:
    result = study(*CELLS)
    section = next(s for s in paper_sections(result) if s.anchor == "apart")
    (table,) = section.tables  # no seq2seq, no memnet: nothing is told of which op became which
    rows = {(row[0].text, row[1].text): [cell.text for cell in row] for row in table.cells}
    # Figure 3: autoenc MatMul 58; here 90 in both frameworks
    assert rows["autoenc", "MatMul"] == ["autoenc", "MatMul", "58.0%", "90.0%", "90.0%", "+32", ""]
    assert rows["vgg", "Sum"][2:6] == ["", "100.0%", "100.0%", "+100"]
    assert ("autoenc", "Sum") not in rows  # 2 in the figure, none here


def test_which_op_became_which_is_told_of_the_run() -> None:
    layer_ops = pd.DataFrame({"MatMul": [10.0, 60.0], "Tanh": [30.0, 0.0]}, index=["attention.score", "decoder.lstm1"])
    told = cell("seq2seq", "torch", layer_ops=layer_ops)
    section = next(s for s in paper_sections(study(*CELLS, told)) if s.anchor == "apart")
    attention = [cell.text for cell in section.tables[0].cells[0]]
    assert attention[:4] == ["seq2seq", "attention", "Mul 35%, Sum 2%, Tile 20%", "torch: Tanh 30%, MatMul 10%"]
