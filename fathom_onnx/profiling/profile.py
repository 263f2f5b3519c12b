"""Profile a graph: run it, find out what each executed node stands for, and keep it all in a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.data import Feeds
from fathom_onnx.errors import UsageError
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.runtime.optimized import STRUCTURE, write_structure
from fathom_onnx.runtime.profiler import Progress
from fathom_onnx.runtime.settings import Optimization, SessionSettings

from .fed import FedGraph
from .output import run_output
from .rounds import explain, measure

__all__ = ["profile", "profile_graph"]


def profile(
    graph: Graph,
    *,
    ep: str = "cpu",
    threads: int | None = None,
    warmup: int = 3,
    steps: int = 10,
    optimization: Optimization = "all",
    seed: int = 0,
    feeds: Feeds | None = None,
    allow_fallback: bool = False,
    tf32: bool = False,
    serialize: bool = False,
    custom_ops: Sequence[Path] = (),
    keep_dynamic: bool = False,
    folder: Path | None = None,
    progress: Progress | None = None,
    values: Path | None = None,
) -> Run:
    """Profile a graph and attribute every microsecond of its node time.

    Args:
        graph: One of our graphs, or any other.
        ep: Execution provider, ``cpu`` or ``cuda``.
        threads: Threads inside an operator; all the cores this process may use when not given.
        warmup: Steps to run and not to count.
        steps: Steps to run after these, with the profiler and without; steps that are still warm-up are dropped.
        optimization: onnxruntime's graph optimization level.
        seed: Seed of the starting values and of the data.
        feeds: A batch, or several to take in turn; inputs that they leave out are drawn. From the graph's data source
            when not given. Of files: :func:`fathom_onnx.data.read_inputs`.
        allow_fallback: Whether nodes may run on the CPU when another provider was asked for; without it only the
            arithmetic of shapes may.
        tf32: Whether CUDA may multiply in TensorFloat-32.
        serialize: Whether each launch waits for its kernel: host times, for where a device cannot be recorded.
        custom_ops: Libraries of operators of someone's own.
        keep_dynamic: Whether dimensions that the file leaves open stay open, though they were given a size to feed.
            With fixed sizes onnxruntime may fold and fuse more; the manifest says what.
        folder: Run folder to write: tables, manifest, the raw trace compressed, a timeline. It appears whole or not at
            all, and replaces an older run folder.
        progress: Called with what is being done, how much of it is done, and how much there is.
        values: File that the variables take their values from where it has them: a checkpoint of a training run.

    Raises:
        UsageError: A setting that cannot work.
        GraphError: The graph cannot be run as it is.
        DataError: The graph cannot be fed.
        MissingDependencyError: onnxruntime, the provider or what records its device is absent.
        RunError: onnxruntime fails, or the trace cannot be trusted.
        OutputError: The run folder cannot be written.
    """
    settings = SessionSettings(
        ep,
        cpu_cores() if threads is None else threads,
        optimization,
        allow_fallback,
        tf32,
        serialize,
        tuple(custom_ops),
    )
    return profile_graph(
        graph,
        settings,
        warmup=warmup,
        steps=steps,
        seed=seed,
        feeds=feeds,
        keep_dynamic=keep_dynamic,
        folder=folder,
        progress=progress,
        values=values,
    )


def profile_graph(
    graph: Graph,
    settings: SessionSettings,
    *,
    warmup: int = 3,
    steps: int = 10,
    seed: int = 0,
    feeds: Feeds | None = None,
    keep_dynamic: bool = False,
    folder: Path | None = None,
    progress: Progress | None = None,
    values: Path | None = None,
) -> Run:
    """Profile a graph under the settings of a session; for arguments and errors see :func:`profile`."""
    if steps < 1 or warmup < 0:
        raise UsageError(f"cannot profile {steps} steps after {warmup}", "give 1 or more steps and 0 or more warm-up")
    fed = FedGraph(graph, seed, warmup + steps, feeds, values, keep_dynamic)
    with run_output(folder) as place:
        measured = measure(fed, settings, place, warmup=warmup, steps=steps, progress=progress)
        found = explain(fed, settings, [measured])
        model = place / "model"
        if folder is not None:
            found.save(place)
            write_structure(measured[0].optimized, model, place / STRUCTURE)
        shutil.rmtree(model)
    return found.run
