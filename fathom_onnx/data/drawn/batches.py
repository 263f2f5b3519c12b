"""Endless batches drawn for a graph, and what is said of each input."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fathom_onnx.data.contract import generator
from fathom_onnx.data.given.declared import DeclaredInput, declared_inputs
from fathom_onnx.errors import DataError
from fathom_onnx.graph.model import Graph

from .choose import Drawing, choose
from .flow import Flow
from .follow import follow

__all__ = ["DrawnInputs", "drawn_inputs"]

SEQUENCE = 2
"""Tensors of a sequence."""


@dataclass(frozen=True)
class DrawnInputs:
    """How the inputs of a graph are drawn.

    Attributes:
        drawings: Each input with how it is drawn.
    """

    drawings: tuple[tuple[DeclaredInput, Drawing], ...]

    def said(self) -> dict[str, str]:
        """Input name to how it is drawn, in words."""
        return {declared.name: _said(declared, drawing) for declared, drawing in self.drawings}

    def batches(self, seed: int) -> Iterator[dict[str, Any]]:
        """Endless batches; each input has its own random numbers."""
        streams = {declared.name: generator(seed, f"synthetic:{declared.name}") for declared, _ in self.drawings}
        while True:
            yield {d.name: _values(d, drawing, streams[d.name]) for d, drawing in self.drawings}


def drawn_inputs(graph: Graph, only: Collection[str] | None = None) -> DrawnInputs:
    """How the inputs of a graph are drawn, by how the graph uses them.

    Args:
        graph: A graph without open dimensions.
        only: Names of the inputs that are wanted; all of them by default.

    Raises:
        DataError: An input is of a type of which nothing can be drawn, or of unknown shape.
    """
    wanted = [declared for declared in declared_inputs(graph) if only is None or declared.name in only]
    for declared in wanted:
        if not declared.dtype:
            raise DataError(
                f"no values can be drawn for input '{declared.name}', which is no tensor of a type that NumPy has",
                "give a graph without it",
            )
        if not declared.sequence and declared.sizes is None:
            raise DataError(
                f"input '{declared.name}' of graph '{graph.name}' has no static shape",
                "give one with --dim or --inputs",
            )
    flow = Flow(graph) if wanted else None
    return DrawnInputs(tuple((d, choose(d, follow(flow, d.name))) for d in wanted if flow is not None))


def _said(declared: DeclaredInput, drawing: Drawing) -> str:
    text = f"drawn {drawing.said}"
    if declared.sequence:
        text = f"{SEQUENCE} tensors {text}"
    return f"{text}; optional, and here it is given" if declared.optional else text


def _values(declared: DeclaredInput, drawing: Drawing, rng: np.random.Generator) -> Any:
    shape = tuple(1 if size is None else size for size in declared.shape or ())
    tensors = [_cast(drawing.sample(shape, rng), declared.dtype) for _ in range(SEQUENCE if declared.sequence else 1)]
    return tensors if declared.sequence else tensors[0]


def _cast(values: Any, dtype: str) -> Any:
    return np.asarray(values, order="C").astype(dtype)
