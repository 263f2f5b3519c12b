"""SCALE-Sim topologies: a CSV file with a row for each layer, as a convolution or as a matrix product.

SCALE-Sim skips the first line, and needs a comma at the end of every row. A convolution row has the dimensions of the
padded image, one stride for both directions, no batch and no groups; ``DP`` in a name means depthwise. Any other
contraction is written as matrix products. In a convolution topology a product [m, k] x [k, n] is an image of m x k with
n filters of 1 x k, which is how SCALE-Sim itself reads its matrix-product topologies.
"""

from __future__ import annotations

import re

from fathom_onnx.convert.account import account
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.convert.layers import Layer, layers, no_layers
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Address, Graph

from .names import UniqueNames

__all__ = ["convert"]

_HEADERS = {
    "conv": "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides,",
    "gemm": "Layer,M,N,K,",
}
_LARGEST_ROWS = 1_000_000
"""Rows of a topology; a file of a few bytes may declare so many groups that they fit no memory."""

_GRADIENTS = frozenset({"Conv2DBackFilter", "Conv2DBackInput"})


def _clean(name: str) -> str:
    """A name that SCALE-Sim can read."""
    return re.sub(r"[^A-Za-z0-9_./:-]", "_", name).replace("DP", "Dp")


def _window(layer: Layer) -> tuple[int, ...] | None:
    """The row of a convolution of one image without groups and dilation and with one stride; None for other nodes."""
    nest, address = layer.convolution, Address.parse(layer.node.name)
    if nest is None or nest.transposed or nest.spatial > 2 or (address is not None and address.op in _GRADIENTS):
        return None
    if nest.size("n", "g") != 1 or len(set(nest.strides)) > 1 or max(nest.dilations) > 1:
        return None
    # a 1-D convolution is one row high; positions that no window reaches are not counted, since SCALE-Sim rounds up
    positions, kernel = (nest.size("p"), nest.size("q")), (nest.size("r"), nest.size("s"))
    if nest.spatial == 1:
        positions, kernel = positions[::-1], kernel[::-1]
    stride = nest.strides[0]
    extent = [(o - 1) * stride + k for o, k in zip(positions, kernel, strict=True)]
    return (*extent, *kernel, nest.size("c"), nest.size("m"), stride)


def _rows(layer: Layer, layout: str, names: UniqueNames) -> list[str]:
    window = _window(layer) if layout == "conv" else None
    if window is not None:
        cells = [(layer.name, *window)]
    else:
        cells = []
        for product in layer.products:
            for time in range(product.times):
                name = layer.name if len(layer.products) == product.times == 1 else f"{layer.name}.{time + 1}"
                m, n, k = product.m, product.n, product.k
                cells.append((name, m, k, 1, k, 1, n, 1) if layout == "conv" else (name, m, n, k))
    return [",".join([names.new(str(name)), *map(str, numbers)]) + "," for name, *numbers in cells]


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """One CSV file with the topology.

    The option ``layout``: ``gemm`` writes every node as matrix products; ``conv`` writes convolutions as such where
    SCALE-Sim's form allows it, and everything else as products; ``auto`` is ``conv`` where there is such a convolution.

    Raises:
        GraphError: The graph has no node that can be written, or more products than :data:`_LARGEST_ROWS`.
    """
    kept, left_out = layers(graph)
    if not kept:
        raise no_layers(graph)
    windows = sum(_window(layer) is not None for layer in kept)
    layout = str(request.options["layout"])
    if layout == "auto":
        layout = "conv" if windows else "gemm"
    products = sum(product.times for layer in kept for product in layer.products)
    if products > _LARGEST_ROWS:
        raise GraphError(
            f"graph '{graph.name}' has {products:,} matrix products, more than {_LARGEST_ROWS:,} rows",
            "check its shapes, or convert it to a format in which equal products are one (timeloop)",
        )
    names = UniqueNames(_clean, ".")
    rows = [row for layer in kept for row in _rows(layer, layout, names)]
    sums = account(graph, left_out)
    notes = [f"Run it with -i {layout}."]
    if layout == "conv" and windows < len(kept):
        notes.append(f"{len(kept) - windows} nodes are matrix products, written as images of m x k with 1 x k filters.")
    if len(rows) > len(kept):
        notes.append(f"{len(kept)} nodes are {len(rows)} rows: a batch of products or a group is a row each.")
    header = f"{_HEADERS[layout]} {_clean(graph.name)}: {len(rows)} layers with {sums.kept.macs} multiply-accumulates"
    text = "\n".join([header, *rows]) + "\n"
    return Conversion({".csv": text.encode()}, sums.kept, sums.total, sums.left_out, tuple(notes))
