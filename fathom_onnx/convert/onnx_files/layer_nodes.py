"""The nodes that stand for a layer in a graph that simulators of multiply-accumulates read.

A layer is kept as it is where they read its form. What is written in another form has tensors of its own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import onnx

from fathom_onnx.convert.layers import Layer
from fathom_onnx.convert.matrix_products import MatrixProduct
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph

__all__ = ["KEPT", "LayerForm", "LayerNodes", "LayerWriter"]

KEPT = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Op types of the default domain that are kept as they are."""

_FLOAT = onnx.TensorProto.FLOAT
_FLOATS = (_FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)


class LayerForm(StrEnum):
    """What a layer is written as, in words that follow a number of nodes."""

    SAME = "nodes are as they are"
    TRANSPOSED = "nodes that were ConvTranspose are the matrix products within them"
    PRODUCTS = "nodes of other ops or forms are the matrix products within them, on tensors of their own"
    TWO_AXES = "convolutions along one axis are written along two, on tensors of their own"


class LayerNodes(NamedTuple):
    """The nodes that stand for a layer, and their form."""

    form: LayerForm
    nodes: list[onnx.NodeProto]


class LayerWriter:
    """Writes the layers of a graph, and keeps what is known of the tensors that they have.

    Args:
        graph: The graph.
        transposed_as_product: Whether a ConvTranspose is written as the matrix product within it, where that is one.
    """

    def __init__(self, graph: Graph, transposed_as_product: bool) -> None:
        self._graph = graph
        self._transposed_as_product = transposed_as_product
        self._infos = _static(graph)

    def info(self, name: str) -> onnx.ValueInfoProto:
        """Type and shape of a tensor of the graph or of a layer that was written.

        Raises:
            GraphError: Its shape is not known.
        """
        if name not in self._infos:
            raise GraphError(
                f"graph '{self._graph.name}' does not say the shape of tensor '{name}'",
                "give a graph with static shapes",
            )
        return self._infos[name]

    def write(self, layer: Layer) -> LayerNodes:
        """The nodes that stand for a layer."""
        node = layer.node
        if node.op_type in KEPT and node.domain in ("", "ai.onnx") and self._is_read(node):
            product = self._within_transposed(layer) if self._transposed_as_product else None
            if product is not None:
                return LayerNodes(LayerForm.TRANSPOSED, [product])
            return LayerNodes(LayerForm.SAME, [self._explicit(layer)])
        if node.op_type == "Conv" and layer.nest is not None and layer.nest.spatial == 1:
            return LayerNodes(LayerForm.TWO_AXES, [self._along_two_axes(layer)])
        return LayerNodes(LayerForm.PRODUCTS, self._products(layer))

    def _is_read(self, node: onnx.NodeProto) -> bool:
        """Whether simulators read a node of a kept op type in its form; they ignore a ConvTranspose in any."""
        first, result = (self._graph.tensors[name].shape for name in (node.input[0], node.output[0]))
        if first is None or result is None:
            return True
        if node.op_type == "MatMul":
            return len(first) == len(result) and 2 <= len(first) <= 4 and first[:-2] == result[:-2]
        return node.op_type != "Conv" or len(first) == 4

    def _explicit(self, layer: Layer) -> onnx.NodeProto:
        """A copy of a node with ``kernel_shape``, which tools need and ONNX may omit, since the filter implies it."""
        copy = onnx.NodeProto()
        copy.CopyFrom(layer.node)
        copy.name = layer.name
        windowed = copy.op_type in ("Conv", "ConvTranspose")
        weights = self._graph.tensors[copy.input[1]].shape
        if windowed and weights is not None and weights[2:] and all(a.name != "kernel_shape" for a in copy.attribute):
            copy.attribute.append(onnx.helper.make_attribute("kernel_shape", weights[2:]))
        return copy

    def _along_two_axes(self, layer: Layer) -> onnx.NodeProto:
        """A convolution along one axis as one along two, the first with one place."""
        node = self._explicit(layer)
        for attribute in node.attribute:
            if attribute.name in ("dilations", "kernel_shape", "strides"):
                attribute.ints.insert(0, 1)
            elif attribute.name == "pads":
                begin, end = attribute.ints
                attribute.ints[:] = [0, begin, 0, end]
        output = node.output[0]
        kind = self.info(output).type.tensor_type.elem_type
        for names, position, side in ((node.input, 0, "image"), (node.input, 1, "filters"), (node.output, 0, "result")):
            *first, length = self._graph.tensors[names[position]].shape or ()
            names[position] = self._new(f"{output}:{side}", kind, (*first, 1, length))
        return node

    def _within_transposed(self, layer: Layer) -> onnx.NodeProto | None:
        """The matrix product within a transposed convolution; None for another op, or where there are several.

        It is [batch x positions, channels] x [channels, filters x kernel elements], before the results are summed where
        windows overlap.
        """
        node = layer.node
        if node.op_type != "ConvTranspose" or len(layer.products) > 1 or layer.products[0].times > 1:
            return None
        names = [f"{node.input[0]}:positions", f"{node.input[1]}:columns", f"{node.output[0]}:products"]
        kind = self.info(node.output[0]).type.tensor_type.elem_type
        return self._matmul(layer.products[0], names, layer.name, kind)

    def _products(self, layer: Layer) -> list[onnx.NodeProto]:
        """The matrix products of a node that is of no kept op type or of a form that is not read, one node each."""
        output = next(name for name in layer.node.output if name)
        made = self._infos.get(output)
        # MatMul has no 8-bit types
        kind = made.type.tensor_type.elem_type if made is not None else _FLOAT
        kind = kind if kind in _FLOATS else _FLOAT
        nodes = []
        for number, part in enumerate(layer.products, 1):
            end = "" if len(layer.products) == 1 else f".{number}"
            names = [f"{output}:{side}{end}" for side in ("left", "right", "product")]
            nodes.append(self._matmul(part, names, layer.name + end, kind))
        return nodes

    def _matmul(self, part: MatrixProduct, names: list[str], name: str, kind: int) -> onnx.NodeProto:
        """A node for a matrix product on three new tensors."""
        batch = (part.times,) if part.times > 1 else ()
        for tensor, rows, columns in zip(names, (part.m, part.k, part.m), (part.k, part.n, part.n), strict=True):
            self._new(tensor, kind, (*batch, rows, columns))
        return onnx.helper.make_node("MatMul", names[:2], names[2:], name=name)

    def _new(self, name: str, kind: int, shape: tuple[int, ...]) -> str:
        """The name of a new tensor, of which type and shape are known from now on."""
        self._infos[name] = onnx.helper.make_tensor_value_info(name, kind, shape)
        return name


def _static(graph: Graph) -> dict[str, onnx.ValueInfoProto]:
    """The tensors of known shape, by name."""
    source = graph.model.graph
    infos = {i.name: i for i in [*source.value_info, *source.output, *source.input]}
    static = {n: i for n, i in infos.items() if n in graph.tensors and graph.tensors[n].shape is not None}
    for sparse in source.sparse_initializer:
        # what reads these graphs knows dense tensors only: it becomes an input
        kind, name = sparse.values.data_type, sparse.values.name
        static[name] = onnx.helper.make_tensor_value_info(name, kind, list(sparse.dims))
    return static
