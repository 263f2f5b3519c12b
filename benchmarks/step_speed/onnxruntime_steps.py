"""A step of a graph of ours in onnxruntime, from the graph's file."""

from __future__ import annotations

import itertools
from pathlib import Path

from fathom_onnx.data import batches_for_graph
from fathom_onnx.graph import load
from fathom_onnx.profiling import profile
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import open_stepper
from fathom_onnx.runtime.weights import variable_values

from .contestants import Case

__all__ = ["OnnxruntimeStep", "optimizer_share"]

_BATCHES = 2


class OnnxruntimeStep:
    """A step of the graph in a file."""

    def __init__(self, case: Case, path: Path) -> None:
        graph = load(path)
        self._batches = itertools.cycle(itertools.islice(batches_for_graph(graph, 0), _BATCHES))
        self._stepper = open_stepper(prepare(graph, variable_values(graph, 0)), SessionSettings("cpu", case.threads))

    def run(self) -> float:
        """Seconds of one step."""
        return self._stepper.step(next(self._batches))

    def optimizer_s(self) -> list[float]:
        """None: :func:`optimizer_share` needs a session with the profiler on."""
        return []


def optimizer_share(path: Path, threads: int, steps: int) -> float:
    """The optimizer's part of the node time of a graph's step, treatment of gradients included."""
    phases = profile(load(path), threads=threads, warmup=1, steps=steps).by_phase()
    shares = dict(zip(phases["name"], phases["share"], strict=True))
    return float(shares.get("optimizer", 0.0))
