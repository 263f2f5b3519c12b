"""A step as a pure graph, and what could not be made so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

__all__ = ["Held", "Lifted", "Refused"]


@dataclass(frozen=True)
class Held:
    """A variable of a lifted step: its placeholder, and the tensor that it holds at the end."""

    variable: tf.Variable
    first: str
    last: str

    @property
    def changed(self) -> bool:
        """Whether the step assigned to it."""
        return self.first != self.last


@dataclass(frozen=True)
class Refused:
    """An operation that cannot be lifted.

    Attributes:
        name: The operation's name.
        type: Its type.
        lacks: Why not.
        rewrite: What to write instead.
    """

    name: str
    type: str
    lacks: str
    rewrite: str


@dataclass(frozen=True)
class Lifted:
    """A step as a pure graph.

    Attributes:
        graph_def: The graph.
        inputs: Placeholders of the step's arguments, in order.
        outputs: Tensors that it returns, in order.
        held: The variables that it touches.
        refused: What could not be lifted; its outputs are placeholders, so that the rest can be looked at.
        shapes: Shapes of random tensors by operation.
    """

    graph_def: tf.compat.v1.GraphDef
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    held: tuple[Held, ...]
    refused: tuple[Refused, ...]
    shapes: Mapping[str, tuple[int, ...]]
