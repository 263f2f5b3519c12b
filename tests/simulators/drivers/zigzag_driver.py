"""What ZigZag makes of a graph: the layers it keeps and their multiply-accumulates; the other nodes become dummies."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

from answer import Answer, answer


def look(path: str) -> Answer:
    """Parse a graph with ZigZag's own parser."""
    import zigzag
    from zigzag.parser.onnx.onnx_model_parser import ONNXModelParser
    from zigzag.workload.layer_node import LayerNode

    mapping = Path(zigzag.__file__).parent / "inputs/mapping/default.yaml"
    nodes = list(ONNXModelParser(path, str(mapping)).run().nodes())
    layers = [node for node in nodes if isinstance(node, LayerNode)]
    return {
        "macs": sum(int(layer.total_mac_count) for layer in layers),
        "layers": {layer.name: int(layer.total_mac_count) for layer in layers},
        "ignored": len(nodes) - len(layers),
    }


if __name__ == "__main__":
    sys.exit(answer(look, importlib.metadata.version("zigzag-dse")))
