"""Tags: what a translator says about each node. At the very end the nodes' addresses are written from them.

A tag is in a node's metadata: the phase, the scope (layer, or updated parameter in the optimizer phase), the canonical
op, and an origin that is the same for all nodes of one framework op.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

__all__ = ["NOT_FOLDED", "ORIGIN", "REPEATED", "Tag"]

_PHASE, _SCOPE, _OP = "fathom.phase", "fathom.scope", "fathom.op"
ORIGIN = "fathom.origin"
"""Metadata key of the framework op that a node comes from."""
REPEATED = "fathom.repeated"
"""Metadata key of a node that repeats a part of the forward pass for the backward pass."""

NOT_FOLDED = "fathom.not_folded"
"""Metadata key of a node of constants that stays: in float64 its result has more digits than a constant would."""


@dataclass(frozen=True)
class Tag:
    """Where a node belongs in the workload.

    Attributes:
        phase: A phase of :data:`fathom_onnx.vocabulary.PHASES`.
        scope: The layer or, in the optimizer phase, the parameter.
        op: A canonical op of :data:`fathom_onnx.vocabulary.OPS`.
        origin: The framework op it came from, unique within the graph.
    """

    phase: str
    scope: str
    op: str
    origin: str

    def put(self, node: ir.Node) -> None:
        """Write the tag on a node."""
        node.metadata_props.update({_PHASE: self.phase, _SCOPE: self.scope, _OP: self.op, ORIGIN: self.origin})

    @classmethod
    def of(cls, node: ir.Node) -> Tag | None:
        """The tag of a node, or None where it has none."""
        properties = node.metadata_props
        if _OP not in properties:
            return None
        return cls(properties[_PHASE], properties[_SCOPE], properties[_OP], properties[ORIGIN])
