"""tf2onnx's graph of a captured step, without what takes longer the more outputs a graph has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tf2onnx import tfonnx
from tf2onnx.graph import Graph, Node

from fathom_exporters.tensorflow.capture import Captured

__all__ = ["conversion_graph"]


class _Conversion(Graph):  # type: ignore[misc]
    """A graph of tf2onnx that knows who reads a tensor and goes through its nodes once.

    A training step has two outputs for each parameter and more for its state. tf2onnx looks at every node when it
    replaces one tensor, and at everything before an output for each of them: a third and a quarter of an export's time.
    """

    def replace_all_inputs(self, old_input: str, new_input: str, ops: Iterable[Node] | None = None) -> None:
        """Replace a tensor wherever it is read, or where some nodes read it."""
        super().replace_all_inputs(old_input, new_input, None if ops is self.get_nodes() else ops)

    def extract_sub_graph_nodes(
        self,
        outputs_name: Iterable[str],
        input_checker: Callable[[Node], bool] | None = None,
        remove_unused_inputs: bool = True,
    ) -> list[Node]:
        """The nodes that outputs depend on, and without ``remove_unused_inputs`` all inputs."""
        names = [*outputs_name, *([] if remove_unused_inputs else self.input_names)]
        found: dict[Node, None] = {}
        while names:
            node = self.get_node_by_output(names.pop(), search_in_parent_graphs=False)
            if node is None or node in found or (input_checker is not None and not input_checker(node)):
                continue
            found[node] = None
            names += [*node.input, *node.get_implicit_inputs()]
        return list(found)


def conversion_graph(captured: Captured) -> Any:
    """tf2onnx's graph of a captured step, before any operation is replaced."""
    nodes, _, _, shapes, dtypes, _ = tfonnx.tensorflow_to_onnx(captured.graph, {})
    return _Conversion(nodes, shapes, dtypes, input_names=list(captured.inputs), output_names=list(captured.outputs))
