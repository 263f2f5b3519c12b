"""Strips of points: a row of values a kind, on one axis, small enough for a tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .drawing import INK, LINE_COLOURS, drawing, plain

__all__ = ["Strip", "strip_svg"]

_WIDTH = 3.0
_MARKS = "oD|s"


@dataclass(frozen=True)
class Strip:
    """Values of one kind: what they are, the values, and the one that a line marks (None for none)."""

    name: str
    values: Sequence[float]
    middle: float | None = None


def strip_svg(
    name: str,
    description: str,
    strips: Sequence[Strip],
    floor: float | None = None,
    unit: str = "",
    end: float | None = None,
) -> str:
    """A drawing of strips, one below the other.

    Args:
        name: What the drawing's ids start with.
        description: What it shows, for those who do not see it.
        strips: The strips.
        floor: Values up to this are noise: a band.
        unit: What the axis is in.
        end: Where the axis, which starts at 0, ends; what fits for None.
    """
    with drawing(name, description, 0.45 + 0.26 * len(strips), _WIDTH, font=11) as canvas:
        axes = canvas.figure.subplots()
        if floor is not None:
            axes.axvspan(0, floor, color="#8a8f98", alpha=0.3, linewidth=0)
        for y, strip in enumerate(strips):
            colour = LINE_COLOURS[y % len(LINE_COLOURS)]
            axes.plot(
                strip.values,
                [y] * len(strip.values),
                linestyle="",
                marker=_MARKS[y % len(_MARKS)],
                markersize=6,
                markerfacecolor=f"{colour}80",
                markeredgecolor=colour,
                clip_on=False,
            )
            if strip.middle is not None:
                axes.plot([strip.middle] * 2, [y - 0.38, y + 0.38], color=INK, linewidth=1.6)
        axes.set_yticks(range(len(strips)), [strip.name for strip in strips])
        axes.set(ylim=(len(strips) - 0.45, -0.55))
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlim(0, end)
        if unit:
            axes.set_xlabel(unit)
        plain(axes)
        axes.tick_params(axis="y", pad=7)  # a point at 0 is as wide on both sides
        axes.spines["bottom"].set_visible(True)
    return canvas.svg
