"""Labels of original nodes: name, phase, layer, op and op class.

In our graphs the label is in each node's name (its address). Any other graph gets one phase, layers from the scopes in
its node names or metadata, and ops from the table of ONNX op types.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fathom_onnx.vocabulary import PHASES

from .address import Address
from .bodies import NumberedNode
from .op_types import canonical_op, class_of_op
from .scopes import layers_of

__all__ = ["Label", "label_nodes"]


@dataclass(frozen=True)
class Label:
    """The name of an original node, unique in its graph, and what it belongs to."""

    name: str
    phase: str
    layer: str
    op: str
    op_class: str


def label_nodes(nodes: Sequence[NumberedNode]) -> tuple[Label, ...]:
    """A label for each node.

    A node without a name, or with one that others have too, is told apart by its number. A node without a scope is
    a layer of its own. A node of a model-local function has the layer of the call, or is in the layer that the call is.
    """
    count = Counter(entry.node.name for entry in nodes)
    labels = []
    layers = layers_of([entry.node for entry in nodes])
    for entry, layer in zip(nodes, layers, strict=True):
        node = entry.node
        name = node.name if node.name and count[node.name] == 1 else f"{node.name or node.op_type}#{entry.index}"
        address = Address.parse(node.name)
        if address is not None:
            labels.append(Label(name, address.phase, address.layer, address.op, str(address.op_class)))
        else:
            op = canonical_op(node.op_type, node.domain)
            labels.append(Label(name, PHASES[0], layer or name, op, class_of_op(op)))
    return tuple(labels)
