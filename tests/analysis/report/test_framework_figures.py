"""The drawings: well-formed, deterministic, escaped, complete, and at home on light and dark pages."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from fathom_onnx.analysis.report import framework_figures as figures
from fathom_onnx.analysis.similarity.similarity import RunLabel, distances, share_table
from fathom_onnx.vocabulary import PHASES, OpClass
from support.runs.summaries import summary

EVIL = 'we<ird>&"$x_1$'


def runs() -> list[dict]:
    return [
        summary("residual", "torch", Conv2D=930, Relu=70),
        summary("residual", "tensorflow", Conv2D=900, Relu=100),
        summary("autoenc", "torch", MatMul=80, Softplus=17, RandomNormal=3),
        summary(EVIL, "tensorflow", MatMul=80, NotAnOp=20),
    ]


def drawings(held: list[dict]) -> dict[str, str]:
    return {
        "classes": figures.class_heatmap(held),
        "phases": figures.phase_bars(held),
        "ops": figures.top_ops(held),
        "distances": figures.distance_matrix(distances(share_table(held, "class"))),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return drawings(runs())


def texts(svg: str) -> list[str]:
    return ["".join(e.itertext()).strip() for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_each_is_one_svg_element_that_scales(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        root = ET.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert "width" not in root.attrib
        assert [float(x) for x in root.get("viewBox").split()][2] == 720
        assert "<metadata" not in svg
        assert "<!DOCTYPE" not in svg


def test_the_same_runs_give_the_same_bytes(drawn: dict[str, str]) -> None:
    assert drawings(runs()) == drawn


def test_ids_are_not_shared_between_figures_and_every_reference_is_to_ones_own(drawn: dict[str, str]) -> None:
    ids = {name: set(re.findall(r'\bid="([^"]+)"', svg)) for name, svg in drawn.items()}
    for name, svg in drawn.items():
        references = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
        assert references <= ids[name]
        assert not ids[name] & set().union(*(held for other, held in ids.items() if other != name))


def test_letters_take_the_pages_colour_and_there_is_no_background(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert "currentColor" in svg
        assert "#010203" not in svg
        assert "#ffffff" not in svg.lower()
        for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
            style = element.get("style", "")
            assert "currentColor" in style or "#111111" in style


def test_names_are_shown_as_they_are(drawn: dict[str, str]) -> None:
    assert f"{EVIL} inference" in texts(drawn["classes"])
    assert any(EVIL in text for text in texts(drawn["phases"]))
    assert "<ird>" not in drawn["classes"]


def test_the_heatmap_says_every_share_and_what_has_not_run(drawn: dict[str, str]) -> None:
    said = texts(drawn["classes"])
    assert {"torch", "tensorflow", "93", "90", "7", "10", "80", "17", "3", "20"} <= set(said)
    assert said.count("not run") == 2
    assert [t for t in said if t in list(OpClass)] == [*OpClass, *OpClass]
    assert said.count(figures.OTHER) == 2  # 20% of one run is in no class


def test_a_share_below_half_a_percent_is_not_nothing() -> None:
    said = texts(figures.class_heatmap([summary("a", Conv2D=9999, Add=1)]))
    assert "<1" in said
    assert "100" in said
    assert figures.OTHER not in said


def test_time_that_no_row_accounts_for_is_drawn_as_other() -> None:
    held = summary("a", Conv2D=1)
    held["by_class"][0]["share"] = held["by_phase"][0]["share"] = 0.75
    said = texts(figures.class_heatmap([held]))
    assert {"75", "25", figures.OTHER} <= set(said)
    assert {"75", "25", figures.OTHER} <= set(texts(figures.phase_bars([held])))


def test_the_ops_are_named_with_their_percent(drawn: dict[str, str]) -> None:
    said = texts(drawn["ops"])
    assert {"Conv2D", "93.0", "Relu", "7.0", "RandomNormal", "NotAnOp", "20.0", "D Convolution", "other"} <= set(said)
    assert "autoenc inference (tensorflow): not run" in said


def test_only_the_longest_ops_are_drawn() -> None:
    said = texts(figures.top_ops([summary("a", Add=5, Mul=4, Sub=3, Div=2)], count=2))
    assert {"Add", "Mul"} <= set(said)
    assert not {"Sub", "Div"} & set(said)


def test_the_distances_are_written_out() -> None:
    table = share_table([summary("a", Conv2D=1), summary("b", MatMul=1), summary("c", Conv2D=1, MatMul=1)], "class")
    said = texts(figures.distance_matrix(distances(table)))
    assert said.count("1.00") == 2
    assert said.count("0.29") == 4


def test_distances_up_to_the_noise_floor_are_in_brackets() -> None:
    table = share_table([summary("a", Conv2D=1), summary("b", MatMul=1), summary("c", Conv2D=1, MatMul=1)], "class")
    floors = {RunLabel("a", "torch", "inference"): 0.3, RunLabel("b", "torch", "inference"): 0.1}
    said = texts(figures.distance_matrix(distances(table), floors))
    assert said.count("1.00") == 2
    assert said.count("(0.29)") == 2  # of a, whose rounds are 0.3 apart
    assert said.count("0.29") == 2


def test_every_class_and_phase_has_a_colour_of_its_own() -> None:
    for colours, names in ((figures.CLASS_COLOURS, list(OpClass)), (figures.PHASE_COLOURS, PHASES)):
        assert list(colours) == [*names, figures.OTHER]
        assert len(set(colours.values())) == len(colours)


def test_no_runs_of_a_kind_do_not_stop_a_drawing() -> None:
    empty = summary("a") | {"by_op": [], "by_class": [], "by_phase": []}
    for svg in (figures.class_heatmap([empty]), figures.phase_bars([empty]), figures.top_ops([empty])):
        ET.fromstring(svg)
