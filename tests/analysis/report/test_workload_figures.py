"""The drawings of one workload: what they show, in words and dots, on light and dark pages."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from fathom_onnx.analysis.report.workload_figures import (
    PART_COLOURS,
    SERIES_COLOURS,
    MemoryBar,
    layers_under_the_roof,
    memory_bars,
)
from fathom_onnx.analysis.runs.above_roof import ABOVE_COLUMNS
from fathom_onnx.analysis.runs.roofline import COLUMNS, LEFT_OUT_COLUMNS, Roofline

EVIL = 'we<ird>&"$x_1$'
SVG = "{http://www.w3.org/2000/svg}"


def roof(*rows: tuple[str, float, float], gflops: float = 100.0, **more: float) -> Roofline:
    """(layer, us, FLOPs a byte) of layers that achieve 10 GFLOP/s."""
    table = pd.DataFrame(
        [
            (n, 1, us, 1e4 * us, 1e4 * us / i if i else 0.0, i, 10.0, 1.0, us, 1.0, "compute", "float32")
            for n, us, i in rows
        ],
        columns=list(COLUMNS),
    )
    left_out, above = (pd.DataFrame(columns=list(columns)) for columns in (LEFT_OUT_COLUMNS, ABOVE_COLUMNS))
    return Roofline(table, left_out, {"float32": gflops, **more}, 10.0, "layer", 0, above, {})


def texts(svg: str) -> list[str]:
    return ["".join(e.itertext()).strip() for e in ET.fromstring(svg).iter(f"{SVG}text")]


def colours(svg: str) -> list[str]:
    """Edges of the dots that are drawn."""
    used = [e.get("style") or "" for e in ET.fromstring(svg).iter(f"{SVG}use")]
    return [found[1] for style in used if (found := re.search(r"stroke: (#\w+)", style))]


def test_a_dot_a_layer_a_framework() -> None:
    one = roof((EVIL, 900, 1.0), ("small", 99, 30.0), ("tiny", 0.5, 3.0), ("moves", 50, 0.0))
    svg = layers_under_the_roof("a", {"inference": {"torch": one, EVIL: one}, "training": {"torch": one}})
    said = texts(svg)
    assert {"inference", "training", "torch", "what the machine reaches", "GFLOP/s", "FLOPs a byte"} <= set(said)
    assert said.count("small") == 2  # once a panel, though two frameworks have it
    assert not {"tiny", "moves"} & set(said)
    # two layers a framework and panel, and one in the legend
    assert [colours(svg).count(colour) for colour in SERIES_COLOURS[:2]] == [2 + 2 + 1, 2 + 1]


def test_a_roof_a_pair_of_ceilings() -> None:
    def roofs(*found: Roofline) -> int:
        svg = layers_under_the_roof("a", {"training": {str(n): r for n, r in enumerate(found)}})
        return svg.count("stroke: #8a8f98; stroke-width: 1.4")

    alone = roof(("fc", 10, 1.0))
    assert roofs(alone, alone) == 1 + 1  # with the legend's
    assert roofs(alone, roof(("fc", 10, 1.0), gflops=1000.0)) == 2 + 1
    # one for each number type that something computes in
    assert roofs(alone, roof(("fc", 10, 1.0), int8=400.0)) == 2 + 1


def test_nothing_that_computes_is_a_roof_without_dots() -> None:
    svg = layers_under_the_roof("a", {"inference": {"torch": roof(("moves", 10, 0.0))}})
    assert colours(svg) == [SERIES_COLOURS[0]]


BARS = [MemoryBar(EVIL, (1_000_000, 0, 2_000_000), 500_000, 250_000), MemoryBar("two", (0, 0, 0), 2_000_000_000, None)]


def test_bars_say_their_sum() -> None:
    said = texts(memory_bars("m", BARS))
    assert {"3.5 MB", "2,000 MB", "parameters", "state", "new values", "tensors at the peak"} <= set(said)
    assert "with the tensors as measured" in said
    assert "with the tensors as measured" not in texts(memory_bars("m", BARS[1:]))


@pytest.mark.parametrize(
    "draw",
    [lambda: layers_under_the_roof("a", {EVIL: {EVIL: roof((EVIL, 5, 1.0))}}), lambda: memory_bars("a", BARS)],
    ids=["roofline", "memory"],
)
def test_names_are_text_and_the_same_content_gives_the_same_bytes(draw) -> None:
    svg = draw()
    assert EVIL in texts(svg)
    assert svg == draw()
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert not re.search(r"<[^>]*\d\.\d{3,}", svg)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("ground", ["#ffffff", "#191d23"], ids=["light", "dark"])
@pytest.mark.parametrize("colour", [*SERIES_COLOURS, *PART_COLOURS.values()])
def test_what_is_drawn_stands_out_from_either_page(colour: str, ground: str) -> None:
    low, high = sorted((luminance(colour), luminance(ground)))
    assert (high + 0.05) / (low + 0.05) >= 3
