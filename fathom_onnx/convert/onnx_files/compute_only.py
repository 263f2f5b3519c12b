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

from collections import Counter
from collections.abc import Sequence

import onnx

from fathom_onnx.analysis.cost.node_costs import node_cost
from fathom_onnx.convert.account import account
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.convert.layers import layers, no_layers
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import inputs_of, outputs_of
from fathom_onnx.graph.metadata import KEY as GRAPH_KEY

from .layer_nodes import KEPT, LayerForm, LayerWriter
from .onnx_file import copy_of, finish

__all__ = ["KEPT", "convert"]


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """A valid graph of the convolutions and matrix products alone.

    Raises:
        GraphError: The graph has none of known shape.
    """
    layers_kept, left_out = layers(graph)
    writer = LayerWriter(graph, transposed_as_product=request.options["transposed"] == "product")
    written = [(layer.index, writer.write(layer)) for layer in layers_kept]
    kept = [node for _, stand_in in written for node in stand_in.nodes]
    if not kept:
        raise no_layers(graph)
    # what is written on tensors of its own leaves those of its node to whatever reads them
    replaced = {i for i, stand_in in written if stand_in.form in (LayerForm.SAME, LayerForm.TRANSPOSED)}
    others = [node for index, node in enumerate(graph.model.graph.node) if index not in replaced]
    model = _graph_of(kept, others, graph, writer)
    sums = account(graph, left_out)
    target = model.graph
    notes = [
        f"{len(target.input)} inputs and {len(target.output)} outputs: values do not flow through this graph.",
        *_form_notes([stand_in.form for _, stand_in in written]),
    ]
    macs = [node_cost(node, graph.tensors).macs or 0 for node in kept if node.op_type == "ConvTranspose"]
    if macs:
        notes.append(f"{len(macs)} nodes of {sum(macs)} MACs are ConvTranspose, which ZigZag ignores.")
    return finish(
        model, graph, "compute-only", request, Conversion({}, sums.kept, sums.total, sums.left_out, tuple(notes))
    )


def _graph_of(
    kept: Sequence[onnx.NodeProto], others: Sequence[onnx.NodeProto], graph: Graph, writer: LayerWriter
) -> onnx.ModelProto:
    """A model of some nodes: what they read is an input, what others read or nobody does is an output."""
    source = graph.model.graph
    produced = {name for node in kept for name in outputs_of(node)}
    used = {name for node in kept for name in node.input if name}
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
    target.input.extend(writer.info(name) for name in needed if name not in initializers or name in declared)
    for name in [name for node in kept for name in outputs_of(node)]:
        is_output = name in used_elsewhere or name not in used
        (target.output if is_output else target.value_info).append(writer.info(name))
    # the metadata about inputs, state and parameters no longer holds
    props = [(p.key, p.value) for p in model.metadata_props if p.key != GRAPH_KEY]
    del model.metadata_props[:]
    for key, value in props:
        model.metadata_props.add(key=key, value=value)
    return model


def _form_notes(forms: Sequence[LayerForm]) -> list[str]:
    """How many layers are written in each other form."""
    counts = Counter(forms)
    return [f"{counts[form]} {form}." for form in LayerForm if form is not LayerForm.SAME and counts[form]]
