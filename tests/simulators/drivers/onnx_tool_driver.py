"""What onnx-tool makes of a graph: its shape inference and its count of multiply-accumulates.

Its own total holds elementwise arithmetic and biases as well; ``macs`` is that of convolutions and matrix products.
"""

from __future__ import annotations

import importlib.metadata
import sys

from answer import Answer, answer

COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM")


def look(path: str) -> Answer:
    """Profile a graph without weights."""
    import onnx_tool

    graph = onnx_tool.Model(path).graph
    graph.shape_infer(None)
    graph.profile()
    layers = {name: int(node.macs[0]) for name, node in graph.nodemap.items() if node.op_type in COUNTED}
    return {"macs": sum(layers.values()), "layers": layers, "own_total": int(graph.macs[0])}


if __name__ == "__main__":
    sys.exit(answer(look, importlib.metadata.version("onnx-tool")))
