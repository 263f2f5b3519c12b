"""What a node of our graphs says about its cost beyond its shapes.

A convolution by which a gradient is written may multiply zeros around its input that the gradient's definition does not
have. It then says how many multiply-accumulates the definition has.
"""

from __future__ import annotations

import onnx

__all__ = ["MACS_BY_DEFINITION", "macs_by_definition"]

MACS_BY_DEFINITION = "fathom_onnx.macs_by_definition"
"""Key of a node's metadata: its multiply-accumulates by definition, where they are fewer than those by its shapes."""


def macs_by_definition(node: onnx.NodeProto) -> int | None:
    """The multiply-accumulates that a node states, or None where its shapes say it."""
    stated = next((p.value for p in node.metadata_props if p.key == MACS_BY_DEFINITION), "")
    return int(stated) if stated.isascii() and stated.isdigit() else None
