"""Slices that together take a tensor apart as one Split, and Splits that onnxruntime can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from fathom_exporters.lowering.values import constant_ints, replace_node, static_shape

__all__ = ["CountEqualSplits", "SplitSlices"]


@dataclass(frozen=True)
class _Cut:
    """A Slice of one axis in steps of one."""

    node: ir.Node
    axis: int
    start: int
    end: int


def _cut(node: ir.Node) -> _Cut | None:
    """The cut that a Slice makes, if it is of one axis only and in steps of one."""
    source = node.inputs[0] if node.inputs else None
    if node.op_type != "Slice" or node.domain or source is None or source.shape is None:
        return None
    starts, ends, axes = (constant_ints(node, index) for index in (1, 2, 3))
    if starts is None or ends is None or not source.shape.is_static() or set(constant_ints(node, 4) or [1]) != {1}:
        return None
    sizes = static_shape(source)
    cuts = []
    for axis, start, end in zip(axes or range(len(starts)), starts, ends, strict=True):
        first, last, _ = slice(start, end).indices(sizes[axis])
        if (first, last) != (0, sizes[axis]):
            cuts.append(_Cut(node, axis % len(sizes), first, last))
    return cuts[0] if len(cuts) == 1 else None


def _parts(cuts: Mapping[int, _Cut]) -> list[_Cut] | None:
    """The cuts in order if they are equal parts of their source with nothing between, before or after."""
    parts = [cuts[start] for start in sorted(cuts)]
    source = parts[0].node.inputs[0]  # now: what is cut may itself have become an output of a Split
    assert source is not None
    edges = [0, *(part.end for part in parts)]
    whole = static_shape(source)[parts[0].axis]
    complete = edges[-1] == whole and all(part.start == edge for part, edge in zip(parts, edges, strict=False))
    equal = len({part.end - part.start for part in parts}) == 1
    inner = not any(part.node.outputs[0].is_graph_output() for part in parts)
    return parts if len(parts) > 1 and complete and equal and inner else None


def _equal_split(node: ir.Node, axis: int, count: int) -> ir.Node:
    """A Split of a node's first input into a number of equal parts, with the node's tag."""
    return ir.node(
        "Split",
        [node.inputs[0]],
        {"axis": axis, "num_outputs": count},
        num_outputs=count,
        metadata_props=dict(node.metadata_props),
    )


class SplitSlices(ir.passes.InPlacePass):
    """Slices that cut a tensor into equal parts without a rest are one Split.

    That is how autograd writes the gradient of a concatenation. Exact: both only copy. The Split stands where the first
    of the Slices stood.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        graph = model.graph
        cuts: dict[tuple[ir.Value, int], dict[int, _Cut]] = {}
        order: dict[ir.Node, int] = {}
        for number, node in enumerate(graph):
            order[node] = number
            cut = _cut(node)
            if cut is not None and node.inputs[0] is not None:
                cuts.setdefault((node.inputs[0], cut.axis), {}).setdefault(cut.start, cut)
        modified = False
        for (_, axis), cuts_of_axis in cuts.items():
            parts = _parts(cuts_of_axis)
            if parts is None:
                continue
            first = min((part.node for part in parts), key=order.__getitem__)
            split = _equal_split(first, axis, len(parts))
            graph.insert_before(first, split)
            for new, part in zip(split.outputs, parts, strict=True):
                old = part.node.outputs[0]
                new.name, new.shape, new.type = old.name, old.shape, old.type
                ir.convenience.replace_all_uses_with(old, new)
                graph.remove(part.node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


class CountEqualSplits(ir.passes.InPlacePass):
    """A Split into equal parts has their number and not a list of their sizes.

    Exact: with ``num_outputs`` the parts are equal where the number divides the axis, as it does. onnxruntime 1.31
    cannot read a long list: it moves constants of more than 127 bytes out of reach of its own shape inference.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        modified = False
        for node in list(model.graph):
            sizes = constant_ints(node, 1) if node.op_type == "Split" and not node.domain else None
            if sizes and len(set(sizes)) == 1:
                axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
                replace_node(model.graph, node, _equal_split(node, axis, len(sizes)))
                modified = True
        return ir.passes.PassResult(model, modified)
