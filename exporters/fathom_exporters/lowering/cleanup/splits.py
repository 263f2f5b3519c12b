"""Slices that together take a tensor apart, as one Split."""

from __future__ import annotations

import itertools

import onnx_ir as ir

from fathom_exporters.lowering.values import constant_ints, static_shape

__all__ = ["equal_splits", "split_slices"]


def _part(node: ir.Node) -> tuple[int, int, int] | None:
    """Axis, start and end of a Slice that cuts one axis only, in steps of one."""
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
            cuts.append((axis % len(sizes), first, last))
    return cuts[0] if len(cuts) == 1 else None


def split_slices(graph: ir.Graph) -> None:
    """Slices that cut a tensor into equal parts without rest are one Split: so autograd takes a concatenation back."""
    cut: dict[tuple[ir.Value, int], dict[int, ir.Node]] = {}
    ends: dict[ir.Node, int] = {}
    order: dict[ir.Node, int] = {}
    for number, node in enumerate(graph):
        order[node] = number
        part = _part(node)
        if part is not None and node.inputs[0] is not None:
            axis, start, ends[node] = part
            cut.setdefault((node.inputs[0], axis), {}).setdefault(start, node)
    for (_, axis), parts in cut.items():
        starts = sorted(parts)
        source = parts[starts[0]].inputs[0]  # as it is now: what is cut may itself have become part of a Split
        assert source is not None
        edges = [*starts, static_shape(source)[axis]]
        width = ends[parts[starts[0]]]
        if len(starts) < 2 or starts[0] != 0 or any(ends[parts[a]] != b for a, b in itertools.pairwise(edges)):
            continue
        if any(ends[parts[a]] - a != width for a in starts) or any(
            parts[a].outputs[0].is_graph_output() for a in starts
        ):
            continue
        first = min(parts.values(), key=order.__getitem__)
        split = ir.node(
            "Split",
            [source],
            {"axis": axis, "num_outputs": len(starts)},
            num_outputs=len(starts),
            metadata_props=dict(first.metadata_props),
        )
        graph.insert_before(first, split)
        for new, start in zip(split.outputs, starts, strict=True):
            old = parts[start].outputs[0]
            new.name, new.shape, new.type = old.name, old.shape, old.type
            ir.convenience.replace_all_uses_with(old, new)
            graph.remove(parts[start], safe=True)


def equal_splits(graph: ir.Graph) -> None:
    """A Split into equal parts counts them instead of listing their sizes.

    onnxruntime 1.31 cannot read a long list: it moves constants of more than 127 bytes out of reach of its own shape
    inference.
    """
    for node in list(graph):
        sizes = constant_ints(node, 1) if node.op_type == "Split" and not node.domain else None
        if sizes and len(set(sizes)) == 1:
            axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
            counted = ir.node(
                "Split",
                [node.inputs[0]],
                {"axis": axis, "num_outputs": len(sizes)},
                num_outputs=len(sizes),
                metadata_props=dict(node.metadata_props),
            )
            for new, old in zip(counted.outputs, node.outputs, strict=True):
                new.name, new.shape, new.type = old.name, old.shape, old.type
            ir.convenience.replace_nodes_and_values(
                graph, node, [node], [counted], list(node.outputs), list(counted.outputs)
            )
