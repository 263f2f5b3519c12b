"""Moves, the ops that only reshape, transpose or convert: merged, read through, or removed."""

from __future__ import annotations

import onnx_ir as ir

from fathom_exporters.lowering.values import constant_ints, replace_node, standard_producer

__all__ = ["MergeMoves", "ReadTransposedOperands", "RemoveEmptyMoves"]


class MergeMoves(ir.passes.InPlacePass):
    """One Reshape for two in a row, one Transpose for two in a row.

    Exact: the elements of a tensor keep their order in a Reshape, so that only the last shape counts, and permutations
    compose. A Reshape whose shape contains a 0 stays: that copies a dimension of the input, which would be another one.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        modified = False
        for node in model.graph:
            before = standard_producer(node, node.op_type) if node.op_type in ("Reshape", "Transpose") else None
            if before is None or node.domain:
                continue
            if node.op_type == "Transpose":
                first = list(before.attributes["perm"].as_ints())
                second = list(node.attributes["perm"].as_ints())
                node.attributes["perm"] = ir.AttrInt64s("perm", [first[axis] for axis in second])
            elif 0 in (constant_ints(node, 1) or [0]):
                continue
            node.replace_input_with(0, before.inputs[0])
            modified = True
        return ir.passes.PassResult(model, modified)


class ReadTransposedOperands(ir.passes.InPlacePass):
    """A Gemm reads a transposed matrix by its transA and transB instead of after a Transpose.

    Exact: that is what the attributes mean.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        modified = False
        for node in model.graph:
            if node.op_type != "Gemm" or node.domain:
                continue
            for index, name in enumerate(("transA", "transB")):
                before = standard_producer(node, "Transpose", index)
                if before is not None and list(before.attributes["perm"].as_ints()) == [1, 0]:
                    transposed = node.attributes[name].as_int() if name in node.attributes else 0
                    node.attributes[name] = ir.AttrInt64(name, 1 - transposed)
                    node.replace_input_with(index, before.inputs[0])
                    modified = True
        return ir.passes.PassResult(model, modified)


def _is_empty(node: ir.Node) -> bool:
    """Whether a move's output is its input as it is."""
    source, result = node.inputs[0] if node.inputs else None, node.outputs[0]
    if node.domain or source is None:
        return False
    if node.op_type in ("Reshape", "Expand", "Squeeze", "Unsqueeze", "Flatten"):
        return source.shape is not None and source.shape == result.shape
    if node.op_type == "Transpose":
        perm = list(node.attributes["perm"].as_ints()) if "perm" in node.attributes else [1, 0]
        return perm == sorted(perm)
    return node.op_type == "Cast" and source.dtype == result.dtype


class RemoveEmptyMoves(ir.passes.InPlacePass):
    """A move to the same shape, order of axes or type becomes an Identity, which the next pass eliminates.

    Exact: the output is the input. An Identity and not nothing, since onnx_ir's elimination knows which identities
    must stay because the graph's interface names both ends.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        empty = [node for node in model.graph if _is_empty(node)]
        for node in empty:
            identity = ir.node("Identity", [node.inputs[0]], metadata_props=dict(node.metadata_props))
            replace_node(model.graph, node, identity)
        return ir.passes.PassResult(model, bool(empty))
