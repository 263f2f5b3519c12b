"""The values of a graph's parameters and state, from its metadata and a seed."""

from __future__ import annotations

from fathom_onnx.graph import Graph
from fathom_onnx.workloads.contract import Array

__all__ = ["variable_values"]


def variable_values(graph: Graph, seed: int) -> dict[str, Array]:
    """Starting values of a graph's parameters, running statistics and optimizer state; none for a third-party graph.

    They depend on seed and name only, so that the same workload from two frameworks starts from the same values. Stored
    values are what they are, whatever the seed.

    Raises:
        GraphError: Stored values are missing.
    """
    if graph.metadata is None:
        return {}
    stored = graph.stored_values
    return {v.name: stored[v.name] if v.name in stored else v.initial_value(seed) for v in graph.metadata.variables}
