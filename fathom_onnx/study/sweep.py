"""A sweep: every combination of workloads, frameworks, modes, providers, threads, batch sizes, optimization levels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from fathom_onnx.data import read_input_files
from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import Purpose
from fathom_onnx.graph.files import ensure_folder
from fathom_onnx.processes import refuse_during_import
from fathom_onnx.recipes import PRESET
from fathom_onnx.recipes.target import is_target
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.runtime.settings import Optimization, SessionSettings
from fathom_onnx.study.cells.graph_files import graph_files
from fathom_onnx.study.cells.own_models import own_models
from fathom_onnx.study.cells.plan import Job, OnEvent, Options, Role, cells, own_cells
from fathom_onnx.study.engine.engine import Engine
from fathom_onnx.study.engine.lock import machine_lock
from fathom_onnx.study.engine.pipeline import carry_out
from fathom_onnx.study.engine.providers import refuse_unused_settings
from fathom_onnx.study.engine.stages import STAGES, Stages
from fathom_onnx.study.engine.store import key
from fathom_onnx.study.engine.workers import ProcessWorkers, Workers
from fathom_onnx.workloads import names

from .sweep_result import SweepResult, write_tables

__all__ = ["Axes", "run_sweep", "sweep_plan"]


@dataclass(frozen=True)
class Axes:
    """The axes of a sweep; every combination of their values is run.

    Attributes:
        workloads: Names, or None for all; none of them where there are graph files. Targets (``FILE.py:build``) stand
            for models of one's own.
        frameworks: Names, or None for the usual ones, PyTorch and TensorFlow.
        modes: ``inference``, ``training``, or None for both.
        providers: Execution providers.
        tf32: Whether CUDA may multiply in TensorFloat-32.
        serialize: Whether each launch on CUDA waits for its kernel.
        threads: Threads inside one operator; none for all the cores this process may use.
        batches: Batch sizes; none for each preset's own.
        optimizations: onnxruntime's graph optimization levels.
        preset: Preset of every workload.
        changes: Fields of the configuration to change in every cell, as text or as values; of a target, arguments of
            its function.
        inputs: ``.npz`` files with batches of input values, which every cell is fed with.
        graphs: Graph files, which are run beside the workloads' graphs, on the same providers, threads and levels.
        dimensions: Sizes of open dimensions of these, by name.
    """

    workloads: Sequence[str] | None = None
    frameworks: Sequence[str] | None = None
    modes: Sequence[str] | None = None
    providers: Sequence[str] = ("cpu",)
    tf32: bool = False
    serialize: bool = False
    threads: Sequence[int] = ()
    batches: Sequence[int] = ()
    optimizations: Sequence[Optimization] = ("all",)
    preset: str = "small"
    changes: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Path] = ()
    graphs: Sequence[Path] = ()
    dimensions: Mapping[str, Sequence[int]] = field(default_factory=dict)


def _changes(axes: Axes, batch: int | None) -> tuple[tuple[str, Any], ...]:
    fields = {**axes.changes, **({} if batch is None else {"batch": batch})}
    # jobs are keys of dictionaries, so that their options must be hashable
    frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return tuple(sorted(frozen.items()))


def _graphs(preset: str, purpose: Purpose, changes: tuple[tuple[str, Any], ...]) -> str:
    """A folder name for the graphs of a configuration and purpose, unique for each."""
    named_purpose = [] if purpose == "onnxruntime" else [purpose]
    words = "-".join([*named_purpose, *(f"{name}{value}" for name, value in changes)])
    if re.fullmatch(r"[\w.-]{0,40}", words) is None:
        words = key({"lowering": purpose, **dict(changes)})
    return f"{preset}-{words}" if words else preset


def sweep_plan(
    folder: Path,
    axes: Axes,
    *,
    warmup: int = 3,
    steps: int = 10,
    seed: int = 0,
    purpose: Purpose = "onnxruntime",
) -> tuple[Job, ...]:
    """The jobs of a sweep, those of graph files last; the runs of one graph follow each other.

    Raises:
        UnknownNameError: No such workload, framework, mode, preset, field, provider or optimization level.
        UsageError: A value that cannot work, or nothing to sweep.
        DataError: A file of input values cannot be read.
        GraphError: A graph file cannot be read, or leaves a dimension without a size.
    """
    if steps < 1 or warmup < 0:
        raise UsageError(f"cannot run {steps} steps after {warmup}", "give 1 or more steps and 0 or more warm-up")
    if "batch" in axes.changes and axes.batches:
        raise UsageError("the batch size is given twice", "give it with --batch or with --set")
    refuse_unused_settings(axes.providers, axes.tf32, axes.serialize)
    read_input_files(axes.inputs)  # files that cannot be read are refused before any work is done
    if axes.dimensions and not axes.graphs:
        raise UsageError("sizes of dimensions are for graph files, and there is none", "name one, or leave out --dim")
    workloads = () if axes.workloads is None and axes.graphs else axes.workloads
    targets = [name for name in workloads or () if is_target(name)]
    usual = None if workloads is None else [name for name in workloads if not is_target(name)]
    chosen = cells(axes.preset, usual, axes.frameworks, axes.modes)
    if targets and axes.batches:
        raise UsageError(
            f"a batch size is not for '{targets[0]}'", "change an argument of its function, one sweep a size"
        )
    own = own_models(targets, axes.changes, None, names())
    sessions = [
        SessionSettings(
            ep, threads, optimization, tf32=axes.tf32 and ep == "cuda", serialize=axes.serialize and ep == "cuda"
        )
        for ep, threads, optimization in product(
            dict.fromkeys(axes.providers),
            dict.fromkeys(axes.threads or (cpu_cores(),)),
            dict.fromkeys(axes.optimizations),
        )
    ]
    inputs = tuple(str(path.absolute()) for path in axes.inputs)
    plan = []

    def made(preset: str, changes: tuple[tuple[str, Any], ...]) -> Options:
        graphs = _graphs(preset, purpose, changes)
        return Options(
            preset=preset,
            changes=changes,
            warmup=warmup,
            steps=steps,
            seed=seed,
            purpose=purpose,
            graphs=graphs,
            inputs=inputs,
        )

    for cell, batch in product(chosen, dict.fromkeys(axes.batches or (None,))):
        common = made(axes.preset, _changes(axes, batch))
        plan += [Job(cell, common.with_session(session), folder, Role.SWEEP) for session in sessions]
        plan[-1].workload  # noqa: B018  # a configuration that cannot be made is refused before any work is done
    for cell, model in own_cells(own, axes.modes):
        common = made(PRESET, _changes(axes, None))
        plan += [Job(cell, common.with_session(session), folder, Role.SWEEP, own=model) for session in sessions]
    files = graph_files(axes.graphs, axes.dimensions, axes.batches, all_sizes=not axes.inputs)
    for graph in files:
        for sizes in graph.sizes:
            common = Options(warmup=warmup, steps=steps, seed=seed, inputs=inputs, dimensions=sizes.dimensions)
            plan += [
                Job(graph.cell, common.with_session(session), folder, Role.SWEEP, source=graph.path, batch=sizes.batch)
                for session in sessions
            ]
    if axes.batches and not chosen and not own and all(job.batch is None for job in plan):
        raise UsageError("no graph has an open batch dimension", "leave out --batch, or give sizes with --dim")
    if not plan:
        raise UsageError("there is nothing to sweep", "name at least one workload, framework and mode")
    return tuple(plan)


def run_sweep(
    folder: str | Path,
    axes: Axes,
    *,
    warmup: int = 3,
    steps: int = 10,
    seed: int = 0,
    purpose: Purpose = "onnxruntime",
    retry: bool = False,
    wait: bool = True,
    on_event: OnEvent | None = None,
    on_wait: Callable[[str], None] | None = None,
    stages: Stages = STAGES,
    workers: Callable[[Path], AbstractContextManager[Workers]] = ProcessWorkers,
) -> SweepResult:
    """Make and run every cell of a sweep that is not done yet, and write the tables.

    A cell is stored under a hash of its graph, the options, the versions and the machine: an interrupted sweep resumes
    where it stopped, and a repeated one takes the stored results. A cell that fails is recorded with its error and does
    not stop the others. Each run is measured in a process of its own, one at a time on a machine.

    Args:
        folder: The sweep's folder: ``graphs/``, ``runs/``, ``cells/`` (stored results), ``logs/``, ``cells.csv``,
            ``shares.csv``, ``sweep.json`` and, where pyarrow is installed, ``cells.parquet``.
        axes: The values to combine.
        warmup: Steps of each run that are not counted.
        steps: Steps that are counted.
        seed: Seed of weights and batches.
        purpose: What the graphs are for.
        retry: Whether cells that failed before with the same inputs are tried again.
        wait: Whether to wait for another measurement on this machine, or to raise an error.
        on_event: Called with each event.
        on_wait: Called, with one line of text, when another measurement must end first.
        stages: What is done for a cell; verification and structure are left out.
        workers: Makes the workers that do it, from the folder for logs.

    Raises:
        UnknownNameError: No such name.
        UsageError: A value that cannot work, nothing to sweep, or a script that calls this without the guard
            ``if __name__ == "__main__":``, which the processes that work for a sweep import.
        RunError: Another measurement is under way, and ``wait`` is false.
        OutputError: The folder cannot be written to.
    """
    refuse_during_import("run_sweep")
    sweep_folder = Path(folder).absolute()
    plan = sweep_plan(sweep_folder, axes, warmup=warmup, steps=steps, seed=seed, purpose=purpose)
    ensure_folder(sweep_folder)
    with machine_lock(sweep_folder, wait, on_wait), workers(sweep_folder / "logs") as crew:
        engine = Engine(sweep_folder, crew, on_event or (lambda event: None), retry)
        done = carry_out(engine, plan, replace(stages, verify=None, compare=None, structure=None))
    result = SweepResult(sweep_folder, done.runs, tuple(engine.failures), engine.reused, engine.worked)
    write_tables(result)
    return result
