"""A step of a graph read in float64 once, for everything that is asked about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from fathom_onnx.workloads.contract import Array

from .double import DoubleGraph

__all__ = ["Reading", "read"]


@dataclass(frozen=True)
class Reading:
    """A step of a graph in float64.

    Attributes:
        model: The model, its weights within it.
        graph: It as a function in float64; parts of it can be read again with other values.
        values: Every input by name.
        exact: The tensors that were read, by name.
    """

    model: onnx.ModelProto
    graph: DoubleGraph
    values: Mapping[str, Array]
    exact: Mapping[str, Array]


def read(
    model: onnx.ModelProto, values: Mapping[str, Array], tensors: Iterable[str], graph: DoubleGraph | None = None
) -> Reading:
    """Read tensors of a model.

    Args:
        model: The model, its weights within it.
        values: Every input by name.
        tensors: Names of the tensors.
        graph: The model as a function in float64 that has them; made where none is given.

    Raises:
        RunError: The model cannot be evaluated in float64, or has no such tensor.
    """
    wanted = list(dict.fromkeys(tensors))
    whole = DoubleGraph(model, wanted) if graph is None else graph
    return Reading(model, whole, values, whole.part(wanted).run(values))
