"""Conversion to the part of a graph that simulators of multiply-accumulates see: convolutions and matrix products.

Every tensor that another op produces becomes an input, and every tensor that another op reads becomes an output, with
its name in the graph. Simulators then read the graph without silently ignoring nodes. The graph does not compute the
original's values.

``transposed=product`` replaces a transposed convolution by the matrix product within it: some tools ignore transposed
convolutions but none ignores matrix products, and both have the same multiply-accumulates.
"""

from __future__ import annotations

import onnx

from fathom_onnx.analysis.cost.node_costs import graph_costs, node_cost
from fathom_onnx.convert.account import account
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.convert.matrix_products import products
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import inputs_of, outputs_of
from fathom_onnx.graph.metadata import KEY as GRAPH_KEY

from .onnx_file import copy_of, finish

__all__ = ["KEPT", "convert"]

KEPT = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Op types of the default domain that are kept."""


def _left_out(graph: Graph) -> dict[int, str]:
    reasons = {}
    for index, (node, cost) in enumerate(zip(graph.model.graph.node, graph_costs(graph), strict=True)):
        if node.op_type in KEPT and node.domain in ("", "ai.onnx"):
            if cost.macs is None:
                reasons[index] = "shapes are not known"
        elif cost.macs == 0:
            reasons[index] = "no multiply-accumulates"
        else:
            reasons[index] = "cost is not known" if cost.macs is None else f"not one of {', '.join(KEPT)}"
    return reasons


def _static(graph: Graph) -> dict[str, onnx.ValueInfoProto]:
    """The tensors of known shape, by name."""
    source = graph.model.graph
    infos = {i.name: i for i in [*source.value_info, *source.output, *source.input]}
    return {n: i for n, i in infos.items() if n in graph.tensors and graph.tensors[n].shape is not None}


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
    if windowed and weights is not None and all(a.name != "kernel_shape" for a in node.attribute):
        copy.attribute.append(onnx.helper.make_attribute("kernel_shape", weights[2:]))
    return copy


def _product(node: onnx.NodeProto, graph: Graph, infos: dict[str, onnx.ValueInfoProto]) -> onnx.NodeProto | None:
    """The matrix product within a transposed convolution; None where there are several, or for other op types.

    It is [batch x positions, channels] x [channels, filters x kernel elements], before the results are summed where
    windows overlap. Its three tensors are new and added to ``infos``.
    """
    parts = products(node, graph.tensors) if node.op_type == "ConvTranspose" else None
    if parts is None or len(parts) > 1 or parts[0].times > 1:
        return None
    m, n, k = parts[0].m, parts[0].n, parts[0].k
    element_type = _info(graph, infos, node.output[0]).type.tensor_type.elem_type
    names = [f"{node.input[0]}:positions", f"{node.input[1]}:columns", f"{node.output[0]}:products"]
    for name, shape in zip(names, ((m, k), (k, n), (m, n)), strict=True):
        infos[name] = onnx.helper.make_tensor_value_info(name, element_type, shape)
    return onnx.helper.make_node("MatMul", names[:2], names[2:], name=node.name)


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """A valid graph of the convolutions and matrix products alone.

    Raises:
        GraphError: The graph has none of known shape.
    """
    left_out = _left_out(graph)
    source, infos = graph.model.graph, _static(graph)
    kept: list[onnx.NodeProto] = []
    replaced = 0
    for index, node in enumerate(source.node):
        if index in left_out:
            continue
        product = _product(node, graph, infos) if request.options["transposed"] == "product" else None
        kept.append(product or _explicit(node, graph))
        kept[-1].name = node.name or f"{node.op_type}_{index}"
        replaced += product is not None
    if not kept:
        raise GraphError(f"graph '{graph.name}' has no convolution or matrix product of known shape", "give another")
    produced = {name for node in kept for name in outputs_of(node)}
    used = {name for node in kept for name in node.input if name}
    used_elsewhere = {name for i in left_out for name in inputs_of(source.node[i])} | {o.name for o in source.output}
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
    macs = [node_cost(node, graph.tensors).macs or 0 for node in kept if node.op_type == "ConvTranspose"]
    if macs:
        notes.append(f"{len(macs)} nodes of {sum(macs)} MACs are ConvTranspose, which ZigZag ignores.")
    return finish(
        model, graph, "compute-only", request, Conversion({}, sums.kept, sums.total, sums.left_out, tuple(notes))
    )
