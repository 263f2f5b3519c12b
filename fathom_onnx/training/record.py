"""The record of a run: its losses and metrics, and their files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from fathom_onnx.csv_files import read_csv, write_csv
from fathom_onnx.errors import DataError, one_line

__all__ = ["LOSSES", "METRICS", "Record"]

LOSSES, METRICS = "losses.csv", "metrics.csv"
"""Names of the files."""


@dataclass
class Record:
    """Losses and metrics so far.

    Attributes:
        losses: The loss of every step, from the first.
        metrics: Rows (step, name, value); step 0 is before the first.
    """

    losses: list[float] = field(default_factory=list)
    metrics: list[tuple[int, str, float]] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write both files, each whole or not at all.

        Raises:
            OutputError: One cannot be written.
        """
        steps = range(1, len(self.losses) + 1)
        write_csv(folder / LOSSES, pd.DataFrame({"step": steps, "loss": self.losses}))
        write_csv(folder / METRICS, pd.DataFrame(self.metrics, columns=["step", "metric", "value"]))

    @classmethod
    def read(cls, folder: Path, step: int) -> Record:
        """The record of a run up to a step: what was written after the checkpoint of that step is taken anew.

        Raises:
            DataError: A file is missing, cannot be read, or does not reach that step.
        """
        try:
            losses = read_csv(folder / LOSSES, ("step", "loss"), ())
            metrics = read_csv(folder / METRICS, ("step", "metric", "value"), ("metric",))
            kept = losses[losses["step"] <= step]
            if list(kept["step"]) != list(range(1, step + 1)):
                raise ValueError(f"{LOSSES} does not hold every step to {step}")
            rows = metrics[metrics["step"] <= step]
            named = zip(rows["step"], rows["metric"], rows["value"], strict=True)
            return cls([float(v) for v in kept["loss"]], [(int(s), str(n), float(v)) for s, n, v in named])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"the record of the run in '{folder}' cannot be read ({one_line(error)})",
                "start anew in another folder",
            ) from error
