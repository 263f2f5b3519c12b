"""The pass that writes native ops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.tags import Tag

from .attention import attention
from .gelu import gelu
from .moments import group_norm, layer_norm
from .patterns import is_forward
from .rms_norm import rms_norm
from .rotary import rotary

__all__ = ["WriteNativeOps"]

_Pattern = Callable[[Builder, ir.Node], dict[ir.Value, ir.Value] | None]
"""From a node to what replaces some values, if the node is of a pattern."""

_PATTERNS: dict[str, tuple[tuple[str, _Pattern], ...]] = {
    "Softmax": (("Attention", attention),),
    "ReduceMean": (("LayerNorm", rms_norm), ("LayerNorm", layer_norm), ("GroupNorm", group_norm)),
    "Concat": (("Transpose", rotary),),
    "Erf": (("Gelu", gelu),),
}
"""The op that patterns are found by, to the canonical op of what is written and what finds and writes it."""

_LATER = ("backward", "optimizer")


def _only_for_backward(graph: ir.Graph) -> set[ir.Node]:
    """The nodes of the forward pass that only the backward pass reads, directly or through others of them."""
    found: set[ir.Node] = set()
    for node in reversed(graph):
        users = {user for value in node.outputs for user, _ in value.uses()} - found
        later = all((tag := Tag.of(user)) is not None and tag.phase in _LATER for user in users)
        if is_forward(node) and later and not any(value.is_graph_output() for value in node.outputs):
            found.add(node)
    return found


def _put(graph: ir.Graph, nodes: list[ir.Node], made: dict[ir.Value, ir.Value]) -> None:
    """Put nodes into a graph, whose values take the places of others."""
    for old, new in made.items():
        new.shape, new.type = old.shape, old.type
    makers = [maker for value in made if (maker := value.producer()) is not None]
    ir.convenience.replace_nodes_and_values(graph, makers[0], makers, nodes, list(made), list(made.values()))


class WriteNativeOps(ir.passes.InPlacePass):
    """Patterns of the forward pass are written as one op each.

    Nodes of a pattern that the backward pass alone still reads belong to it from then on.

    Args:
        opset: The opset to write; what is there already must mean the same in it.
    """

    def __init__(self, opset: int) -> None:
        self._opset = opset

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``, whose nodes are in topological order."""
        graph = model.graph
        builder = Builder(graph, "native")
        model.opset_imports[""] = self._opset
        before = _only_for_backward(graph)
        modified = False
        for node in list(graph):
            for op, write in _PATTERNS.get(node.op_type, ()) if is_forward(node) else ():
                tag = Tag.of(node)
                assert tag is not None
                builder.begin(replace(tag, op=op))
                made = write(builder, node)
                if made is not None:
                    _put(graph, builder.nodes, made)
                    modified = True
                    break
        ir.passes.common.RemoveUnusedNodesPass()(model)
        ir.passes.common.TopologicalSortPass()(model)
        for node in _only_for_backward(graph) - before:
            tag = Tag.of(node)
            assert tag is not None
            replace(tag, phase="backward").put(node)
        return ir.passes.PassResult(model, modified)
