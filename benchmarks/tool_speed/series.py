"""Configurations that grow in one field: batch, width, depth or length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["SERIES", "Series"]


@dataclass(frozen=True)
class Series:
    """A workload at a preset whose configuration grows in one field.

    Attributes:
        workload: Its name.
        axis: What grows, in a word.
        field: The field of the configuration.
        values: Its values, smallest first.
        preset: The preset of all other fields.
    """

    workload: str
    axis: str
    field: str
    values: tuple[Any, ...]
    preset: str = "small"

    @property
    def name(self) -> str:
        """Workload and axis, ``llama depth``."""
        return f"{self.workload} {self.axis}"

    def size(self, value: Any) -> float:
        """A value as a number: of blocks in several stages, how many there are."""
        return math.fsum(value) if isinstance(value, tuple) else float(value)

    def text(self, value: Any) -> str:
        """A value as ``--set`` takes it."""
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


SERIES = {
    series.name: series
    for series in (
        Series("llama", "batch", "batch", (1, 2, 4, 8)),
        Series("llama", "depth", "layers", (2, 4, 8, 16)),
        Series("llama", "width", "width", (128, 256, 512, 1024)),
        Series("llama", "length", "length", (64, 128, 256, 512)),
        Series("seq2seq", "batch", "batch", (8, 16, 32, 64)),
        Series("seq2seq", "width", "hidden", (64, 128, 256, 512)),
        Series("seq2seq", "length", "source_length", (5, 10, 20, 40)),
        Series("residual", "batch", "batch", (2, 4, 8, 16)),
        Series("residual", "width", "width", (16, 32, 64, 128)),
        Series("residual", "depth", "blocks", ((1, 1, 1, 1), (2, 2, 2, 2), (4, 4, 4, 4), (8, 8, 8, 8))),
    )
}
"""The series by name."""
