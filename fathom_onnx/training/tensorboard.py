"""Losses and metrics as event files, which TensorBoard shows while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fathom_onnx.errors import MissingDependencyError
from fathom_onnx.graph.files import ensure_folder
from fathom_onnx.workloads.contract import RATE

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

__all__ = ["EventFile"]


class EventFile:
    """An event file of a run, one more each time that it goes on.

    What earlier files have of the first step that is added now, and of later ones, is not shown.

    Args:
        folder: Where it is written.

    Raises:
        MissingDependencyError: The package that writes such files is not installed.
        OutputError: The folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingDependencyError(
                "event files need tensorboardX, which is not installed", "pip install tensorboardX"
            ) from error
        self._open = partial(SummaryWriter, str(ensure_folder(folder)), flush_secs=10)
        self._writer: SummaryWriter | None = None

    def _add(self, name: str, value: float, step: int) -> None:
        if self._writer is None:
            # Names have whole seconds only: two runs within one would share a file, and the second empty it.
            self._writer = self._open(purge_step=step, filename_suffix=f".{time.time_ns()}")
        self._writer.add_scalar(name, value, step)

    def step(self, step: int, loss: float, rate: float | None = None) -> None:
        """Add the loss of a step, under ``loss``, and its learning rate where a schedule gives it."""
        self._add("loss", loss, step)
        if rate is not None:
            self._add(RATE, rate, step)

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add what was measured on held-out data after a step, each under ``held_out/NAME``."""
        for name, value in metrics.items():
            self._add(f"held_out/{name.replace(' ', '_')}", value, step)  # a tag has no spaces

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
