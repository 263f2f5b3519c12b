"""The values of a graph's parameters and state, from its metadata and a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fathom_onnx.graph import Graph
from fathom_onnx.workloads.contract import Array, Initialiser, Variable, initial_values

__all__ = ["variable_values"]

_DEVIATION = 0.02
"""Standard deviation of matrices that stand in for stored ones: sums of many products stay small."""


def variable_values(graph: Graph, seed: int) -> dict[str, Array]:
    """Starting values of a graph's parameters, running statistics and optimizer state; none for a third-party graph.

    They depend on seed and name only, so that the same workload from two frameworks starts from the same values. Stored
    values are what they are, whatever the seed. A recipe's graph may have none, if its model was built without
    allocating any; what would be stored is then drawn, and only times mean something.

    Raises:
        GraphError: Stored values are missing.
    """
    if graph.metadata is None:
        return {}
    stored = graph.stored_values
    variables = graph.metadata.variables
    none_stored = not any(v.name in stored for v in variables)
    return initial_values((_stand_in(v) if none_stored else v for v in variables), seed, stored)


def _stand_in(variable: Variable) -> Variable:
    """The variable itself or, where its values should be stored, one with a formula in their place."""
    if variable.initialiser.kind != "stored":
        return variable
    if np.dtype(variable.dtype).kind != "f":
        formula = Initialiser.constant(0.0)  # an index that every table has
    elif len(variable.shape) > 1:
        formula = Initialiser("normal", _DEVIATION)
    else:  # scales and variances are vectors, which a model may divide by
        formula = Initialiser.constant(1.0)
    return replace(variable, initialiser=formula)
