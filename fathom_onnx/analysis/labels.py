"""What an original node is called in a report: phase, layer, op and class.

One of our graphs says it in each node's name (its address). Any other graph gets one phase, layers from the scopes in
its node names or metadata, and ops from the table of ONNX op types.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from ..graph.address import Address
from ..runtime.optimized import NumberedNode
from ..vocabulary import PHASES
from .optable import canonical_op, class_of_op

__all__ = ["Label", "label_nodes"]

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Key under which PyTorch's exporter writes a node's module path into its metadata."""


@dataclass(frozen=True)
class Label:
    """The name of an original node, unique in its graph, and what it belongs to."""

    name: str
    phase: str
    layer: str
    op: str
    op_class: str


def _scope(node: onnx.NodeProto) -> str:
    """The layer that a third-party node's name or metadata gives, or an empty text."""
    parts = [part for part in node.name.split("/") if part]
    if len(parts) > 1:
        return "/".join(parts[:-1])
    text = next((p.value for p in node.metadata_props if p.key == _SCOPES), "")
    try:
        scopes = ast.literal_eval(text) if text else []
    except (SyntaxError, ValueError):
        scopes = []
    named = [str(s) for s in scopes[:-1] if s] if isinstance(scopes, list) else []
    return named[-1] if named else ""


def label_nodes(nodes: Sequence[NumberedNode]) -> tuple[Label, ...]:
    """A label for each node.

    A node without a name, or with one that others have too, is told apart by its number. A node without a scope is
    a layer of its own.
    """
    count = Counter(entry.node.name for entry in nodes)
    labels = []
    for entry in nodes:
        node = entry.node
        name = node.name if node.name and count[node.name] == 1 else f"{node.name or node.op_type}#{entry.index}"
        address = Address.parse(node.name)
        if address is not None:
            labels.append(Label(name, address.phase, address.layer, address.op, str(address.op_class)))
        else:
            op = canonical_op(node.op_type, node.domain)
            labels.append(Label(name, PHASES[0], _scope(node) or name, op, class_of_op(op)))
    return tuple(labels)
