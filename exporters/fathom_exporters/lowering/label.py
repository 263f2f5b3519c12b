"""Names: every node gets its address, every tensor the address of the node that computes it."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from fathom_onnx.errors import ExportError
from fathom_onnx.graph import Address
from fathom_onnx.graph.definition import MACS_BY_DEFINITION

from .tags import Tag

__all__ = ["WriteAddresses"]


class WriteAddresses(ir.passes.InPlacePass):
    """Name nodes and tensors by the nodes' tags, and remove the tags. Only names and metadata change.

    Of a node's metadata its multiply-accumulates by definition are left.

    A canonical op that is one node has the bare address ``<phase>/<layer>/<op>``; where several nodes share it, each
    is ``.../<kind>_<n>``, numbered from 1 in graph order within its kind.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Name everything.

        Raises:
            ExportError: A node has no tag.
        """
        graph = model.graph
        tags = [_tag(node) for node in graph]
        sizes = Counter((tag.phase, tag.scope, tag.op) for tag in tags)
        numbers: Counter[tuple[str, str, str, str]] = Counter()
        interface = {id(value) for value in [*graph.inputs, *graph.outputs]}
        for node, tag in zip(graph, tags, strict=True):
            group = (tag.phase, tag.scope, tag.op)
            part = ""
            if sizes[group] > 1:
                numbers[*group, node.op_type] += 1
                part = f"{node.op_type}_{numbers[*group, node.op_type]}"
            node.name = str(Address(*group, part))
            stated = node.metadata_props.get(MACS_BY_DEFINITION)
            node.metadata_props.clear()
            if stated is not None:
                node.metadata_props[MACS_BY_DEFINITION] = stated
            node.doc_string = None
            for index, value in enumerate(node.outputs):
                value.metadata_props.clear()
                if id(value) not in interface and value.name:
                    value.name = node.name if index == 0 else f"{node.name}:{index}"
        for value in [*graph.inputs, *graph.outputs]:
            value.metadata_props.clear()
        for index, value in enumerate(list(graph.initializers.values())):
            value.name = f"constant_{index + 1}"
            value.metadata_props.clear()
        return ir.passes.PassResult(model, True)


def _tag(node: ir.Node) -> Tag:
    tag = Tag.of(node)
    if tag is None:
        raise ExportError(f"node '{node.name}' ({node.op_type}) has no phase and layer")
    return tag
