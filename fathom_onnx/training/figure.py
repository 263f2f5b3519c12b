"""The figure of a run: its loss over the steps, and each metric of its evaluations."""

from __future__ import annotations

import numpy as np

from fathom_onnx.analysis.report.drawing import LINE_COLOURS, drawing

from .record import Record

__all__ = ["curves"]

_POINTS = 2000
"""Most points of the loss that are drawn; of a longer run the mean of as many stretches."""


def curves(record: Record, title: str) -> str:
    """An SVG image with a panel for the loss and one for each metric.

    Args:
        record: The run's record, of one step or more.
        title: What is trained.
    """
    names = list(dict.fromkeys(name for _, name, _ in record.metrics))
    rows = -(-(1 + len(names)) // 2)
    losses = np.asarray(record.losses)
    parts = np.array_split(losses, min(_POINTS, len(losses)))
    ends = np.cumsum([len(part) for part in parts])
    with drawing("training", f"Loss and metrics of {title} over the steps", 0.4 + 2.4 * rows) as canvas:
        panels = canvas.figure.subplots(rows, min(2, 1 + len(names)), squeeze=False).ravel()
        panels[0].plot(ends, [part.mean() for part in parts], linewidth=1, color=LINE_COLOURS[0])
        panels[0].set(title=f"{title}: loss", xlabel="step")
        for axes, name in zip(panels[1:], names, strict=False):
            points = [(step, value) for step, found, value in record.metrics if found == name]
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1, color=LINE_COLOURS[1])
            axes.set(title=name, xlabel="step")
        for axes in panels[: 1 + len(names)]:
            axes.spines[["top", "right"]].set_visible(False)
        for axes in panels[1 + len(names) :]:
            axes.set_visible(False)
    return canvas.svg
