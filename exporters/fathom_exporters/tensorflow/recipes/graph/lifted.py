"""A step as a pure graph, and what could not be made so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import tensorflow as tf

__all__ = ["Held", "Lifted", "Refused", "shared_sums"]


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


def shared_sums(lifted: Lifted, gradients: Mapping[str, str], ends: Iterable[str]) -> dict[str, str]:
    """Gradients that the step uses as they are given.

    A gradient may come as rows, of which the tensor in ``gradients`` is the sum: an operation of its own, beside one
    of the optimizer's that adds up the same rows, or beside none, where the rows alone are used.

    Args:
        lifted: The step.
        gradients: Parameter to tensor.
        ends: Tensors of the step's new values.

    Returns:
        Parameter to the tensor that is used; without those that are not.
    """
    nodes = {node.name: node for node in lifted.graph_def.node}
    needed: set[str] = set()
    stack = [_operation(end) for end in ends]
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack += [_operation(i) for i in nodes[name].input]
    sums = {tuple(nodes[name].input[:2]): name for name in needed if nodes[name].op == _SUM}
    found = {}
    for parameter, tensor in gradients.items():
        node = nodes[_operation(tensor)]
        while node.op == "Identity":
            node = nodes[_operation(node.input[0])]
        if node.op != _SUM or node.name in needed:
            found[parameter] = tensor
        elif tuple(node.input[:2]) in sums:
            found[parameter] = f"{sums[tuple(node.input[:2])]}:0"
    return found


_SUM = "UnsortedSegmentSum"


def _operation(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
