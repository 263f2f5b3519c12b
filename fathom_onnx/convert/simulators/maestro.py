"""MAESTRO networks: a CONV layer with a dataflow mapping for every convolution and matrix product.

MAESTRO has no dilation and no groups, so every other contraction is written as its matrix products
(:mod:`fathom_onnx.convert.matrix_products`): rows ``Y``, columns ``K``, summed dimension ``C``, with a kernel of one
element. The form is that of MAESTRO's own examples (maestro-project.github.io), in which the mapping is part of the
file.
"""

from __future__ import annotations

import re

from fathom_onnx.convert.account import account
from fathom_onnx.convert.contractions import Contraction
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.convert.layers import layers, no_layers
from fathom_onnx.convert.matrix_products import MatrixProduct
from fathom_onnx.graph import Graph

__all__ = ["DATAFLOWS", "DIMENSIONS", "convert"]

DIMENSIONS = ("N", "K", "C", "R", "S", "Y", "X")
"""Batch, output and input channels, kernel rows and columns, padded image rows and columns."""

DATAFLOWS: dict[str, tuple[str, ...]] = {
    "kcp": (
        "SpatialMap(1,1) K;",
        "TemporalMap(64,64) C;",
        "TemporalMap(Sz(R),Sz(R)) R;",
        "TemporalMap(Sz(S),Sz(S)) S;",
        "TemporalMap(Sz(R),1) Y;",
        "TemporalMap(Sz(S),1) X;",
        "Cluster(64, P);",
        "SpatialMap(1,1) C;",
        "TemporalMap(Sz(R),1) Y;",
        "TemporalMap(Sz(S),1) X;",
        "TemporalMap(Sz(R),Sz(R)) R;",
        "TemporalMap(Sz(S),Sz(S)) S;",
    ),
    "yxp": (
        "TemporalMap(1,1) K;",
        "TemporalMap(1,1) C;",
        "SpatialMap(Sz(R),1) Y;",
        "TemporalMap(8+Sz(S)-1,8) X;",
        "TemporalMap(Sz(R),Sz(R)) R;",
        "TemporalMap(Sz(S),Sz(S)) S;",
        "Cluster(8, P);",
        "SpatialMap(Sz(S),1) X;",
    ),
}
"""Mapping directives: weight-stationary, channels in parallel (kcp); output-stationary, positions in parallel (yxp)."""

_NOTES = (
    "Images are with their padding, without the rows and columns that no window reaches.",
    "Dilated, grouped and transposed convolutions and matrix products are written as matrix products: rows Y, columns "
    "K, summed C; independent products of one node are N, whose weights MAESTRO takes for shared.",
)


def _convolution(nest: Contraction | None) -> tuple[tuple[int, int], dict[str, int]] | None:
    """Strides (Y, X) and dimensions of a plain convolution; None for any other contraction."""
    if nest is None or nest.transposed or nest.spatial > 2 or set(nest.dilations) != {1} or nest.size("g") > 1:
        return None
    down, across = (*nest.strides, 1)[:2]
    image = {
        "Y": (nest.size("p") - 1) * down + nest.size("r"),
        "X": (nest.size("q") - 1) * across + nest.size("s"),
    }
    names = {"N": "n", "K": "m", "C": "c", "R": "r", "S": "s"}
    return (down, across), {name: nest.size(variable) for name, variable in names.items()} | image


def _product(product: MatrixProduct) -> dict[str, int]:
    return {"N": product.times, "K": product.n, "C": product.k, "R": 1, "S": 1, "Y": product.m, "X": 1}


def _text(name: str, strides: tuple[int, int], sizes: dict[str, int], dataflow: str) -> str:
    dimensions = ", ".join(f"{d}: {sizes[d]}" for d in DIMENSIONS)
    lines = (
        f"Layer {name} {{",
        "Type: CONV",
        f"Stride {{ X: {strides[1]}, Y: {strides[0]} }}",
        f"Dimensions {{ {dimensions} }}",
        "Dataflow {",
        *(f"\t{directive}" for directive in DATAFLOWS[dataflow]),
        "}",
        "}",
    )
    return "\n".join(lines)


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """One ``.m`` file with the network.

    Raises:
        GraphError: The graph has no convolution and no matrix product of known shape.
    """
    kept, left_out = layers(graph)
    if not kept:
        raise no_layers(graph)
    texts: list[str] = []
    for layer in kept:
        plain = _convolution(layer.convolution)
        rows = [plain] if plain else [((1, 1), _product(part)) for part in layer.products]
        # the number keeps names distinct that differ only in characters that a name cannot hold
        name = re.sub(r"[^A-Za-z0-9_]", "_", layer.node.name or layer.node.op_type)
        dataflow = str(request.options["dataflow"])
        texts += [_text(f"L{len(texts) + n}_{name}", *row, dataflow) for n, row in enumerate(rows)]
    network = re.sub(r"[^A-Za-z0-9_]", "_", graph.name)
    text = f"Network {network} {{\n" + "\n".join(texts) + "\n}\n"
    counted = account(graph, left_out)
    return Conversion({".m": text.encode()}, counted.kept, counted.total, counted.left_out, _NOTES)
