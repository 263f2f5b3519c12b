"""The Python interface: one interface for every workload.

import fathom_onnx

residual = fathom_onnx.workload("residual", preset="small")
graph = residual.export(mode="training")
run = fathom_onnx.profile(graph, steps=5)
print(run.by_layer())
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.runtime.settings import Optimization, SessionSettings
from fathom_onnx.runtime.training import train as train_graph
from fathom_onnx.workloads.contract import Mode, NoiseSource, Workload

from .data import batches_for_graph
from .errors import UnknownNameError
from .exporting import DEFAULT_FRAMEWORK, PURPOSES, ExportRequest, Purpose, export_file, find_exporter
from .graph import Graph, from_model, load
from .verification import Check
from .verification import verify as verify_workload
from .workloads import workload as make_workload

__all__ = ["RunnableWorkload", "export", "train", "verify", "workload"]


class RunnableWorkload(Workload):
    """A workload with its operations as methods: export, verify."""

    def export(
        self,
        framework: str = DEFAULT_FRAMEWORK,
        mode: Mode = "inference",
        path: str | Path | None = None,
        noise: NoiseSource = "graph",
        purpose: Purpose = "simulators",
    ) -> Graph:
        """The workload's graph; see :func:`export`."""
        return export(self, framework, mode, path, noise, purpose)

    def verify(self, framework: str = DEFAULT_FRAMEWORK, mode: Mode = "training", steps: int = 5) -> Check:
        """The graph against its framework; see :func:`verify`."""
        return verify(self, framework, mode, steps)


def workload(name: str, preset: str = "paper", **changes: Any) -> RunnableWorkload:
    """A workload at a preset, with some configuration fields changed.

    Args:
        name: For example ``"residual"``.
        preset: ``paper``, ``small`` or ``tiny``.
        changes: Configuration fields, for example ``batch=8``.

    Raises:
        UnknownNameError: No such workload, preset or field.
        UsageError: A value that cannot work.
    """
    plain = make_workload(name, preset, changes)
    return RunnableWorkload(**{field.name: getattr(plain, field.name) for field in fields(plain)})


def export(
    workload: Workload,
    framework: str = DEFAULT_FRAMEWORK,
    mode: Mode = "inference",
    path: str | Path | None = None,
    noise: NoiseSource = "graph",
    purpose: Purpose = "simulators",
) -> Graph:
    """Export a workload's graph.

    Args:
        workload: From :func:`workload`.
        framework: ``torch`` or ``tensorflow``.
        mode: ``inference`` or ``training``.
        path: File to write; the graph stays in memory only where it is None.
        noise: ``graph`` to draw random tensors in the graph, ``input`` to take them as inputs.
        purpose: ``simulators`` for the ops that most of them read, ``onnxruntime`` for what it runs fastest on a CPU,
            ``cuda`` for its CUDA provider.

    Raises:
        UnknownNameError: No such framework or purpose.
        ExportError: The model cannot be turned into a standard graph.
        MissingDependencyError: The framework is not installed.
        OutputError: The file cannot be written.
    """
    if purpose not in PURPOSES:
        raise UnknownNameError("purpose", purpose, PURPOSES)
    request = ExportRequest(workload, mode, noise, purpose)
    if path is not None:
        return load(export_file(framework, request, Path(path)).path)
    return from_model(find_exporter(framework).export(request), workload.name)


def verify(
    workload: Workload, framework: str = DEFAULT_FRAMEWORK, mode: Mode = "training", steps: int = 5, seed: int = 0
) -> Check:
    """Judge a workload's graph against its framework in float64; ``.passed`` says whether it is right."""
    return verify_workload(workload, framework, mode, steps=steps, seed=seed)


def train(
    graph: Graph,
    steps: int,
    *,
    ep: str = "cpu",
    threads: int | None = None,
    optimization: Optimization = "all",
    seed: int = 0,
) -> list[float]:
    """Train a training graph on its workload's data; the loss of every step.

    Raises:
        GraphError: It is not a training graph.
        RunError: onnxruntime fails, or the loss is not finite.
    """
    settings = SessionSettings(ep, threads or cpu_cores(), optimization)
    return train_graph(graph, batches_for_graph(graph, seed), steps, settings, seed)
