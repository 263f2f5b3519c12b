"""A model of which something cannot be known before it runs, for tests of conversions."""

from __future__ import annotations

from fathom_onnx.graph import Graph, from_model
from support.graphs.small_models import FLOAT, model, op


def data_dependent() -> Graph:
    """Two products of [2, 2] matrices; the shape of one's operand depends on the data."""
    nodes = [
        op("NonZero", "x", "i"),
        op("Cast", "i", "f", to=FLOAT),
        op("MatMul", "x f", "y", "unknown"),
        op("MatMul", "x x", "z", "known"),
    ]
    made = model(nodes, {"x": (FLOAT, (2, 2))}, {"y": (FLOAT, [2, None]), "z": (FLOAT, (2, 2))})
    return from_model(made, "dependent")
