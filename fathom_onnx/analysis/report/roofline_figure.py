"""A roofline as a drawing: intensity across, FLOP/s up, both logarithmic; a dot a row, as large as its time."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pandas as pd

from fathom_onnx.analysis.runs.roofline import Roofline

__all__ = ["named_rows", "roofline_svg"]

_COLOURS = {"compute": "#d55e00", "memory": "#0072b2"}  # Okabe and Ito, 2008
_MARKERS = {"compute": "s", "memory": "o"}
_DASHES = ("-", "--", "-.", ":")
"""Lines of the roofs of several number types."""

_NAMED = 8
"""Rows that are named in the drawing at most, those that took longest."""

_APART = (0.6, 0.08)
"""Decades, across and up, between two names that can both be read."""


def named_rows(
    drawn: pd.DataFrame, most: int = _NAMED, apart: tuple[float, float] = _APART
) -> list[tuple[str, float, float]]:
    """The rows to name in a drawing: of the first, those whose name does not lie on another.

    Args:
        drawn: Columns ``name``, ``intensity``, ``gflops``; the most important rows first.
        most: How many may be named.
        apart: Decades, across and up, between two names that can both be read.

    Returns:
        Name, intensity and GFLOP/s of each.
    """
    placed: list[tuple[str, float, float]] = []
    for name, x, y in zip(drawn["name"], drawn["intensity"], drawn["gflops"], strict=True):
        free = all(abs(np.log10(x / px)) > apart[0] or abs(np.log10(y / py)) > apart[1] for _, px, py in placed)
        if free and len(placed) < most:
            placed.append((str(name), float(x), float(y)))
    return placed


def roofline_svg(roofline: Roofline, title: str) -> str:
    """The drawing of a roofline as an SVG document, the same bytes for the same rows.

    Rows without FLOPs cannot be drawn: their number and their share of the time are printed below the axes.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    drawn = roofline.table[(roofline.table["flops"] > 0) & (roofline.table["bytes"] > 0)]
    total = float(roofline.table["us"].sum())
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "roofline",
        "font.size": 9.5,
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(9.0, 6.0), layout="constrained")
        axes = figure.subplots()
        ends = [*(gflops / roofline.gbytes for gflops in roofline.arithmetic.values()), *drawn["intensity"]]
        across = np.geomspace(min(ends) / 3, max(ends) * 3, 200)
        for (kind, gflops), dash in zip(roofline.arithmetic.items(), itertools.cycle(_DASHES)):
            roof = np.minimum(gflops, across * roofline.gbytes)
            several = len(roofline.arithmetic) > 1
            axes.plot(across, roof, dash, color="#444444", linewidth=1.2, label=f"roof in {kind}" if several else None)
        for bound, colour in _COLOURS.items():
            rows = drawn[drawn["bound"] == bound]
            axes.scatter(
                rows["intensity"],
                rows["gflops"],
                s=15 + 500 * rows["us"] / total if total else 15,
                color=colour,
                marker=_MARKERS[bound],
                alpha=0.75,
                label=f"bound by {'arithmetic' if bound == 'compute' else 'memory'}",
            )
        for name, x, y in named_rows(drawn):
            axes.annotate(name, (x, y), xytext=(6, 4), textcoords="offset points")
        left = roofline.table.drop(drawn.index)
        part = float(left["us"].sum()) / total if total else 0.0
        axes.set(
            xscale="log",
            yscale="log",
            xlabel=f"FLOPs a byte\n{len(left)} more rows without FLOPs took {part:.1%} of the time",
            ylabel="GFLOP/s",
            title=f"{title}: {roofline.gflops:.0f} GFLOP/s, {roofline.gbytes:.1f} GB/s",
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.legend(loc="lower right")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return buffer.getvalue()
