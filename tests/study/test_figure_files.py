"""The figures of a study as files: their sizes, their data beside them, the same bytes every time."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from fathom_onnx.analysis.report.drawing import drawing, for_paper
from fathom_onnx.errors import UnknownNameError
from fathom_onnx.study import Cell, CellResult, Job, Options, StudyResult
from fathom_onnx.study.figure_files import write_figures
from support.runs.summaries import spent, summary

OPS = {"residual": {"Conv2D": 60.0, "Relu": 20.0}, "autoenc": {"MatMul": 80.0, "Add": 10.0}}


def cell(workload: str, framework: str, mode: Any) -> CellResult:
    facts = {"control_us": 100.0 if mode == "training" else 50.0, "provider": "cpu"}
    return CellResult(
        Job(Cell(workload, framework, mode), Options(), Path("folder")),
        summary=summary(workload, framework, mode, facts, **OPS[workload]),
        op_mix=spent(workload, framework, mode, [OPS[workload], OPS[workload]]),
    )


def study(folder: Path) -> StudyResult:
    cells = tuple(cell(w, "torch", m) for w in OPS for m in ("inference", "training"))
    return StudyResult(folder, Options(), cells, (), False, (), 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_every_figure_is_a_file_with_its_data(tmp_path: Path, kind: str) -> None:
    files = write_figures(study(tmp_path), kind)
    names = ["figure-1", "figure-2", "figure-3", "figure-4-torch", "figure-5"]
    assert [path.name for path in files] == [f"{name}.{kind}" for name in names]
    assert all(path.parent == tmp_path / "figures" for path in files)
    data = {name: pd.read_csv(tmp_path / "figures" / f"{name}.csv") for name in names}
    assert data["figure-5"].to_dict("list") == {
        "workload": ["residual", "residual", "autoenc", "autoenc"],
        "framework": ["torch"] * 4,
        "provider": ["cpu"] * 4,
        "mode": ["inference", "training"] * 2,
        "us": [50.0, 100.0] * 2,
    }
    third = data["figure-3"].set_index(["workload", "source", "op"])["share"]
    assert third["residual", "torch", "Conv2D"] == 0.75
    assert third["residual", "paper", "Conv2D"] == 0.33
    first = data["figure-1"].set_index(["workload", "mode", "step", "op"])["us"]
    assert first["autoenc", "training", 1, "MatMul"] == 80.0
    again = {path.name: path.read_bytes() for path in files}
    assert {path.name: path.read_bytes() for path in write_figures(study(tmp_path), kind)} == again


def drawn(kind: str, height: float = 5.0) -> bytes:
    with for_paper(kind) as paper, drawing("a", "b", height) as canvas:
        canvas.figure.subplots().plot([1, 2])
    return paper.last


def test_a_figure_is_as_wide_as_two_columns() -> None:
    image = Image.open(io.BytesIO(drawn("png")))
    assert image.size == (round(7.16 * 300), round(5 * 7.16 / 10 * 300))
    assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    box = re.search(rb"/MediaBox \[ 0 0 ([0-9.]+) ([0-9.]+) \]", drawn("pdf"))
    assert box is not None
    assert float(box[1]) == pytest.approx(7.16 * 72)
    assert re.search(rb'width="515\.52pt"', drawn("svg"))


def test_a_tall_figure_leaves_room_for_its_caption() -> None:
    assert Image.open(io.BytesIO(drawn("png", 30.0))).size[1] == round(8.6 * 300)


def test_drawings_of_the_report_are_not_changed_by_it() -> None:
    with for_paper("png"):
        pass
    with drawing("a", "b", 5.0) as canvas:
        assert canvas.figure.get_figwidth() == 10.0


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="gif"):
        write_figures(study(tmp_path), "gif")
