"""Which new state a step can write into the buffer of the old: tables of which it changes a few rows.

A scatter copies its first input and then writes elements of the copy; onnxruntime leaves the copy out where input and
output are one buffer. This is right where everything else that reads the input has run by then, in any order of nodes
that their data allow, and has left nothing that is the same memory, as a Reshape may.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from fathom_onnx.graph.bodies import inputs_of

__all__ = ["written_in_place"]

_SCATTERS = frozenset({"ScatterElements", "ScatterND"})
_GATHERS = frozenset({"Gather", "GatherElements", "GatherND"})


def written_in_place(graph: onnx.GraphProto, state: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The state inputs whose new values can take their buffers.

    Args:
        graph: The graph.
        state: (output, input) pairs.
    """
    if not any(node.op_type in _SCATTERS for node in graph.node):
        return frozenset()
    producers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in inputs_of(node):
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in graph.output}
    found = set()
    for output, name in state:
        scatter = producers.get(output)
        if scatter is None or scatter.op_type not in _SCATTERS or scatter.input[0] != name:
            continue
        if scatter.domain or name in scatter.input[1:] or name in outputs:
            continue
        before = _before(scatter, producers)
        others = [node for node in readers[name] if node is not scatter]
        if all(node.op_type in _GATHERS and not node.domain and id(node) in before for node in others):
            found.add(name)
    return frozenset(found)


def _before(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> set[int]:
    """The nodes that a node depends on, by identity."""
    found: set[int] = set()
    open_nodes = [node]
    while open_nodes:
        for name in inputs_of(open_nodes.pop()):
            source = producers.get(name)
            if source is not None and id(source) not in found:
                found.add(id(source))
                open_nodes.append(source)
    return found
