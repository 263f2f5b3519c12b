"""Where the nodes of a run stand in the file that was profiled.

What runs is the file with its nodes in order and its functions written out (:mod:`fathom_onnx.graph.functions`). Here
the same is done to a copy of the file in which each node carries its place, which what becomes of it inherits.
"""

from __future__ import annotations

from typing import NamedTuple

import onnx

from fathom_onnx.graph.bodies import numbered
from fathom_onnx.graph.functions import align_versions, without_functions
from fathom_onnx.graph.labels import label_nodes
from fathom_onnx.graph.loading.order import put_in_order

__all__ = ["Origin", "origins"]

_MARK = "fathom_onnx.place."


class Origin(NamedTuple):
    """A node of a run and what it comes from.

    Attributes:
        name: Its name in the run's table of original nodes.
        places: Part of the file to the number of a node in it: -1 for the graph, whose node is this one or the call
            that it is reached through, and the position of each function that it is reached through, whose node is
            this one in the innermost, and a call in the others. Empty where it stands for nothing in the file.
    """

    name: str
    places: dict[int, int]


def origins(model: onnx.ModelProto) -> tuple[Origin, ...]:
    """The nodes that a run of a file has, in the run's order.

    Args:
        model: The file.
    """
    marked = onnx.ModelProto()
    marked.CopyFrom(model)
    for part_number, part in enumerate([marked.graph, *marked.functions], start=-1):
        for entry in numbered(part):
            entry.node.metadata_props.add(key=f"{_MARK}{part_number}", value=str(entry.index))
    put_in_order(marked)
    align_versions(marked)
    entries = numbered(without_functions(marked).graph)
    return tuple(
        Origin(label.name, _places(entry.node)) for entry, label in zip(entries, label_nodes(entries), strict=True)
    )


def _places(node: onnx.NodeProto) -> dict[int, int]:
    return {
        int(entry.key.removeprefix(_MARK)): int(entry.value)
        for entry in node.metadata_props
        if entry.key.startswith(_MARK)
    }
