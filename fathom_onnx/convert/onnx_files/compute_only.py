"""Conversion to the part of a graph that simulators of multiply-accumulates see: convolutions and matrix products.

Every tensor that another op produces becomes an input, and every tensor that another op reads becomes an output, with
its name in the graph. Simulators then read the graph without silently ignoring nodes. The graph does not compute the
original's values.

Any other op with multiply-accumulates (a recurrent layer, an einsum, attention, a quantized or fused op) is written as
the matrix products within it, on tensors of its own, since no tool that reads such a graph knows all of these ops.
Forms of convolutions and products that simulators do not read are written in one that they do, on tensors of their own
too: a convolution along one axis as one along two, a convolution along more and a MatMul of vectors, of more than four
axes or with a broadcast first operand as the product within it.

``transposed=product`` replaces a transposed convolution by the matrix product within it: some tools ignore transposed
convolutions but none ignores matrix products, and both have the same multiply-accumulates.
"""

from __future__ import annotations

import onnx

from fathom_onnx.analysis.cost.node_costs import node_cost
from fathom_onnx.convert.account import account
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.convert.layers import Layer, layers, no_layers
from fathom_onnx.convert.matrix_products import MatrixProduct
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import inputs_of, outputs_of
from fathom_onnx.graph.metadata import KEY as GRAPH_KEY

from .onnx_file import copy_of, finish

__all__ = ["KEPT", "convert"]

KEPT = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Op types of the default domain that are kept as they are."""

FLOAT = onnx.TensorProto.FLOAT
_FLOATS = (FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)


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


def _info(graph: Graph, infos: dict[str, onnx.ValueInfoProto], name: str) -> onnx.ValueInfoProto:
    if name not in infos:
        raise GraphError(
            f"graph '{graph.name}' does not say the shape of tensor '{name}'", "give a graph with static shapes"
        )
    return infos[name]


def _explicit(node: onnx.NodeProto, graph: Graph) -> onnx.NodeProto:
    """A copy of a node with ``kernel_shape``, which tools need and ONNX may omit, since the filter implies it."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    windowed = node.op_type in ("Conv", "ConvTranspose")
    weights = graph.tensors[node.input[1]].shape
    if windowed and weights is not None and weights[2:] and all(a.name != "kernel_shape" for a in node.attribute):
        copy.attribute.append(onnx.helper.make_attribute("kernel_shape", weights[2:]))
    return copy


def _is_read(node: onnx.NodeProto, graph: Graph) -> bool:
    """Whether simulators read a node of a kept op type in its form; they ignore a ConvTranspose in any."""
    first, result = graph.tensors[node.input[0]].shape, graph.tensors[node.output[0]].shape
    if first is None or result is None:
        return True
    if node.op_type == "MatMul":
        return len(first) == len(result) and 2 <= len(first) <= 4 and first[:-2] == result[:-2]
    return node.op_type != "Conv" or len(first) == 4


def _along_two_axes(layer: Layer, graph: Graph, infos: dict[str, onnx.ValueInfoProto]) -> onnx.NodeProto:
    """A convolution along one axis as one along two, the first with one place; its tensors are added to ``infos``."""
    node = _explicit(layer.node, graph)
    for attribute in node.attribute:
        if attribute.name in ("dilations", "kernel_shape", "strides"):
            attribute.ints.insert(0, 1)
        elif attribute.name == "pads":
            begin, end = attribute.ints
            attribute.ints[:] = [0, begin, 0, end]
    output = node.output[0]
    kind = _info(graph, infos, output).type.tensor_type.elem_type
    for names, position, side in ((node.input, 0, "image"), (node.input, 1, "filters"), (node.output, 0, "result")):
        *first, length = graph.tensors[names[position]].shape or ()
        names[position] = f"{output}:{side}"
        infos[names[position]] = onnx.helper.make_tensor_value_info(names[position], kind, (*first, 1, length))
    return node


def _product(layer: Layer, graph: Graph, infos: dict[str, onnx.ValueInfoProto]) -> onnx.NodeProto | None:
    """The matrix product within a transposed convolution; None where there are several.

    It is [batch x positions, channels] x [channels, filters x kernel elements], before the results are summed where
    windows overlap. Its three tensors are new and added to ``infos``.
    """
    node, (part, *more) = layer.node, layer.products
    if more or part.times > 1:
        return None
    names = [f"{node.input[0]}:positions", f"{node.input[1]}:columns", f"{node.output[0]}:products"]
    return _matmul(part, names, layer.name, _info(graph, infos, node.output[0]).type.tensor_type.elem_type, infos)


def _matmul(
    part: MatrixProduct, names: list[str], name: str, kind: int, infos: dict[str, onnx.ValueInfoProto]
) -> onnx.NodeProto:
    """A node for a matrix product on three new tensors, which are added to ``infos``."""
    batch = (part.times,) if part.times > 1 else ()
    for tensor, rows, columns in zip(names, (part.m, part.k, part.m), (part.k, part.n, part.n), strict=True):
        infos[tensor] = onnx.helper.make_tensor_value_info(tensor, kind, (*batch, rows, columns))
    return onnx.helper.make_node("MatMul", names[:2], names[2:], name=name)


def _products(layer: Layer, infos: dict[str, onnx.ValueInfoProto]) -> list[onnx.NodeProto]:
    """The matrix products of a node that is of no kept op type or of a form that is not read, one node each."""
    output = next(name for name in layer.node.output if name)
    made = infos.get(output)
    # MatMul has no 8-bit types
    kind = made.type.tensor_type.elem_type if made is not None else FLOAT
    kind = kind if kind in _FLOATS else FLOAT
    nodes = []
    for number, part in enumerate(layer.products, 1):
        end = "" if len(layer.products) == 1 else f".{number}"
        names = [f"{output}:{side}{end}" for side in ("left", "right", "product")]
        nodes.append(_matmul(part, names, layer.name + end, kind, infos))
    return nodes


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """A valid graph of the convolutions and matrix products alone.

    Raises:
        GraphError: The graph has none of known shape.
    """
    layers_kept, left_out = layers(graph)
    source, infos = graph.model.graph, _static(graph)
    kept: list[onnx.NodeProto] = []
    as_they_are: set[int] = set()
    replaced = within = widened = 0
    for layer in layers_kept:
        node = layer.node
        if node.op_type not in KEPT or node.domain not in ("", "ai.onnx") or not _is_read(node, graph):
            if node.op_type == "Conv" and layer.nest is not None and layer.nest.spatial == 1:
                kept.append(_along_two_axes(layer, graph, infos))
                kept[-1].name = layer.name
                widened += 1
            else:
                kept += _products(layer, infos)
                within += 1
            continue
        as_they_are.add(layer.index)
        as_product = request.options["transposed"] == "product" and node.op_type == "ConvTranspose"
        product = _product(layer, graph, infos) if as_product else None
        kept.append(product or _explicit(node, graph))
        kept[-1].name = layer.name
        replaced += product is not None
    if not kept:
        raise no_layers(graph)
    produced = {name for node in kept for name in outputs_of(node)}
    used = {name for node in kept for name in node.input if name}
    others = [node for index, node in enumerate(source.node) if index not in as_they_are]
    used_elsewhere = {name for node in others for name in inputs_of(node)} | {o.name for o in source.output}
    model = copy_of(graph.model)
    target = model.graph
    for field in ("node", "input", "output", "value_info", "initializer", "sparse_initializer"):
        target.ClearField(field)
    target.node.extend(kept)
    target.initializer.extend(t for t in source.initializer if t.name in used)
    initializers = {t.name for t in target.initializer}
    # an initializer that is also an input stays both
    needed = dict.fromkeys(name for node in kept for name in node.input if name and name not in produced)
    declared = {i.name for i in source.input}
    target.input.extend(_info(graph, infos, name) for name in needed if name not in initializers or name in declared)
    for name in [name for node in kept for name in outputs_of(node)]:
        is_output = name in used_elsewhere or name not in used
        (target.output if is_output else target.value_info).append(_info(graph, infos, name))
    # the metadata about inputs, state and parameters no longer holds
    props = [(p.key, p.value) for p in model.metadata_props if p.key != GRAPH_KEY]
    del model.metadata_props[:]
    for key, value in props:
        model.metadata_props.add(key=key, value=value)
    sums = account(graph, left_out)
    notes = [f"{len(target.input)} inputs and {len(target.output)} outputs: values do not flow through this graph."]
    if replaced:
        notes.append(f"{replaced} nodes that were ConvTranspose are the matrix products within them.")
    if within:
        notes.append(
            f"{within} nodes of other ops or forms are the matrix products within them, on tensors of their own."
        )
    if widened:
        notes.append(f"{widened} convolutions along one axis are written along two, on tensors of their own.")
    macs = [node_cost(node, graph.tensors).macs or 0 for node in kept if node.op_type == "ConvTranspose"]
    if macs:
        notes.append(f"{len(macs)} nodes of {sum(macs)} MACs are ConvTranspose, which ZigZag ignores.")
    return finish(
        model, graph, "compute-only", request, Conversion({}, sums.kept, sums.total, sums.left_out, tuple(notes))
    )
