"""Taking out what computes nothing: identities, constants that can be folded, duplicates, dead nodes, empty moves."""

from __future__ import annotations

import math

import onnx_ir as ir
import onnxscript.optimizer
from onnx_ir.passes import common

from fathom_exporters.lowering.tags import Tag
from fathom_exporters.lowering.values import constant_ints, static_shape

from .splits import equal_splits, split_slices

__all__ = ["simplify"]

_FOLD_LIMIT = 1024
"""Elements up to which a result is folded into a constant; a broadcast tensor would swell the file."""
_SMALL = 64
"""Elements up to which a filled tensor is written as a constant."""


def _same_shape(node: ir.Node) -> bool:
    source, result = node.inputs[0], node.outputs[0]
    return source is not None and source.shape is not None and source.shape == result.shape


def _is_empty_move(node: ir.Node) -> bool:
    """Whether a movement node gives back its input as it is."""
    if node.domain:
        return False
    if node.op_type in ("Reshape", "Expand", "Squeeze", "Unsqueeze", "Flatten"):
        return _same_shape(node)
    if node.op_type == "Transpose":
        perm = list(node.attributes["perm"].as_ints()) if "perm" in node.attributes else [1, 0]
        return perm == sorted(perm)
    if node.op_type == "Cast":
        source = node.inputs[0]
        return source is not None and source.dtype == node.outputs[0].dtype
    return False


def _merge_moves(graph: ir.Graph) -> None:
    """One Reshape for two in a row, one Transpose for two in a row."""
    for node in graph:
        before = _producer(node, node.op_type) if node.op_type in ("Reshape", "Transpose") else None
        if before is None or node.domain:
            continue
        if node.op_type == "Transpose":
            first = list(before.attributes["perm"].as_ints())
            second = list(node.attributes["perm"].as_ints())
            node.attributes["perm"] = ir.AttrInt64s("perm", [first[axis] for axis in second])
        elif 0 in (constant_ints(node, 1) or [0]):
            continue  # a zero copies a dimension of the input, which would become another one
        node.replace_input_with(0, before.inputs[0])


def _producer(node: ir.Node, op_type: str, index: int = 0) -> ir.Node | None:
    """The node that makes input ``index``, if it is a standard ``op_type``."""
    value = node.inputs[index] if len(node.inputs) > index else None
    maker = value.producer() if value is not None else None
    return maker if maker is not None and maker.op_type == op_type and not maker.domain else None


def _transposed_operands(graph: ir.Graph) -> None:
    """Gemm reads a transposed matrix as it lies, by its transA and transB, instead of a Transpose before it."""
    for node in graph:
        if node.op_type != "Gemm" or node.domain:
            continue
        for index, name in enumerate(("transA", "transB")):
            before = _producer(node, "Transpose", index)
            if before is not None and list(before.attributes["perm"].as_ints()) == [1, 0]:
                old = node.attributes[name].as_int() if name in node.attributes else 0
                node.attributes[name] = ir.AttrInt64(name, 1 - old)
                node.replace_input_with(index, before.inputs[0])


def _squeezed_sums(graph: ir.Graph) -> None:
    """A sum that keeps its axes only for a Reshape to drop them does not keep them."""
    for node in list(graph):
        before = _producer(node, "ReduceSum") if node.op_type == "Reshape" else None
        if before is None or node.domain or len(before.outputs[0].uses()) != 1 or before.outputs[0].is_graph_output():
            continue
        axes = constant_ints(before, 1)
        source, result = before.inputs[0], node.outputs[0]
        if axes is None or source is None or source.shape is None or result.shape is None:
            continue
        rank = len(source.shape)
        kept = [d for axis, d in enumerate(source.shape) if axis not in {a % rank for a in axes}]
        if kept == list(result.shape):
            before.attributes["keepdims"] = ir.AttrInt64("keepdims", 0)
            before.outputs[0].shape = result.shape


def _global_pools(graph: ir.Graph) -> None:
    """A mean over height and width is a GlobalAveragePool (and Flatten), which simulators know as a layer."""
    for node in list(graph):
        axes = constant_ints(node, 1) if node.op_type == "ReduceMean" and not node.domain else None
        if axes is None:
            continue
        source, result = node.inputs[0], node.outputs[0]
        if source is None or source.shape is None or len(source.shape) != 4:
            continue
        if sorted(axis % 4 for axis in axes) != [2, 3]:
            continue
        tag = dict(node.metadata_props)
        pool = ir.node("GlobalAveragePool", [source], metadata_props=tag)
        made = [pool]
        if "keepdims" in node.attributes and node.attributes["keepdims"].as_int() == 0:
            made.append(ir.node("Flatten", [pool.outputs[0]], {"axis": 1}, metadata_props=tag))
        last = made[-1].outputs[0]
        pool.outputs[0].name, pool.outputs[0].type = f"{result.name}.pool", result.type
        pool.outputs[0].shape = ir.Shape([*list(source.shape)[:2], 1, 1])
        last.name, last.shape, last.type = result.name, result.shape, result.type
        ir.convenience.replace_nodes_and_values(graph, node, [node], made, [result], [last])


def _as_identities(graph: ir.Graph) -> None:
    for node in list(graph):
        if _is_empty_move(node):
            identity = ir.node("Identity", [node.inputs[0]], metadata_props=dict(node.metadata_props))
            identity.outputs[0].name = node.outputs[0].name
            identity.outputs[0].shape, identity.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
            ir.convenience.replace_nodes_and_values(
                graph, node, [node], [identity], [node.outputs[0]], [identity.outputs[0]]
            )


def _fold_small_fills(node: ir.Node) -> bool | None:
    """A filled scalar or short vector is a constant; a large one stays a node, so as not to swell the file."""
    if node.op_type != "ConstantOfShape" or node.domain:
        return None
    return math.prod(static_shape(node.outputs[0])) <= _SMALL


def _adopt(graph: ir.Graph) -> None:
    """Give nodes that folding made without a tag the tag of what uses them, or else of what they use."""
    for node in reversed(list(graph)):
        if Tag.of(node) is not None:
            continue
        users = [user for value in node.outputs for user, _ in value.uses()]
        makers = [value.producer() for value in node.inputs if value is not None]
        tags = (Tag.of(other) for other in [*users, *makers] if other is not None)
        tag = next((tag for tag in tags if tag is not None), None)
        if tag is not None:
            tag.put(node)


def simplify(model: ir.Model) -> None:
    """Simplify ``model`` in place; no arithmetic on its inputs is changed.

    The PyTorch exporter's own optimizer is not used: it takes ``x + 1e-8`` for ``x`` and so deletes Adam's epsilon.
    """
    onnxscript.optimizer.fold_constants(
        model, onnx_shape_inference=False, should_fold=_fold_small_fills, output_size_limit=_FOLD_LIMIT
    )
    _adopt(model.graph)
    passes: list[ir.passes.InPlacePass] = [
        common.IdentityEliminationPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
    ]
    for one in passes:
        one(model)
    for rewrite in (_merge_moves, _transposed_operands, _squeezed_sums, _global_pools, _as_identities):
        rewrite(model.graph)
    for one in (passes[0], passes[3], passes[4]):
        one(model)
    for rewrite in (split_slices, equal_splits):
        rewrite(model.graph)
    passes[4](model)
