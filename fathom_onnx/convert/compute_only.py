"""The part of a graph that tools see which count multiply-accumulates: convolutions and matrix products.

Every tensor that another op makes becomes an input, and every tensor that another op uses an output, under the name it
has in the graph. Simulators read the result without dropping anything in silence; values do not flow through it.
"""

from __future__ import annotations

import onnx

from ..analysis.cost import graph_costs
from ..analysis.dataflow import inputs_of, outputs_of
from ..errors import GraphError
from ..graph import Graph, Tensor
from ..graph.metadata import KEY as GRAPH_KEY
from .account import account
from .contract import Conversion, Request
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


def _info(graph: Graph, infos: dict[str, onnx.ValueInfoProto], name: str) -> onnx.ValueInfoProto:
    tensor = graph.tensors.get(name, Tensor(name, None, ""))
    if name not in infos or tensor.shape is None:
        raise GraphError(
            f"graph '{graph.name}' does not say the shape of tensor '{name}'", "give a graph with static shapes"
        )
    return infos[name]


def _explicit(node: onnx.NodeProto, graph: Graph) -> onnx.NodeProto:
    """A node with a kernel_shape, which tools ask for and ONNX leaves out where the filter says it."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    windowed = node.op_type in ("Conv", "ConvTranspose")
    weights = graph.tensors[node.input[1]].shape
    if windowed and weights is not None and all(a.name != "kernel_shape" for a in node.attribute):
        made.attribute.append(onnx.helper.make_attribute("kernel_shape", weights[2:]))
    return made


def convert(graph: Graph, request: Request) -> Conversion:
    """A graph's convolutions and matrix products alone, as a valid graph.

    Raises:
        GraphError: The graph has none of known shape.
    """
    left_out = _left_out(graph)
    kept = [(i, n) for i, n in enumerate(graph.model.graph.node) if i not in left_out]
    if not kept:
        raise GraphError(f"graph '{graph.name}' has no convolution or matrix product of known shape", "give another")
    source = graph.model.graph
    infos = {i.name: i for i in [*source.value_info, *source.output, *source.input]}
    made = {name for _, node in kept for name in outputs_of(node)}
    used = {name for _, node in kept for name in node.input if name}
    elsewhere = {name for i in left_out for name in inputs_of(source.node[i])} | {o.name for o in source.output}
    model = copy_of(graph.model)
    target = model.graph
    for field in ("node", "input", "output", "value_info", "initializer", "sparse_initializer"):
        target.ClearField(field)
    target.initializer.extend(t for t in source.initializer if t.name in used)
    held = {t.name for t in target.initializer}
    # an initializer that is an input too stays both
    needed = dict.fromkeys(name for _, node in kept for name in node.input if name and name not in made)
    declared = {i.name for i in source.input}
    target.input.extend(_info(graph, infos, name) for name in needed if name not in held or name in declared)
    for index, node in kept:
        target.node.append(_explicit(node, graph))
        target.node[-1].name = node.name or f"{node.op_type}_{index}"
        for name in outputs_of(node):
            is_output = name in elsewhere or name not in used
            (target.output if is_output else target.value_info).append(_info(graph, infos, name))
    # what the metadata says of inputs, state and parameters is no longer so
    props = [(p.key, p.value) for p in model.metadata_props if p.key != GRAPH_KEY]
    del model.metadata_props[:]
    for key, value in props:
        model.metadata_props.add(key=key, value=value)
    sums = account(graph, left_out)
    notes = [f"{len(target.input)} inputs and {len(target.output)} outputs: values do not flow through this graph."]
    transposed = account(graph, {i: "" for i, n in enumerate(source.node) if n.op_type != "ConvTranspose"}).kept
    if transposed.nodes:
        notes.append(f"{transposed.nodes} nodes of {transposed.macs} MACs are ConvTranspose, which ZigZag ignores.")
    return finish(
        model, graph, "compute-only", request, Conversion({}, sums.kept, sums.total, sums.left_out, tuple(notes))
    )
