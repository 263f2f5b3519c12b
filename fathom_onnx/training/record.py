"""The record of a run: its losses and metrics, and their files."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from fathom_onnx.csv_files import read_csv, write_csv
from fathom_onnx.errors import DataError, OutputError, one_line
from fathom_onnx.graph.files import write_text
from fathom_onnx.workloads.contract import RATE

__all__ = ["LOSSES", "METRICS", "Record"]

LOSSES, METRICS = "losses.csv", "metrics.csv"
"""Names of the files."""


@dataclass
class Record:
    """Losses and metrics so far.

    Attributes:
        losses: The loss of every step, from the first.
        metrics: Rows (step, name, value); step 0 is before the first.
        rates: The learning rate of every step of a run with a schedule; empty for another run.
    """

    losses: list[float] = field(default_factory=list)
    metrics: list[tuple[int, str, float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    _written: int | None = field(default=None, init=False, repr=False)
    """Losses in the file that this record wrote; None before it did."""

    def write(self, folder: Path) -> None:
        """Bring both files up to this step.

        Losses are added to their file: what a run of a million steps writes does not grow with its length. A line that
        was cut short lies after the last checkpoint, and is not read.

        Raises:
            OutputError: One cannot be written.
        """
        path = folder / LOSSES
        columns = list(self._columns().values())
        lines = [
            ",".join(map(repr, (step, *row))) + "\n"
            for step, row in enumerate(zip(*columns, strict=True), 1)
            if step > (self._written or 0)
        ]
        if self._written is None:
            write_text(path, "".join([",".join(["step", *self._columns()]) + "\n", *lines]))
        else:
            try:
                with path.open("a", encoding="utf-8", newline="") as file:
                    file.writelines(lines)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise OutputError(
                    f"cannot write '{path}' ({error.strerror or one_line(error)})", "free some space"
                ) from error
        self._written = len(self.losses)
        write_csv(folder / METRICS, self.metric_table())

    def loss_table(self) -> pd.DataFrame:
        """Columns ``step`` and ``loss``, and ``learning_rate`` of a run with a schedule."""
        return pd.DataFrame({"step": range(1, len(self.losses) + 1), **self._columns()})

    def _columns(self) -> dict[str, list[float]]:
        """What there is of every step, by column."""
        return {"loss": self.losses, **({RATE: self.rates} if self.rates else {})}

    def metric_table(self) -> pd.DataFrame:
        """Columns ``step``, ``metric`` and ``value``."""
        return pd.DataFrame(self.metrics, columns=["step", "metric", "value"])

    @classmethod
    def read(cls, folder: Path, step: int) -> Record:
        """The record of a run up to a step: what was written after the checkpoint of that step is taken anew.

        Raises:
            DataError: A file is missing, cannot be read, or does not reach that step.
        """
        try:
            losses = _read_losses(folder / LOSSES)
            metrics = read_csv(folder / METRICS, ("step", "metric", "value"), ("metric",))
            kept = losses[losses["step"] <= step]
            if list(kept["step"]) != list(range(1, step + 1)):
                raise ValueError(f"{LOSSES} does not hold every step to {step}")
            rows = metrics[metrics["step"] <= step]
            named = zip(rows["step"], rows["metric"], rows["value"], strict=True)
            rates = [float(v) for v in kept[RATE]] if RATE in kept else []
            return cls([float(v) for v in kept["loss"]], [(int(s), str(n), float(v)) for s, n, v in named], rates)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"the record of the run in '{folder}' cannot be read ({one_line(error)})",
                "start anew in another folder",
            ) from error


def _read_losses(path: Path) -> pd.DataFrame:
    """The table of losses, without a last line that has no end.

    Raises:
        ValueError: It has other columns.
    """
    text = path.read_text(encoding="utf-8")
    table = pd.read_csv(io.StringIO(text[: text.rfind("\n") + 1]), float_precision="round_trip")
    if list(table.columns) not in (["step", "loss"], ["step", "loss", RATE]):
        raise ValueError(f"{path.name} has columns {', '.join(map(str, table.columns))}, not step, loss")
    return table
