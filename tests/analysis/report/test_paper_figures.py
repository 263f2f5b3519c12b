"""The paper's figures from tables of ours: what they say in words, and that they draw what they were given."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster import hierarchy

from fathom_onnx.analysis.report import paper_figures as figures
from fathom_onnx.analysis.similarity.similarity import RunLabel

EVIL = 'we<ird>&"$x_1$'


def texts(svg: str) -> list[str]:
    return ["".join(e.itertext()).strip() for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def steps() -> str:
    label = RunLabel(EVIL, "torch", "training")
    return figures.ops_over_steps(
        {label: pd.DataFrame({"Conv2D": [100, 110, 90], "Add": [1, 1, 1], "Nothing": [0, 0, 0]})}
    )


def cumulative() -> str:
    return figures.cumulative_ops(
        {
            RunLabel("residual", "torch", "training"): {"Conv2D": 0.95, "Add": 0.05},
            RunLabel(EVIL, "torch", "training"): {"Mul": 0.5, "Add": 0.3, "Sub": 0.2},
            RunLabel("residual", "tensorflow", "training"): {"Conv2D": 1.0},
        }
    )


def paper() -> str:
    shares = {
        "residual": {"paper": {"Conv2D": 0.33, "Conv2DBackFilter": 0.34}, "torch": {"Conv2D": 0.4, "Slice": 0.004}},
        EVIL: {"torch": {"Mul": 0.25, "Concat": 0.5}},
    }
    return figures.beside_paper(shares, ("Mul", "Conv2D", "Conv2DBackFilter"))


def tree() -> str:
    merges = hierarchy.linkage(np.array([[0.0], [1.0], [5.0]]), "average")
    return figures.dendrogram(merges, ["near", EVIL, "far"], "class profiles")


def modes() -> str:
    rows = [
        ("residual", "torch", "cpu", "inference", 1000.0),
        ("residual", "torch", "cpu", "training", 3500.0),
        (EVIL, "torch", "cuda", "inference", 10.0),
    ]
    return figures.training_against_inference(pd.DataFrame(rows, columns=figures.MODE_COLUMNS))


def threads() -> str:
    rows = [
        ("deepq", "torch", n, op, us)
        for n in (1, 2)
        for op, us in (("Conv2D", 8000 / n), ("ApplyRMSProp", 2000), ("Add", 10.0), ("Sub", 5.0))
    ]
    table = pd.DataFrame(rows, columns=figures.THREAD_COLUMNS)
    return figures.ops_over_threads(table, {"deepq": "ApplyRMSProp is the optimizer"}, count=2)


DRAWINGS = (steps, cumulative, paper, tree, modes, threads)


@pytest.mark.parametrize("draw", DRAWINGS)
def test_each_is_one_svg_element_the_same_every_time(draw) -> None:
    svg = draw()
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label")
    assert "#010203" not in svg
    assert "<metadata" not in svg
    assert draw() == svg


def test_no_two_figures_share_an_id() -> None:
    ids = [set(re.findall(r'\bid="([^"]+)"', draw())) for draw in DRAWINGS]
    assert len(set().union(*ids)) == sum(map(len, ids))


def test_steps_name_the_run_and_its_ops_and_leave_out_what_took_no_time() -> None:
    words = texts(steps())
    assert f"{EVIL} training (torch)" in words
    assert "Conv2D" in words
    assert "Add" in words
    assert "Nothing" not in words


def test_the_cumulative_figure_says_how_many_types_reach_ninety_percent() -> None:
    words = texts(cumulative())
    assert "residual (1)" in words
    assert f"{EVIL} (3)" in words
    assert "training (tensorflow)" in words


@pytest.mark.parametrize(
    ("shares", "needed"), [([1.0], 1), ([0.9, 0.1], 1), ([0.1, 0.8, 0.1], 2), ([0.25] * 4, 4), ([0.05] * 20, 18)]
)
def test_ops_needed(shares: list[float], needed: int) -> None:
    assert figures.ops_needed(shares) == needed


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=30))
def test_ops_needed_reaches_the_target_and_one_fewer_does_not(raw: list[float]) -> None:
    shares = sorted((x / sum(raw) for x in raw), reverse=True)
    needed = figures.ops_needed(shares)
    assert sum(shares[:needed]) >= 0.9 - 1e-9
    assert sum(shares[: needed - 1]) < 0.9


def test_the_papers_row_stands_above_ours_and_other_ops_are_summed() -> None:
    words = texts(paper())
    assert words.index("residual · paper") < words.index("residual · torch")
    assert words.count("33") == 1
    assert words.count("34") == 1
    assert words.count("50") == 1  # Concat, which has no column, under "other"
    assert {"A", "D"} <= set(words)


def test_the_dendrogram_names_every_leaf() -> None:
    words = texts(tree())
    assert {"near", EVIL, "far", "class profiles", "cosine distance"} <= set(words)


def test_modes_give_the_ratio_only_where_both_were_run() -> None:
    words = texts(modes())
    assert [w for w in words if w.endswith("x")] == ["3.5x"]
    assert f"{EVIL} (torch, cuda)" in words
    assert "mathdefault" not in modes()


def test_threads_name_the_heaviest_ops_and_carry_the_note() -> None:
    svg = threads()
    words = texts(svg)
    assert {"1 thread", "2 threads", "Conv2D"} <= set(words)
    assert "Sub" not in words
    assert "ApplyRMSProp is the optimizer" in svg


def test_the_stack_keeps_all_time() -> None:
    table = pd.DataFrame(
        [("w", "f", n, op, us) for n in (1, 4) for op, us in (("Conv2D", 5e3), ("Add", 2e3), ("Mul", 1e3))],
        columns=figures.THREAD_COLUMNS,
    )
    stack = figures._stack(table, ["Conv2D"])
    assert stack.to_dict("index") == {1: {"Conv2D": 5.0, "other": 3.0}, 4: {"Conv2D": 5.0, "other": 3.0}}
