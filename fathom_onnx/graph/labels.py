"""Labels of original nodes: name, phase, layer, op and op class.

In our graphs the label is in each node's name (its address). Any other graph gets one phase, layers from the scopes in
its node names or metadata, and ops from the table of ONNX op types; there a name that happens to read like an address
is a name like any other.
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
    addresses = [Address.parse(entry.node.name) for entry in nodes]
    # tools that rewrite one of our graphs add nodes without an address, and may drop its metadata
    ours = 2 * sum(address is not None for address in addresses) > len(nodes)
    for entry, layer, address in zip(nodes, layers, addresses, strict=True):
        node = entry.node
        name = node.name if node.name and count[node.name] == 1 else f"{node.name or node.op_type}#{entry.index}"
        if ours and address is not None:
            labels.append(Label(name, address.phase, address.layer, address.op, str(address.op_class)))
        else:
            op = canonical_op(node.op_type, node.domain)
            labels.append(Label(name, PHASES[0], layer or name, op, class_of_op(op)))
    return tuple(labels)
