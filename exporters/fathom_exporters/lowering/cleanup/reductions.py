"""Sums and means in the forms that simulators and runtimes know."""

from __future__ import annotations

import onnx_ir as ir

from fathom_exporters.lowering.values import constant_ints, standard_producer

__all__ = ["DropUnitAxesInSums", "UseGlobalAveragePools"]


class DropUnitAxesInSums(ir.passes.InPlacePass):
    """A sum that keeps its axes as 1 only for a Reshape to drop them does not keep them.

    Exact: the same elements in the same order, and nothing else reads the sum. The Reshape becomes an empty move.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        modified = False
        for node in model.graph:
            before = standard_producer(node, "ReduceSum") if node.op_type == "Reshape" and not node.domain else None
            if before is None or len(before.outputs[0].uses()) != 1 or before.outputs[0].is_graph_output():
                continue
            axes = constant_ints(before, 1)
            source, result = before.inputs[0], node.outputs[0]
            if axes is None or source is None or source.shape is None or result.shape is None:
                continue
            rank = len(source.shape)
            remaining = [size for axis, size in enumerate(source.shape) if axis not in {a % rank for a in axes}]
            if remaining == list(result.shape):
                before.attributes["keepdims"] = ir.AttrInt64("keepdims", 0)
                before.outputs[0].shape = result.shape
                modified = True
        return ir.passes.PassResult(model, modified)


class UseGlobalAveragePools(ir.passes.InPlacePass):
    """A mean over height and width is a GlobalAveragePool (and Flatten), which simulators know as a layer.

    Exact: both are defined as the mean over all spatial positions.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        means = [node for node in model.graph if _is_spatial_mean(node)]
        for node in means:
            source, result = node.inputs[0], node.outputs[0]
            assert source is not None
            assert source.shape is not None
            tag = dict(node.metadata_props)
            pool = ir.node("GlobalAveragePool", [source], metadata_props=tag)
            nodes = [pool]
            if "keepdims" in node.attributes and node.attributes["keepdims"].as_int() == 0:
                nodes.append(ir.node("Flatten", [pool.outputs[0]], {"axis": 1}, metadata_props=tag))
            pool.outputs[0].name, pool.outputs[0].type = f"{result.name}.pool", result.type
            pool.outputs[0].shape = ir.Shape([*list(source.shape)[:2], 1, 1])
            ir.convenience.replace_nodes_and_values(model.graph, node, [node], nodes, [result], [nodes[-1].outputs[0]])
        return ir.passes.PassResult(model, bool(means))


def _is_spatial_mean(node: ir.Node) -> bool:
    """Whether a node is the mean over the last two of four axes."""
    axes = constant_ints(node, 1) if node.op_type == "ReduceMean" and not node.domain else None
    source = node.inputs[0] if node.inputs else None
    if axes is None or source is None or source.shape is None or len(source.shape) != 4:
        return False
    return sorted(axis % 4 for axis in axes) == [2, 3]
