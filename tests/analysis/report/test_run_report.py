"""The report of runs: what is said of one, how several compare, names of strangers, runs of frameworks themselves."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fathom_onnx.analysis.report.page import Section
from fathom_onnx.analysis.report.run_report import run_report
from fathom_onnx.analysis.report.sections.layer_bars import layer_bars
from fathom_onnx.analysis.report.sections.run_sections import ShownRun, run_sections, trust
from fathom_onnx.analysis.report.sections.run_tiles import run_tiles
from fathom_onnx.analysis.report.timeline_figure import _pieces, _tracks
from fathom_onnx.analysis.runs.native_run import OP_COLUMNS, NativeRun
from fathom_onnx.analysis.runs.native_run import SCHEMA as NATIVE
from fathom_onnx.analysis.runs.run import Run
from support.runs.small_rooflines import ROOFS
from support.runs.small_runs import Executed, hand_run

EVIL = '<script>alert("x")</script>'

CONV, LOSS, GRAD = "forward/conv1/Conv2D", "loss/loss/Sum", "backward/conv1/Conv2DBackFilter/Conv_1"


def training(scale: int = 1, **facts: Any) -> Run:
    """A step of 60 + 10 + 30 us in nodes and 20 outside, times a factor, in eight steps."""
    nodes = [
        Executed("k0", [60 * scale + i % 2 for i in range(8)], {CONV: 1.0}),
        Executed("k1", [10 * scale] * 8, {LOSS: 1.0}),
        Executed("k2", [30 * scale] * 8, {GRAD: 1.0}),
    ]
    return hand_run(nodes, [20] * 8, [100.0 * scale + i for i in range(8)], **facts)


def native() -> NativeRun:
    rows = [("Conv2D", "D", "aten::conv", "forward", "conv1", False, 70.0, 1.0)]
    manifest = {
        **{"schema": NATIVE, "workload": "residual", "mode": "training", "preset": "tiny", "framework": "torch"},
        **{"framework_version": "2", "threads": 1, "warmup": 1, "steps": 2},
        **{"data": {"source": "s", "kind": "real", "description": "d"}},
        **{"control_steps_us": [80.0, 90.0], "comparable_steps_us": [80.0, 90.0]},
    }
    table = pd.DataFrame(rows, columns=list(OP_COLUMNS))
    return NativeRun(manifest, table, np.array([[70.0], [70.0]]), np.array([75.0, 75.0]), np.array([95.0, 97.0]))


def words(html: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_time_is_summed_by_two_groupings_at_once() -> None:
    table = training().crossed("layer", "phase")
    assert list(table.index) == ["conv1", "loss"]
    assert table.loc["conv1"].to_dict() == {"backward": 30.0, "forward": 60.5, "loss": 0.0}
    assert table.loc["loss"].to_dict() == {"backward": 0.0, "forward": 0.0, "loss": 10.0}


def test_one_run_says_where_its_time_goes() -> None:
    said = words(run_report([ShownRun("mine", training(), ROOFS)], ["fathom-onnx report mine"]))
    for expected in (
        "Run of small",
        "Where does the time of a step go?",
        "A step takes 104 µs; of the time in nodes, most is in Conv2D 60.2%, Conv2DBackFilter 29.9%, Sum 10.0%",
        "by phase: forward 60.2%, backward 29.9%, loss 10.0%",
        "conv1",
        "Layers under the roof",
        "Timeline",
        "fathom-onnx report mine",
    ):
        assert expected in said, expected


def test_tiles_hold_the_numbers_of_the_run() -> None:
    run = training()
    tiles = {tile.title: tile for tile in run_tiles(0, ShownRun("mine", run, ROOFS), run.summary())}
    assert (tiles["A step"].answer, list(tiles["A step"].numbers)[1]) == ("104 µs", ("20 µs", "of it outside nodes"))
    assert tiles["Heaviest op"].answer == "Conv2D"
    assert list(tiles["Heaviest op"].numbers) == [("60.2%", "of the node time"), ("90.0%", "in class D convolution")]
    assert next(iter(tiles["Heaviest layer"].numbers)) == ("90.0%", "of the node time")
    assert tiles["Of the machine's roof"].answer == "42.1%"
    assert "Memory of a step" not in tiles  # the run has no record of it


def test_a_step_of_one_phase_is_parted_by_class() -> None:
    inference = hand_run([Executed("k0", [5, 5], {CONV: 1.0})], [1, 1])
    assert ShownRun("a", inference).by_class
    assert list(ShownRun("a", inference).layers.columns) == ["D"]
    assert not ShownRun("a", training()).by_class


def test_layers_that_have_no_row_are_summed() -> None:
    table = pd.DataFrame({"forward": [float(n) for n in range(1, 21)]}, index=[f"l{n}" for n in range(1, 21)])
    bars = layer_bars("t", {"inference": {"torch": table}})
    assert [row.name for row in bars.rows] == [*(f"l{n}" for n in range(20, 8, -1)), "8 more"]
    assert bars.rows[-1].cells[0][0].length == sum(range(1, 9))
    assert bars.rows[0].cells[0][0].text == "20 µs, 9.5%"


def test_why_there_is_no_roofline_is_said() -> None:
    shown = ShownRun("mine", training(), no_roofline="the run is from another machine")
    section = next(s for s in run_sections(3, shown, shown.run.summary()) if s.title == "Roofline")
    assert section == Section("roofline-3", "Roofline", ["There is no roofline: the run is from another machine."])


def test_the_timeline_holds_all_of_the_step_in_order() -> None:
    run = training()
    assert _tracks(run.nodes) == ["conv1", "loss"]
    pieces = _pieces(run.nodes, ["conv1", "loss"], "phase")
    assert [(track, phase) for _, _, track, phase in pieces] == [(0, "forward"), (1, "loss"), (0, "backward")]
    assert sum(length for _, length, _, _ in pieces) == pytest.approx(0.1005)
    assert pieces[1][0] == pytest.approx(0.0605, abs=0.1005 / 900)
    assert _pieces(run.nodes.assign(median_us=0.0), ["conv1", "loss"], "phase") == []


def test_how_far_times_can_be_trusted() -> None:
    said = trust(training(floor=12.0).summary())
    assert said[0] == "16.6% of a profiled step is outside nodes."  # 20 of 120.5
    assert said[1].startswith("Profiling adds ")
    assert "0.0% of the node time is attributed to no op." in said


def test_several_runs_are_compared_with_the_first() -> None:
    runs = [ShownRun("a", training(10)), ShownRun("b", training(20, threads=2)), ShownRun("c", training(10))]
    html = run_report(runs)
    said = words(html)
    assert "3 runs of small" in said
    assert "A step of a takes 1 ms. b: 2 ms, 2.00 of the first run's step. c: 1 ms, 1.00 of" in said
    assert "2 ms, slower" in said
    assert "1 ms, same" in said
    compared = html[html.index('id="compared"') : html.index('id="facts"')]
    rows = dict(re.findall(r'<th scope="row">([^<]*)</th>((?:<td.*?</td>\s*)+)', compared, re.DOTALL))
    conv = re.sub(r"<[^>]+>", " ", rows["Conv2D"]).split()
    assert conv[:5] == ["600", "µs", "1.2", "ms", "2.00"]
    assert ">threads</th><td>threads</td><td>1</td><td>2</td><td>1</td>" in "".join(html.split("\n"))
    assert html.count('class="page"') == 3


def test_a_frameworks_own_run_stands_beside_others_untested() -> None:
    said = words(run_report([ShownRun("a", training()), ShownRun("n", native())]))
    assert "differences are not tested" in said
    alone = words(run_report([ShownRun("n", native(), no_roofline="no")]))
    assert "Run of residual training" in alone
    assert "on torch itself" in alone
    assert "A step takes 85 µs" in alone


def test_names_of_strangers_stay_text() -> None:
    evil = f"forward/{EVIL}/Conv2D"
    runs = [ShownRun(f"{EVIL}{n}", hand_run([Executed(EVIL, [9, 9], {evil: 1.0})], [1, 1], graph=EVIL)) for n in (1, 2)]
    for html in (run_report(runs[:1]), run_report(runs, [f"report {EVIL}"])):
        assert EVIL not in html
        assert html.count("<script>") == 1
        assert "&lt;script&gt;" in html


def test_a_run_in_which_nothing_took_time_has_a_report() -> None:
    empty = hand_run([Executed("k0", [0, 0], {CONV: 1.0})], [4, 4])
    html = run_report([ShownRun("a", empty)])
    assert "Timeline" not in words(html)


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    html = run_report([ShownRun("a", training(), ROOFS)])
    assert not re.search(r'(src|href)="(?!#)', html)
    assert "url(" not in html.replace("url(#", "")
