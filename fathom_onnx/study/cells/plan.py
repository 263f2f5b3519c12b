"""The plan of a study or a sweep: cells, the jobs that stages do for them, the events of doing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any, Literal

from fathom_onnx.errors import UnknownNameError
from fathom_onnx.exporting import FURTHER_FRAMEWORKS, Purpose, find_exporter, frameworks, graph_path, usual_frameworks
from fathom_onnx.graph import load_structure
from fathom_onnx.graph.dataflow import RANDOM
from fathom_onnx.runtime.settings import Optimization, SessionSettings
from fathom_onnx.workloads import USUAL_SUITE, definition, names
from fathom_onnx.workloads.contract import MODES, Mode, Workload

from .own_models import OwnModel

__all__ = ["Cell", "Event", "EventKind", "Job", "OnEvent", "Options", "Role", "cells", "own_cells"]

EventKind = Literal["started", "done", "reused", "failed"]
"""Kind of a progress event."""


@dataclass(frozen=True)
class Options:
    """How cells are exported, verified and run.

    Attributes:
        preset: Preset of every workload.
        changes: Fields of the workload's configuration that differ from the preset, and their values.
        ep: Execution provider.
        tf32: Whether CUDA may multiply in TensorFloat-32.
        serialize: Whether each launch on CUDA waits for its kernel.
        threads: Threads inside one operator.
        optimization: onnxruntime's graph optimization level.
        warmup: Steps of each run that are not counted.
        steps: Steps that are counted.
        seed: Seed of weights and batches.
        purpose: What the graphs are for; stored under the key ``lowering``.
        checked_steps: Steps of each verification.
        graphs: Folder below ``graphs/`` for the graph files, so that those of other configurations stay.
        inputs: Files of input values, one a batch; none for those of the workload's data source.
        dimensions: Sizes of the open dimensions of a graph file, by name.
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
    inputs: tuple[str, ...] = ()
    dimensions: tuple[tuple[str, int], ...] = ()

    @property
    def session(self) -> SessionSettings:
        """The settings of the sessions that run the graphs."""
        return SessionSettings(self.ep, self.threads, self.optimization, tf32=self.tf32, serialize=self.serialize)

    def json(self) -> dict[str, Any]:
        """The options as they are stored."""
        fields = asdict(self)
        fields["lowering"] = fields.pop("purpose")
        return {name: value for name, value in fields.items() if value or name not in ("inputs", "dimensions")}

    def with_session(self, settings: SessionSettings) -> Options:
        """These options with other session settings."""
        return replace(
            self,
            ep=settings.ep,
            threads=settings.threads,
            optimization=settings.optimization,
            tf32=settings.tf32,
            serialize=settings.serialize,
        )


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


class Role(StrEnum):
    """What a job is for."""

    GRAPH = "graph"
    """Make a cell's graph, verify it, model its cost."""
    COMPARISON = "comparison"
    """Compare the graphs that several frameworks made of one workload and mode."""
    MAIN = "main"
    """Run a cell on the study's first provider with the most threads: figures and verdicts are about these runs."""
    FEWER_THREADS = "fewer threads"
    """Run a cell on the CPU with fewer threads."""
    OTHER_PROVIDER = "other provider"
    """Run a cell on a further provider."""
    SWEEP = "sweep"
    """Run a cell with one combination of a sweep's settings."""
    TRAINED = "trained"
    """Run a cell as the main run does, with the values of a training run in place of the starting ones."""
    NATIVE = "native"
    """Run a cell's step in the framework itself."""
    COMPILED = "compiled"
    """Run a cell's step as the framework's own compiler makes it."""
    MACHINE = "machine"
    """Measure the machine with the options' provider and threads, whatever the cell."""


@dataclass(frozen=True)
class Job:
    """A cell with what is to be done for it and how; jobs are sent to other processes.

    Attributes:
        cell: The cell; for a comparison of frameworks, the first one's.
        options: How it is made and run.
        folder: The study's or sweep's folder.
        role: What the job is for.
        others: For a comparison of frameworks, the cells that the first is compared with.
        output: Folder for files that a stage writes besides the result it returns.
        source: The graph file that is run, where no workload's graph is exported; its cell is named after it.
        batch: The batch size of such a file, where one was given.
        own: The model of the user's own whose graph it is, where it is no workload's of a definition.
        round: Which of several measurements of a run it is, from 1; 0 for the only one and for what is made of several.
        rounds: Folders of the rounds that a run is pooled from, in their order.
        values: Checkpoint that the graph's variables take their values from; None for their starting values.
    """

    cell: Cell
    options: Options
    folder: Path
    role: Role = Role.MAIN
    others: tuple[Cell, ...] = ()
    output: Path = field(default_factory=Path)
    source: Path | None = None
    batch: int | None = None
    own: OwnModel | None = None
    round: int = 0
    rounds: tuple[Path, ...] = ()
    values: Path | None = None

    @property
    def name(self) -> str:
        """The job in words, as events and failures name it: its cell and what differs from other jobs for it."""
        o = self.options
        if self.role is Role.MACHINE:
            return f"{o.ep}, {o.threads} threads"
        if self.role is Role.COMPARISON:
            compared = ", ".join(cell.framework for cell in (self.cell, *self.others))
            return f"{self.cell.workload} {self.cell.mode} ({compared})"
        difference = {
            Role.FEWER_THREADS: f"threads={o.threads}",
            Role.OTHER_PROVIDER: f"on {o.ep}",
            Role.SWEEP: f"on {o.ep}, threads {o.threads}, optimization {o.optimization}",
            Role.TRAINED: "with trained values",
            Role.NATIVE: "in the framework",
            Role.COMPILED: "compiled",
        }.get(self.role, "")
        changed = (f"{name}={value}" for name, value in (*o.changes, *o.dimensions))
        which = [f"round {self.round}"] if self.round else []
        return " ".join(part for part in [str(self.cell), *changed, difference, *which] if part)

    @property
    def slug(self) -> str:
        """Name of the folder that stores the job's results."""
        if self.role is Role.MACHINE:
            return "machine"
        return f"{self.cell.workload}-{self.cell.mode}" if self.role is Role.COMPARISON else self.cell.slug

    @property
    def workload(self) -> Workload:
        """The workload at the options' preset, with their changes; that of a model of the user's own is read off it."""
        if self.own is not None:
            return self.own.workload()
        return definition(self.cell.workload).configure(self.options.preset, dict(self.options.changes))

    def graph(self, cell: Cell | None = None) -> Path:
        """The graph file of a cell (of this job's own by default)."""
        if self.source is not None:
            return self.source
        return self._graph("graphs", cell or self.cell)

    def draws_noise(self, cell: Cell | None = None) -> bool:
        """Whether the step of a cell (of this job's own by default) draws random tensors itself.

        Of a model of the user's own the graph that was exported tells it, without building the model again.
        """
        if self.own is not None:
            nodes = load_structure(self.graph(cell)).model.graph.node
            return any(node.op_type in RANDOM for node in nodes)
        return bool(self.workload.noise.get((cell or self.cell).mode))

    def checked_graph(self, cell: Cell | None = None) -> Path:
        """The graph of a cell that takes the random tensors of its step as inputs.

        Where the step draws none, this is the graph that is run.
        """
        c = cell or self.cell
        return self._graph("checked", c) if self.draws_noise(c) else self.graph(c)

    def _graph(self, under: str, cell: Cell) -> Path:
        return graph_path(self.folder / under / self.options.graphs, cell.workload, cell.framework, cell.mode)


@dataclass(frozen=True)
class Event:
    """Something that happened to a job of a stage.

    Attributes:
        kind: ``started``, ``done`` (now), ``reused`` (a stored result was taken) or ``failed``.
        stage: The stage's name.
        what: The job's name.
        number: How many jobs of the stage are finished.
        total: How many jobs the stage has.
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
"""Called with each event, in the process that runs the engine."""


def own_cells(models: Sequence[OwnModel], modes: Sequence[str] | None) -> tuple[tuple[Cell, OwnModel], ...]:
    """The cells of models of the user's own, each with its model; None stands for all modes."""
    return tuple(
        (Cell(own.name, own.framework, mode), own)
        for own in models
        for mode in own.modes
        if modes is None or mode in modes
    )


def _select(kind: str, requested: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The requested names in the order of the known ones; all of them for None."""
    for name in requested or ():
        if name not in known:
            raise UnknownNameError(kind, name, known)
    return tuple(name for name in known if requested is None or name in requested)


def cells(
    preset: str,
    workloads: Sequence[str] | None = None,
    from_frameworks: Sequence[str] | None = None,
    modes: Sequence[str] | None = None,
) -> tuple[Cell, ...]:
    """Every combination of the given workloads, modes and frameworks; None stands for all of them.

    Of workloads and frameworks it stands for the usual ones. A workload has no cells of a mode that it lacks, nor, if
    others have one, of a further framework that has no model of it. Frameworks are those of the workloads: where there
    are none of these, they need not be known.

    Raises:
        UnknownNameError: No such workload, framework, mode or preset.
    """
    chosen_workloads = _select("workload", names(USUAL_SUITE) if workloads is None else workloads, names())
    chosen_modes = [mode for mode in MODES if mode in _select("mode", modes, MODES)]
    if not chosen_workloads:
        return ()
    chosen_frameworks = _select("framework", from_frameworks, frameworks() if from_frameworks else usual_frameworks())
    has = {name: definition(name).configure(preset).modes for name in chosen_workloads}
    every = product(chosen_workloads, chosen_modes, chosen_frameworks)
    lacks = _without_model(chosen_workloads, chosen_frameworks)
    return tuple(Cell(w, f, m) for w, m, f in every if m in has[w] and (w, f) not in lacks)


def _without_model(workloads: Sequence[str], chosen: Sequence[str]) -> set[tuple[str, str]]:
    """Workloads with the further frameworks, beside others, that have no model of them."""
    further = [f for f in chosen if f in FURTHER_FRAMEWORKS and len(chosen) > 1]
    return {(w, f) for f in further for w in set(workloads) - set(find_exporter(f).workloads())}
