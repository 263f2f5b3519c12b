"""Drawings of one workload: its layers under the roof, and its memory, frameworks and modes side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.analysis.runs.roofline import Roofline

from .drawing import INK, LINE_COLOURS, drawing, plain, short
from .page import three_digits
from .roofline_figure import named_rows

__all__ = ["PART_COLOURS", "SERIES_COLOURS", "SIZES", "MemoryBar", "layers_under_the_roof", "memory_bars"]

SIZES = ((0.1, 13.0), (0.03, 9.0), (0.01, 6.0), (0.001, 3.5))
"""Least share of a run's time, and the width of a layer's dot in points: few widths, so that the drawing stays small.

What has less than the last is not drawn.
"""

SERIES_COLOURS = (LINE_COLOURS[1], LINE_COLOURS[0], LINE_COLOURS[2], LINE_COLOURS[3])
"""Colours with a contrast of 3 to 1 or more on light and on dark pages."""

_MARKS = "soD^"
_NAMED = 6
_APART = (1.4, 0.2)
PART_COLOURS = {
    "parameters": LINE_COLOURS[0],
    "state": LINE_COLOURS[2],
    "new values": LINE_COLOURS[3],
    "tensors at the peak": LINE_COLOURS[1],
}
"""Part of the memory to its colour."""


def layers_under_the_roof(name: str, modes: Mapping[str, Mapping[str, Roofline]]) -> str:
    """A roofline a mode, logarithmic both ways: a dot a layer, in the colour of who made the graph.

    Args:
        name: What the drawing's ids start with.
        modes: Mode to who (a framework) to the run's roofline by layer. Layers without FLOPs have no place in it.
    """
    with drawing(name, "Layers under the machine's roof: FLOPs a byte and GFLOP/s", 4.4) as canvas:
        panels = canvas.figure.subplots(1, len(modes), squeeze=False)[0]
        everyone = list(dict.fromkeys(who for several in modes.values() for who in several))
        for axes, (mode, several) in zip(panels, modes.items(), strict=True):
            _panel(axes, several, everyone)
            axes.set_title(mode)
        panels[0].set_ylabel("GFLOP/s")
        _legend(canvas.figure, everyone)
    return canvas.svg


def _drawn(roofline: Roofline) -> pd.DataFrame:
    """The rows that have a place in the drawing, with their share of the run's time as ``part``."""
    rows = roofline.table[(roofline.table["flops"] > 0) & (roofline.table["bytes"] > 0)]
    whole = roofline.total["us"] + roofline.total["left_out_us"]
    parted = rows.assign(part=rows["us"] / whole if whole else 0.0)
    return parted[parted["part"] >= SIZES[-1][0]]


def _panel(axes: Any, several: Mapping[str, Roofline], everyone: Sequence[str]) -> None:
    from matplotlib.ticker import FuncFormatter

    points = {who: _drawn(roofline) for who, roofline in several.items()}
    roofs = dict.fromkeys((gflops, r.gbytes) for r in several.values() for gflops in r.arithmetic.values())
    ends = [*(p / m for p, m in roofs), *(x for rows in points.values() for x in rows["intensity"])]
    for gflops, gbytes in roofs:
        across = np.array([min(ends) / 3, gflops / gbytes, max(ends) * 3])
        axes.plot(across, np.minimum(gflops, across * gbytes), color="#8a8f98", linewidth=1.4)
    for who, rows in points.items():
        place = everyone.index(who) % len(SERIES_COLOURS)
        above = np.inf
        for least, width in SIZES:
            same = rows[(rows["part"] >= least) & (rows["part"] < above)]
            axes.plot(
                same["intensity"],
                same["gflops"],
                linestyle="",
                marker=_MARKS[place],
                markersize=width,
                markerfacecolor=f"{SERIES_COLOURS[place]}66",
                markeredgecolor=SERIES_COLOURS[place],
                markeredgewidth=0.8,
            )
            above = least
    longest = pd.concat(points.values()).sort_values(["part", "name"], ascending=[False, True])
    for layer, x, y in named_rows(longest.drop_duplicates("name"), _NAMED, _APART):
        axes.annotate(short(layer, 28), (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="FLOPs a byte")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Any, everyone: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=_MARKS[place % len(SERIES_COLOURS)],
            markerfacecolor=f"{SERIES_COLOURS[place % len(SERIES_COLOURS)]}66",
            markeredgecolor=SERIES_COLOURS[place % len(SERIES_COLOURS)],
            label=short(who),
        )
        for place, who in enumerate(everyone)
    ]
    handles.append(Line2D([], [], color="#8a8f98", linewidth=1.4, label="what the machine reaches"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


@dataclass(frozen=True)
class MemoryBar:
    """The memory of one run, bytes.

    Attributes:
        label: The run.
        residents: Parameters, state, and the state's new values.
        tensors: Tensors of the step that are alive at the peak, by the graph.
        measured: The same by onnxruntime's allocator, or None where it does not say.
    """

    label: str
    residents: tuple[int, int, int]
    tensors: int
    measured: int | None


def memory_bars(name: str, bars: Sequence[MemoryBar]) -> str:
    """What a step of each run holds at its peak, a bar a run, and where it would end by the allocator's measure.

    Args:
        name: What the drawing's ids start with.
        bars: The runs.
    """
    with drawing(name, "Memory of a step at its peak", 1.1 + 0.34 * len(bars)) as canvas:
        axes = canvas.figure.subplots()
        for y, bar in enumerate(bars):
            left = 0.0
            for (part, colour), size in zip(PART_COLOURS.items(), (*bar.residents, bar.tensors), strict=True):
                axes.barh(y, size / 1e6, left=left, height=0.66, color=colour, label=part if not y else None)
                left += size / 1e6
            end = max(left, (sum(bar.residents) + (bar.measured or 0)) / 1e6)
            axes.annotate(
                f"{three_digits(left)} MB", (end, y), xytext=(6, 0), textcoords="offset points", va="center_baseline"
            )
        measured = [((sum(bar.residents) + bar.measured) / 1e6, y) for y, bar in enumerate(bars) if bar.measured]
        if measured:
            ends, places = zip(*measured, strict=True)
            label = "with the tensors as measured"
            axes.plot(ends, places, linestyle="", marker="|", markersize=18, markeredgewidth=2, color=INK, label=label)
        axes.set_yticks(range(len(bars)), [short(bar.label) for bar in bars])
        axes.set(xlabel="MB", ylim=(len(bars) - 0.5, -0.5))
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        plain(axes)
        canvas.figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return canvas.svg
