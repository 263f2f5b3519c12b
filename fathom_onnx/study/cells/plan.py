"""The nouns of a study or a sweep: options, cells, the jobs that the stages do, what happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

from fathom_onnx.errors import UnknownNameError
from fathom_onnx.exporting import Purpose, frameworks, graph_path
from fathom_onnx.runtime.settings import Optimization
from fathom_onnx.workloads import definition, names
from fathom_onnx.workloads.contract import MODES, Mode, Workload

__all__ = ["Cell", "Event", "EventKind", "Job", "OnEvent", "Options", "cells"]

EventKind = Literal["started", "done", "reused", "failed"]


@dataclass(frozen=True)
class Options:
    """How cells are made and run.

    Attributes:
        preset: Preset of every workload.
        changes: Fields of the workload's configuration that differ from the preset, and their values.
        ep: Execution provider.
        tf32: Whether CUDA may multiply in TensorFloat-32.
        serialize: Whether each launch on CUDA waits for its kernel.
        threads: Threads inside one operator.
        optimization: onnxruntime's graph optimization level.
        warmup: Steps of each run that are not counted.
        steps: Steps that are.
        seed: Of weights and batches.
        purpose: What the graphs are for; stored under the key ``lowering``.
        checked_steps: Steps of each verification.
        graphs: Folder below ``graphs/`` for the graph files, so that those of other configurations stay.
    """

    preset: str = "small"
    changes: tuple[tuple[str, Any], ...] = ()
    ep: str = "cpu"
    tf32: bool = False
    serialize: bool = False
    threads: int = 1
    optimization: Optimization = "all"
    warmup: int = 3
    steps: int = 20
    seed: int = 0
    purpose: Purpose = "onnxruntime"
    checked_steps: int = 1
    graphs: str = ""

    def json(self) -> dict[str, Any]:
        """The options as they are stored."""
        fields = asdict(self)
        fields["lowering"] = fields.pop("purpose")
        return fields


@dataclass(frozen=True)
class Cell:
    """One workload from one framework in one mode."""

    workload: str
    framework: str
    mode: Mode

    def __str__(self) -> str:
        return f"{self.workload} {self.mode} ({self.framework})"

    @property
    def slug(self) -> str:
        """The cell as a file name."""
        return f"{self.workload}-{self.framework}-{self.mode}"


@dataclass(frozen=True)
class Job:
    """What a stage is told, all of which goes to another process.

    Attributes:
        cell: The cell; for a comparison of frameworks, the first one's.
        options: How it is made and run.
        folder: The study's or sweep's folder.
        others: For a comparison of frameworks, the cells to compare the first with.
        output: Where the stage may write files, beside what it returns.
        note: What tells its run apart from others of the same graph, in words.
        machine: Whether it is of the machine, with the options' provider and threads, whatever the cell.
    """

    cell: Cell
    options: Options
    folder: Path
    others: tuple[Cell, ...] = ()
    output: Path = field(default_factory=Path)
    note: str = ""
    machine: bool = False

    @property
    def workload(self) -> Workload:
        """The workload at the options' preset, with their changes."""
        return definition(self.cell.workload).configure(self.options.preset, dict(self.options.changes))

    def graph(self, cell: Cell | None = None) -> Path:
        """The graph file of a cell (of this job's own by default)."""
        return self._graph("graphs", cell or self.cell)

    def draws(self, cell: Cell | None = None) -> bool:
        """Whether the step of a cell (of this job's own by default) draws random tensors itself."""
        return bool(self.workload.noise.get((cell or self.cell).mode))

    def checked_graph(self, cell: Cell | None = None) -> Path:
        """The graph of a cell that takes as inputs what its step draws: the one that is run where it draws nothing."""
        c = cell or self.cell
        return self._graph("checked", c) if self.draws(c) else self.graph(c)

    def _graph(self, under: str, cell: Cell) -> Path:
        return graph_path(self.folder / under / self.options.graphs, cell.workload, cell.framework, cell.mode)


@dataclass(frozen=True)
class Event:
    """Something that happened in a study or a sweep.

    Attributes:
        kind: ``started``, ``done`` (work was done), ``reused`` (it had been done before) or ``failed``.
        stage: The stage.
        what: The cell, or the cells compared.
        number: How many jobs of the stage are finished.
        total: How many the stage has.
        detail: The error of one that failed.
        seconds: How long it took; 0 where nothing was done now.
    """

    kind: EventKind
    stage: str
    what: str
    number: int
    total: int
    detail: str = ""
    seconds: float = 0.0


OnEvent = Callable[[Event], None]
"""Called with each event, from the process that runs it all."""


def _chosen(kind: str, wanted: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The names asked for, in the order they are known in, or all."""
    for name in wanted or ():
        if name not in known:
            raise UnknownNameError(kind, name, known)
    return tuple(name for name in known if wanted is None or name in wanted)


def cells(
    preset: str,
    workloads: Sequence[str] | None = None,
    from_frameworks: Sequence[str] | None = None,
    modes: Sequence[str] | None = None,
) -> tuple[Cell, ...]:
    """Every workload in every mode from every framework, of those asked for.

    Raises:
        UnknownNameError: A workload, framework, mode or preset that there is not.
    """
    chosen_workloads = _chosen("workload", workloads, names())
    chosen_modes = [mode for mode in MODES if mode in _chosen("mode", modes, MODES)]
    chosen_frameworks = _chosen("framework", from_frameworks, frameworks())
    for name in chosen_workloads:
        definition(name).configure(preset)
    return tuple(Cell(w, f, m) for w, m, f in product(chosen_workloads, chosen_modes, chosen_frameworks))
