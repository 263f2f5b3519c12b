"""What a graph is known to hold, from whoever made the model: never from its ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Maker", "Truth"]


@dataclass(frozen=True)
class Truth:
    """Independent counts of a model.

    Attributes:
        macs: Multiply-accumulates of one run; None where nobody but us counts them.
        parameters: Elements of its weights; None likewise.
        source: Who counted.
        unknown_before: Why MACs are known after a run only; empty where they are known before it.
        exporter: What the exporter changed in the parameters, by hand: elements more in the file, and why.
    """

    macs: int | None
    parameters: int | None
    source: str
    unknown_before: str = ""
    exporter: tuple[int, str] = (0, "")


Maker = Callable[[Path], Truth]
"""Writes a graph to a path and says what it holds."""
