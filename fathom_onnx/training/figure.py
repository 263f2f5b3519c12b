"""The figure of a run: its loss over the steps, and each metric of its evaluations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fathom_onnx.analysis.report.drawing import LINE_COLOURS, drawing
from fathom_onnx.workloads.contract import Array

from .record import Record

__all__ = ["curves"]

_POINTS = 2000
"""Most points of the loss that are drawn; of a longer run the mean of as many stretches."""


def curves(record: Record, title: str) -> str:
    """An SVG image with a panel for the loss, one for each metric, and one for the learning rate under a schedule.

    Args:
        record: The run's record, of one step or more.
        title: What is trained.
    """
    names = list(dict.fromkeys(name for _, name, _ in record.metrics))
    count = 1 + len(names) + bool(record.rates)
    rows = -(-count // 2)
    with drawing("training", f"Loss and metrics of {title} over the steps", 0.4 + 2.4 * rows) as canvas:
        panels = canvas.figure.subplots(rows, min(2, count), squeeze=False).ravel()
        panels[0].plot(*_stretches(record.losses), linewidth=1, color=LINE_COLOURS[0])
        panels[0].set(title=f"{title}: loss", xlabel="step")
        for axes, name in zip(panels[1:], names, strict=False):
            points = [(step, value) for step, found, value in record.metrics if found == name]
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1, color=LINE_COLOURS[1])
            axes.set(title=name, xlabel="step")
        if record.rates:
            panels[count - 1].plot(*_stretches(record.rates), linewidth=1, color=LINE_COLOURS[2])
            panels[count - 1].set(title="learning rate", xlabel="step")
        for axes in panels[:count]:
            axes.spines[["top", "right"]].set_visible(False)
        for axes in panels[count:]:
            axes.set_visible(False)
    return canvas.svg


def _stretches(values: Sequence[float]) -> tuple[Array, Array]:
    """Last step and mean of at most ``_POINTS`` stretches of a value of every step."""
    parts = np.array_split(np.asarray(values), min(_POINTS, len(values)))
    return np.cumsum([len(part) for part in parts]), np.array([part.mean() for part in parts])
