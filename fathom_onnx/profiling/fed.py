"""A graph with all that its run is fed: starting values, batches, the model that a session is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fathom_onnx.data import Feeds, run_batches
from fathom_onnx.errors import UsageError
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.prepare import Prepared, prepare
from fathom_onnx.runtime.value_files import ValueFile
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.workloads.contract import Array

__all__ = ["FedGraph"]


@dataclass(frozen=True)
class FedGraph:
    """A graph and what it is fed, which is the same in every process and made when it is asked for.

    Attributes:
        graph: The graph.
        seed: Seed of the starting values and of the data.
        count: Number of steps that batches are made for; there may be fewer, taken in turn.
        feeds: Batches that are given; see :func:`fathom_onnx.profiling.profile`.
        values: File that the variables take their values from where it has them.
        keep_dynamic: Whether dimensions that the file leaves open stay open.
    """

    graph: Graph
    seed: int
    count: int
    feeds: Feeds | None = None
    values: Path | None = None
    keep_dynamic: bool = False

    @property
    def batches(self) -> list[Mapping[str, Any]]:
        """The batches."""
        return self._batches[0]

    @property
    def data(self) -> dict[str, Any]:
        """What the manifest says of them."""
        return self._batches[1]

    @cached_property
    def _batches(self) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:
        return run_batches(self.graph, self.feeds, self.seed, self.count)

    @cached_property
    def prepared(self) -> Prepared:
        """The graph with its values, as a session takes it."""
        return prepare(self.graph, self._start(), self.seed, keep_dynamic=self.keep_dynamic)

    def _start(self) -> dict[str, Array]:
        """Starting values of the variables, from a file where one is given."""
        start = variable_values(self.graph, self.seed)
        if self.values is None:
            return start
        held = self.graph.metadata
        if held is None or not held.variables:
            raise UsageError(f"graph '{self.graph.name}' has no variables to give values to", "leave out --values")
        file = ValueFile(self.values, [v for v in held.variables if v.name in held.parameters])
        return {**start, **{v.name: file.read(v) for v in held.variables if v.name in file.names}}
