"""SCALE-Sim topologies: a CSV file with a row for each layer, as a convolution or as a matrix product.

SCALE-Sim skips the first line, and needs a comma at the end of every row. A convolution row has the dimensions of the
padded image, one stride for both directions, no batch and no groups; ``DP`` in a name means depthwise. Any other
contraction is written as matrix products. In a convolution topology a product [m, k] x [k, n] is an image of m x k with
n filters of 1 x k, which is how SCALE-Sim itself reads its matrix-product topologies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from fathom_onnx.analysis.cost.node_costs import NodeCost, graph_costs
from fathom_onnx.convert.account import account
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.convert.matrix_products import FORMS, MatrixProduct, products
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Address, Graph, Tensor

from .names import UniqueNames

__all__ = ["convert"]

_HEADERS = {
    "conv": "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides,",
    "gemm": "Layer,M,N,K,",
}
_GRADIENTS = frozenset({"Conv2DBackFilter", "Conv2DBackInput"})


@dataclass(frozen=True)
class _Layer:
    """A node to be written: its matrix products, and its row as a convolution, without the name, where it has one."""

    name: str
    products: tuple[MatrixProduct, ...]
    window: tuple[int, ...] | None


def _clean(name: str) -> str:
    """A name that SCALE-Sim can read."""
    return re.sub(r"[^A-Za-z0-9_./:-]", "_", name).replace("DP", "Dp")


def _window(node: onnx.NodeProto, tensors: Mapping[str, Tensor]) -> tuple[int, ...] | None:
    """The row of a convolution of one image without groups and dilation and with one stride; None for other nodes."""
    attributes: dict[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    address = Address.parse(node.name)
    if node.op_type not in ("Conv", "ConvInteger") or (address is not None and address.op in _GRADIENTS):
        return None
    weights, output = tensors[node.input[1]].shape, tensors[node.output[0]].shape
    if weights is None or output is None or len(output) not in (3, 4):
        return None
    spatial = len(output) - 2
    strides = list(attributes.get("strides", [1] * spatial))
    dilations = list(attributes.get("dilations", [1] * spatial))
    if output[0] != 1 or attributes.get("group", 1) != 1 or len(set(strides)) > 1 or max(dilations) > 1:
        return None
    # a 1-D convolution is one row high; positions that no window reaches are not counted, since SCALE-Sim rounds up
    extent = [(o - 1) * s + k for o, s, k in zip(output[2:], strides, weights[2:], strict=True)]
    height, width = extent if spatial == 2 else (1, extent[0])
    kernel = weights[2:] if spatial == 2 else (1, weights[2])
    return (height, width, *kernel, weights[1], weights[0], strides[0])


def _reason(node: onnx.NodeProto, cost: NodeCost) -> str:
    if cost.macs == 0:
        return "no multiply-accumulates"
    if node.op_type in FORMS and cost.macs is None:
        return "shapes are not known"
    return "cost is not known" if cost.macs is None else "no form as matrix products"


def _layers(graph: Graph) -> tuple[list[_Layer], dict[int, str]]:
    """The nodes to be written, in graph order; index of each other node, to the reason why it is left out."""
    tensors = graph.tensors
    layers: list[_Layer] = []
    left_out: dict[int, str] = {}
    for index, (node, cost) in enumerate(zip(graph.model.graph.node, graph_costs(graph), strict=True)):
        parts = products(node, tensors) if cost.macs else None
        if parts is None:
            left_out[index] = _reason(node, cost)
        else:
            layers.append(_Layer(node.name or f"{node.op_type}_{index}", parts, _window(node, tensors)))
    return layers, left_out


def _rows(layer: _Layer, layout: str, names: UniqueNames) -> list[str]:
    if layout == "conv" and layer.window is not None:
        cells = [(layer.name, *layer.window)]
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
        GraphError: The graph has no node that can be written.
    """
    layers, left_out = _layers(graph)
    if not layers:
        raise GraphError(f"graph '{graph.name}' has no convolution or matrix product of known shape", "give another")
    windows = sum(layer.window is not None for layer in layers)
    layout = str(request.options["layout"])
    if layout == "auto":
        layout = "conv" if windows else "gemm"
    names = UniqueNames(_clean, ".")
    rows = [row for layer in layers for row in _rows(layer, layout, names)]
    sums = account(graph, left_out)
    notes = [f"Run it with -i {layout}."]
    if layout == "conv" and windows < len(layers):
        notes.append(
            f"{len(layers) - windows} nodes are matrix products, written as images of m x k with 1 x k filters."
        )
    if len(rows) > len(layers):
        notes.append(f"{len(layers)} nodes are {len(rows)} rows: a batch of products or a group is a row each.")
    header = f"{_HEADERS[layout]} {_clean(graph.name)}: {len(rows)} layers with {sums.kept.macs} multiply-accumulates"
    text = "\n".join([header, *rows]) + "\n"
    return Conversion({".csv": text.encode()}, sums.kept, sums.total, sums.left_out, tuple(notes))
